//! The one place that writes packets: translation, headers made anew, and segments out of a buffer.

mod quote;

pub use quote::Quote;
pub(super) use quote::send_on;

use super::begin::FIRST_WINDOW;
use super::{Next, Step, end};
use crate::host::{Cpu as _, Maps, Step as LoopStep};
use crate::layout::{Address, Buffer, CLIENT_TIMESTAMPS, Flow, LEG_OWN, MOVES, NONE};
use crate::net::{ACK, Crafted, Draft, Egress, FIN, Frame, HEADERS, Hop, PSH, Segment, Seq, Sum, craft, diff, diff16};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Segments that one emission makes at most: a full buffer in segments of 536 bytes.
const MOST_SEGMENTS: u32 = 32;

/// Bytes of a buffer on their way out as segments. The work's draft says everything else of them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Emission {
    pub pos: u32,
    pub left: u32,
    pub mss: u32,
    /// 1: from the flow's stash; 0: from the work's buffer.
    pub from_stash: u32,
    /// 1: the last segment closes the client's direction.
    pub fin: u32,
    /// 1: the frame holds a segment that has not left yet.
    loaded: u32,
    failed: u32,
    zero: u32,
}

impl Emission {
    /// The stash's first `len` bytes, in segments of `mss` at most.
    #[inline(always)]
    pub(super) fn of_stash(len: u32, mss: u32) -> Self {
        Self { left: len, mss, from_stash: 1, ..Self::default() }
    }

    /// Nothing of it has left yet. Field by field, as all that is made where the stack is short.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        self.loaded = 0;
        self.failed = 0;
        self.zero = 0;
    }
}

/// How a segment is changed on its way: what is added to each of its numbers.
struct Translation {
    source: Address,
    destination: Address,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    seq: u32,
    ack: u32,
    tsval: u32,
    tsecr: u32,
    /// Window shift + 16.
    shift: u32,
    /// What the shifted window is at most.
    room: u32,
    /// The segment closes its sender's direction.
    fin: bool,
    hop: Hop,
}

/// A window as the other side reads it: shifted, and at most what the field holds.
#[inline(always)]
fn shifted(window: u32, shift: u32) -> u32 {
    let wide = if shift >= 16 { window << ((shift - 16) & 15) } else { window >> ((16 - shift) & 15) };
    wide.min(0xffff)
}

/// What a window to the client is at most, in its header's field. Between two requests of a connection that moves it is what a new connection's
/// is, whatever the leg at hand has room for. A client that goes by the window of one leg, which may be megabytes by now, sends a round trip's
/// worth of its next request before it hears of another leg. Of that the stash keeps its own size until the new leg is up, and a backend's
/// new socket drops all that is beyond 64 KiB. The first acknowledgement of the next request's bytes says again what its leg has room for. A
/// window that shrinks loses nothing: its sender goes on with the first byte that was not acknowledged (RFC 9293, section 3.8.6, MUST-34).
#[inline(always)]
fn room(flow: &Flow) -> u32 {
    let between = flow.upstream_acked == flow.request.next && flow.request.chunked == 0;
    // Never none: a client that is told so waits for its persist timer.
    if flow.flags & MOVES != 0 && between { (FIRST_WINDOW >> (flow.our_scale & 15)).max(1) } else { 0xffff }
}

/// Does what a step wants for a packet of no flow.
#[inline(always)]
pub(super) fn finish_stateless<F: Frame>(frame: &mut F, work: &mut Work, (next, verdict): Step) -> Verdict {
    match next {
        Next::Draft => {}
        _ => return verdict,
    }
    // Not by the maps' function: a SYN, of which there may be a flood, pays for each.
    craft(&work.draft, &mut work.crafted);
    if !frame.can_grow() && work.crafted.len > frame.len() {
        return Verdict::NeedsGrowth;
    }
    if !frame.rebuild(&work.crafted, None) {
        return Verdict::Unwritable;
    }
    verdict
}

/// Does what a step wants, and has a flow that is over by it let go of its leg.
#[inline(always)]
pub fn finish<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, step: Step) -> Verdict {
    let verdict = write(maps, frame, work, flow, step);
    if end::is_over(flow, step.1) {
        end::let_go(maps, flow);
    }
    verdict
}

