//! Translation: a segment of one side in the numbers of the other.

use super::super::begin::FIRST_WINDOW;
use crate::layout::{Address, Flow, MOVES};
use crate::net::{ACK, FIN, Frame, HEADERS, Hop, Segment, diff, diff16};
use crate::work::Work;

/// How a segment is changed on its way: what is added to each of its numbers.
pub(super) struct Translation {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) source_port: [u8; 2],
    pub(super) destination_port: [u8; 2],
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) tsval: u32,
    pub(super) tsecr: u32,
    /// Window shift + 16.
    pub(super) shift: u32,
    /// What the shifted window is at most.
    pub(super) room: u32,
    /// The segment closes its sender's direction.
    pub(super) fin: bool,
    pub(super) hop: Hop,
}

/// A window as the other side reads it: shifted, and at most what the field holds.
#[inline(always)]
pub(super) fn shifted(window: u32, shift: u32) -> u32 {
    let wide = if shift >= 16 { window << ((shift - 16) & 15) } else { window >> ((16 - shift) & 15) };
    wide.min(0xffff)
}

/// What a window to the client is at most, in its header's field. Between two requests of a connection that moves it is what a new connection's
/// is, whatever the leg at hand has room for. A client that goes by the window of one leg, which may be megabytes by now, sends a round trip's
/// worth of its next request before it hears of another leg. Of that the stash keeps its own size until the new leg is up, and a backend's
/// new socket drops all that is beyond 64 KiB. The first acknowledgement of the next request's bytes says again what its leg has room for. A
/// window that shrinks loses nothing: its sender goes on with the first byte that was not acknowledged (RFC 9293, section 3.8.6, MUST-34).
#[inline(always)]
pub(super) fn room(flow: &Flow) -> u32 {
    let between = flow.upstream_acked == flow.request.next && flow.request.chunked == 0;
    // Never none: a client that is told so waits for its persist timer.
    if flow.flags & MOVES != 0 && between { (FIRST_WINDOW >> (flow.our_scale & 15)).max(1) } else { 0xffff }
}

/// Translates a segment without SACK blocks for the leg; false if the frame cannot be written to.
#[inline(always)]
pub(in crate::splice) fn plain_to_leg<F: Frame>(frame: &mut F, work: &mut Work, flow: &Flow) -> bool {
    work.egress = flow.leg.hop.egress;
    translate::<F, false>(frame, &work.segment, &to_leg(flow))
}

/// The same for the client.
#[inline(always)]
pub(in crate::splice) fn plain_to_client<F: Frame>(frame: &mut F, work: &mut Work, flow: &Flow) -> bool {
    work.egress = flow.client_hop.egress;
    translate::<F, false>(frame, &work.segment, &to_client(flow))
}

#[inline(always)]
pub(super) fn to_leg(flow: &Flow) -> Translation {
    let leg = &flow.leg;
    Translation {
        source: leg.source,
        destination: leg.address,
        source_port: leg.source_port,
        destination_port: leg.port,
        seq: leg.to_leg,
        ack: leg.to_client.wrapping_neg(),
        tsval: leg.clock_to_leg,
        tsecr: leg.clock_to_client.wrapping_neg(),
        shift: leg.shift_to_leg,
        room: 0xffff,
        fin: false,
        hop: leg.hop,
    }
}

#[inline(always)]
pub(super) fn to_client(flow: &Flow) -> Translation {
    let leg = &flow.leg;
    Translation {
        source: flow.key.vip,
        destination: flow.key.client,
        source_port: flow.key.port,
        destination_port: flow.key.client_port,
        seq: leg.to_client,
        ack: leg.to_leg.wrapping_neg(),
        tsval: leg.clock_to_client,
        tsecr: leg.clock_to_leg.wrapping_neg(),
        shift: leg.shift_to_client,
        room: room(flow),
        fin: false,
        hop: flow.client_hop,
    }
}

/// The difference that other addresses make to the sum of a header.
#[inline(always)]
pub(super) fn readdressed(from: (&Address, &Address), to: (&Address, &Address)) -> u64 {
    let one = |from: &Address, to: &Address| {
        let ([a, b, c, d], [e, f, g, h]) = (from.words(), to.words());
        diff(a, e) + diff(b, f) + diff(c, g) + diff(d, h)
    };
    one(from.0, to.0) + one(from.1, to.1)
}

/// Writes addresses into the IP header of a frame's window; the difference that they make.
#[inline(always)]
pub(super) fn readdress(v4: bool, h: &mut [u8; HEADERS], from: (&Address, &Address), to: (&Address, &Address)) -> u64 {
    if v4 {
        let [s, d] = [to.0.last(), to.1.last()];
        [h[26], h[27], h[28], h[29]] = s;
        [h[30], h[31], h[32], h[33]] = d;
        let [old_s, old_d] = [from.0.last(), from.1.last()].map(u32::from_ne_bytes);
        return diff(old_s, u32::from_ne_bytes(s)) + diff(old_d, u32::from_ne_bytes(d));
    }
    let words = to.0.words().into_iter().chain(to.1.words());
    for (place, word) in h[2..34].as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *place = word.to_ne_bytes();
    }
    readdressed(from, to)
}