/// Does what a step wants.
#[inline(always)]
fn write<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    flow: &mut Flow,
    (next, verdict): Step,
) -> Verdict {
    match next {
        // Whatever decides or opens has been turned into one of the others.
        Next::Done
        | Next::Request
        | Next::Choose
        | Next::Decide
        | Next::Accept
        | Next::More
        | Next::Open
        | Next::OpenRebind
        | Next::OpenAgain
        | Next::Refused
        | Next::Reopen
        | Next::GiveUp
        | Next::Reject
        | Next::Hold => verdict,
        Next::ToLeg | Next::ToClient | Next::ToClientFin => {
            let mut translation = if next as u32 == Next::ToLeg as u32 { to_leg(flow) } else { to_client(flow) };
            translation.fin = next as u32 == Next::ToClientFin as u32;
            work.egress = translation.hop.egress;
            if translate::<F, true>(frame, &work.segment, &translation) { verdict } else { Verdict::Unwritable }
        }
        Next::Draft | Next::FarewellAndDraft => {
            if next as u32 == Next::FarewellAndDraft as u32 {
                maps.craft(&work.farewell, &mut work.crafted);
                let made = frame.rebuild(&work.crafted, None);
                if !made || !frame.send_copy(work.farewell_egress) {
                    maps.note(Note::CopyFailed.counter());
                }
            }
            maps.craft(&work.draft, &mut work.crafted);
            if frame.rebuild(&work.crafted, None) { verdict } else { Verdict::Unwritable }
        }
        Next::Emit => emit(maps, frame, work, flow, verdict),
    }
}

/// Translates a segment without SACK blocks for the leg; false if the frame cannot be written to.
#[inline(always)]
pub(super) fn plain_to_leg<F: Frame>(frame: &mut F, work: &mut Work, flow: &Flow) -> bool {
    work.egress = flow.leg.hop.egress;
    translate::<F, false>(frame, &work.segment, &to_leg(flow))
}

/// The same for the client.
#[inline(always)]
pub(super) fn plain_to_client<F: Frame>(frame: &mut F, work: &mut Work, flow: &Flow) -> bool {
    work.egress = flow.client_hop.egress;
    translate::<F, false>(frame, &work.segment, &to_client(flow))
}

#[inline(always)]
fn to_leg(flow: &Flow) -> Translation {
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
fn to_client(flow: &Flow) -> Translation {
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
fn readdressed(from: (&Address, &Address), to: (&Address, &Address)) -> u64 {
    let one = |from: &Address, to: &Address| {
        let ([a, b, c, d], [e, f, g, h]) = (from.words(), to.words());
        diff(a, e) + diff(b, f) + diff(c, g) + diff(d, h)
    };
    one(from.0, to.0) + one(from.1, to.1)
}

/// Writes addresses into the IP header of a frame's window; the difference that they make.
#[inline(always)]
fn readdress(v4: bool, h: &mut [u8; HEADERS], from: (&Address, &Address), to: (&Address, &Address)) -> u64 {
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
fn towards<F: Frame>(frame: &mut F, hop: &Hop) -> bool {
    let Some(macs) = frame.front().and_then(|front| front.first_chunk_mut()) else { return false };
    *macs = hop.macs;
    true
}

/// Rewrites a segment for the other side: addresses, ports, sequence and acknowledgement numbers, window, timestamps and
/// SACK blocks (if there may be any), and brings its checksums up to date by what changed.
#[inline(always)]
fn translate<F: Frame, const SACKS: bool>(frame: &mut F, segment: &Segment, to: &Translation) -> bool {
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

/// What all segments made for the leg have in common.
#[inline(always)]
fn draft_to_leg(work: &mut Work, flow: &Flow, first: Seq) {
    let leg = &flow.leg;
    let draft = &mut work.draft;
    draft.on_leg(leg);
    draft.seq = first.plus(leg.to_leg);
    draft.ack = flow.acked.minus(leg.to_client);
    draft.flags = u32::from(ACK | PSH);
    draft.window = shifted(flow.window, leg.shift_to_leg);
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = flow.tsval.wrapping_add(leg.clock_to_leg);
    draft.tsecr = leg.tsval;
    work.egress = leg.hop.egress;
}

/// The stash's first `len` bytes go to the leg; they begin at `first` in the client's numbers.
#[inline(always)]
pub(super) fn from_stash(work: &mut Work, flow: &Flow, first: Seq, len: u32, verdict: Verdict) -> Step {
    draft_to_leg(work, flow, first);
    work.emission = Emission::of_stash(len, flow.leg.mss);
    (Next::Emit, verdict)
}

/// The same from the work's buffer.
#[inline(always)]
pub(super) fn from_buffer(work: &mut Work, flow: &Flow, first: Seq, len: u32, verdict: Verdict) -> Step {
    draft_to_leg(work, flow, first);
    work.emission = Emission { left: len, mss: flow.leg.mss, ..Emission::default() };
    (Next::Emit, verdict)
}

/// Only the acknowledgement of the client's segment goes to the leg.
#[inline(always)]
pub(super) fn ack_alone(work: &mut Work, flow: &Flow) -> Step {
    draft_to_leg(work, flow, flow.received);
    work.draft.flags = u32::from(ACK);
    (Next::Draft, Verdict::AckAlone)
}

/// Only the first `len` bytes of the client's segment go to the leg.
#[inline(always)]
pub(super) fn trimmed<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, len: u32) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if len > crate::layout::BUFFER_BYTES as u32 {
        // What is cut off was framed, and comes again unread.
        flow.flags |= LEG_OWN;
    }
    let len = len.min(crate::layout::BUFFER_BYTES as u32);
    if !frame.load(work.segment.payload_at(), len, &mut work.buffer, 0) {
        return (Next::Done, Verdict::Unwritable);
    }
    maps.note(Note::Trimmed.counter());
    let first = work.segment.seq;
    flow.received = flow.received.max(first.plus(len));
    from_buffer(work, flow, first, len, Verdict::ToBackend)
}

/// Only the first `len` bytes of the backend's segment go to the client.
#[inline(always)]
pub(super) fn trimmed_to_client<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow, len: u32) -> Step {
    let len = len.min(crate::layout::BUFFER_BYTES as u32);
    if len == 0 || !frame.load(work.segment.payload_at(), len, &mut work.buffer, 0) {
        return (Next::Done, Verdict::BeyondResponseHead);
    }
    let segment = &work.segment;
    let leg = &flow.leg;
    let clock = Seq(segment.tsval.wrapping_add(leg.clock_to_client)).max(Seq(flow.clock)).0;
    let draft = &mut work.draft;
    draft.clear();
    draft.macs = flow.client_hop.macs;
    draft.source = flow.key.vip;
    draft.destination = flow.key.client;
    draft.source_port = flow.key.port;
    draft.destination_port = flow.key.client_port;
    draft.seq = segment.seq.plus(leg.to_client);
    draft.ack = segment.ack.minus(leg.to_leg);
    draft.flags = u32::from(ACK | PSH);
    draft.window = shifted(segment.window, leg.shift_to_client).min(room(flow));
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = clock;
    draft.tsecr = segment.tsecr.wrapping_sub(leg.clock_to_leg);
    flow.clock = clock;
    work.egress = flow.client_hop.egress;
    work.emission = Emission { left: len, mss: flow.client_mss.saturating_sub(12).max(512), ..Emission::default() };
    (Next::Emit, Verdict::ToClient)
}

struct Emitting<'a, M: Maps, F: Frame> {
    maps: &'a M,
    frame: &'a mut F,
    draft: &'a mut Draft,
    crafted: &'a mut Crafted,
    emission: &'a mut Emission,
    summing: &'a mut Sum,
    buffer: &'a Buffer,
    egress: Egress,
}

struct OneSegment;
impl<M: Maps, F: Frame> LoopStep<Emitting<'_, M, F>> for OneSegment {
    #[inline(always)]
    fn step(out: &mut Emitting<'_, M, F>) -> bool {
        if out.emission.left == 0 {
            return false;
        }
        // The frame is one packet: what it holds leaves as a copy before it becomes the next segment.
        if out.emission.loaded != 0 && !out.frame.send_copy(out.egress) {
            out.maps.note(Note::CopyFailed.counter());
        }
        let len = out.emission.left.min(out.emission.mss);
        out.draft.payload = len;
        if out.emission.fin != 0 && out.emission.left == len {
            out.draft.flags |= u32::from(FIN);
        }
        out.draft.payload_sum = out.maps.sum(out.summing, out.buffer, out.emission.pos, len);
        out.maps.craft(out.draft, out.crafted);
        let payload = Some((out.buffer, out.emission.pos, len));
        if !out.frame.rebuild(out.crafted, payload) {
            out.emission.failed = 1;
            return false;
        }
        out.emission.loaded = 1;
        out.emission.pos += len;
        out.emission.left -= len;
        out.draft.seq = out.draft.seq.plus(len);
        out.emission.left != 0
    }
}

/// Makes segments of the emission: all but the last leave as copies, the last is the packet.
#[inline(always)]
fn emit<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &Flow, verdict: Verdict) -> Verdict {
    let Work { draft, crafted, emission, sum: summing, buffer, egress, .. } = work;
    let guard;
    let buffer: &Buffer = if emission.from_stash != 0 {
        if flow.stash == NONE {
            return Verdict::NoConfig;
        }
        let Some(stash) = maps.stash(flow.stash) else { return Verdict::NoConfig };
        guard = stash;
        &guard.data
    } else {
        buffer
    };
    let mut out = Emitting { maps, frame, draft, crafted, emission, summing, buffer, egress: *egress };
    M::Cpu::repeat::<_, OneSegment>(&mut out, MOST_SEGMENTS);
    if emission.failed != 0 || emission.loaded == 0 {
        return Verdict::Unwritable;
    }
    verdict
}

#[cfg(test)]
mod tests;