/// Writes link-layer addresses.
#[inline(always)]
pub(super) fn towards<F: Frame>(frame: &mut F, hop: &Hop) -> bool {
    let Some(macs) = frame.front().and_then(|front| front.first_chunk_mut()) else { return false };
    *macs = hop.macs;
    true
}

/// Rewrites a segment for the other side: addresses, ports, sequence and acknowledgement numbers, window, timestamps and
/// SACK blocks (if there may be any), and brings its checksums up to date by what changed.
#[inline(always)]
pub(super) fn translate<F: Frame, const SACKS: bool>(frame: &mut F, segment: &Segment, to: &Translation) -> bool {
    if !towards(frame, &to.hop) {
        return false;
    }
    let v4 = frame.base() == 0;
    let Some(h) = frame.headers() else { return false };
    let from = (&segment.source, &segment.destination);
    let addresses = readdress(v4, h, from, (&to.source, &to.destination));
    let seq = segment.seq.plus(to.seq);
    // Without ACK the field means nothing, and is left alone.
    let ack = if segment.has(ACK) { segment.ack.plus(to.ack) } else { segment.ack };
    let window = if to.shift == 16 { segment.window } else { shifted(segment.window, to.shift) }.min(to.room);
    let mut tcp = diff16(u16::from_ne_bytes(segment.source_port), u16::from_ne_bytes(to.source_port))
        + diff16(u16::from_ne_bytes(segment.destination_port), u16::from_ne_bytes(to.destination_port))
        + diff(segment.seq.0.to_be(), seq.0.to_be())
        + diff(segment.ack.0.to_be(), ack.0.to_be())
        + diff16((segment.window as u16).to_be(), (window as u16).to_be());
    [h[34], h[35]] = to.source_port;
    [h[36], h[37]] = to.destination_port;
    [h[38], h[39], h[40], h[41]] = seq.0.to_be_bytes();
    [h[42], h[43], h[44], h[45]] = ack.0.to_be_bytes();
    [h[48], h[49]] = (window as u16).to_be_bytes();
    if to.fin {
        let before = [h[46], h[47]];
        h[47] |= FIN;
        tcp += diff16(u16::from_ne_bytes(before), u16::from_ne_bytes([h[46], h[47]]));
    }
    if segment.timestamp_at != 0 {
        let tsval = segment.tsval.wrapping_add(to.tsval);
        let tsecr = if segment.has(ACK) { segment.tsecr.wrapping_add(to.tsecr) } else { segment.tsecr };
        let before = diff(segment.tsval.to_be(), tsval.to_be()) + diff(segment.tsecr.to_be(), tsecr.to_be());
        let v = tsval.to_be_bytes();
        let e = tsecr.to_be_bytes();
        if segment.timestamp_at == 58 {
            let Some(h) = frame.headers_ts() else { return false };
            [h[58], h[59], h[60], h[61]] = v;
            [h[62], h[63], h[64], h[65]] = e;
            tcp += before;
        } else {
            if !frame.store8(segment.timestamp_at, [v[0], v[1], v[2], v[3], e[0], e[1], e[2], e[3]]) {
                return false;
            }
            tcp += aligned(before, segment.timestamp_at);
        }
    }
    if SACKS && segment.sacks != 0 {
        for block in 0..4 {
            if block < segment.sacks {
                let at = segment.sack_at + block * 8;
                let Some(b) = frame.load8(at) else { return false };
                let left = u32::from_be_bytes([b[0], b[1], b[2], b[3]]);
                let right = u32::from_be_bytes([b[4], b[5], b[6], b[7]]);
                // Blocks speak of what the other side sent, like the acknowledgement.
                let (new_left, new_right) = (left.wrapping_add(to.ack), right.wrapping_add(to.ack));
                let l = new_left.to_be_bytes();
                let r = new_right.to_be_bytes();
                if !frame.store8(at, [l[0], l[1], l[2], l[3], r[0], r[1], r[2], r[3]]) {
                    return false;
                }
                tcp += aligned(diff(left.to_be(), new_left.to_be()) + diff(right.to_be(), new_right.to_be()), at);
            }
        }
    }
    frame.update_checksums(addresses, tcp)
}

/// A difference made at an odd place of the segment counts with its bytes swapped (RFC 1071, section 2(B)).
#[inline(always)]
fn aligned(diff: u64, at: u32) -> u64 {
    if at & 1 == 0 { diff } else { u64::from(crate::net::fold(diff).swap_bytes()) }
}
