//! "Fragmentation needed", or "packet too big" of IPv6: what a router says that does not let a packet pass. It says so to the packet's
//! source, which is an address of the director; the one who can make packets smaller is the sender of what was translated, and has to
//! be told in its own numbers.
//!
//! The message (RFC 792, RFC 1191; RFC 4443, section 3.2) quotes the IP header of the packet and at least eight bytes behind it: ports
//! and sequence number, by which the receiver finds its connection, and believes only what is under way (RFC 5927, section 7). So
//! does the director. Both messages lie at the same place in the frame's window.

use super::send::send_on;
use super::{From, client_key, gateway, has_leg, server_key};
use crate::host::{Cpu, Maps};
use crate::layout::{
    Address, CLIENT_TIMESTAMPS, FLOW_CLOSING, FLOW_SPLICED, Flow, NONE, Place, ROLE_BACKEND, ROLE_INDEX, ROLE_SOURCE,
    owner, slot,
};
use crate::net::{Frame, HEADERS, Seq, TCP};
use crate::verdict::Verdict;
use crate::work::Work;

/// Where the quoted addresses lie in the window, and the ports and the sequence number behind them; and where that ends.
pub(super) struct Layout {
    pub(super) addresses: u32,
    pub(super) ports: u32,
    end: u32,
}

pub(super) const IPV4: Layout = Layout { addresses: 54, ports: 62, end: 70 };
pub(super) const IPV6: Layout = Layout { addresses: 50, ports: 82, end: 90 };

/// Bytes of the timestamp option.
const TIMESTAMP_OPTION: u32 = 12;

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// Whether a frame may be such a message: of the headers from the frame's beginning on.
#[inline(always)]
pub(super) fn may_be_said(h: &[u8; HEADERS]) -> bool {
    match [h[12], h[13]] {
        [0x08, 0x00] => h[23] == ICMP,
        [0x86, 0xdd] => h[20] == ICMPV6,
        _ => false,
    }
}

/// Whether it is one, about a TCP segment in an ordinary packet.
#[inline(always)]
fn is_said<F: Frame>(frame: &mut F) -> bool {
    let v4 = frame.base() == 0;
    let Some(front) = frame.front() else { return false };
    let version = front[14] >> 4;
    let Some(h) = frame.headers() else { return false };
    if !v4 {
        // Type 2; a receiver does not look at the code.
        return version == 6 && h[34] == 2 && h[42] >> 4 == 6 && h[48] == TCP;
    }
    let packet = h[14] == 0x45 && h[20] & 0x3f == 0 && h[21] == 0;
    // Type 3, code 4. Of a later fragment no ports are quoted.
    let message = h[34] == 3 && h[35] == 4;
    packet && message && h[42] == 0x45 && h[51] == TCP && h[48] & 0x1f == 0 && h[49] == 0
}

/// Tells whoever sent what did not pass.
#[inline(always)]
pub fn too_big<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    if !is_said(frame) {
        return Verdict::NotOurs;
    }
    let Some(mtu) = read(frame, work) else { return Verdict::NotOurs };
    // Of connections that are not followed: perhaps the host's own.
    let Some((slot, from)) = find(maps, work) else { return Verdict::NotOurs };
    let Some(mut flow) = maps.flow(slot) else { return Verdict::Busy };
    let theirs = match from {
        From::Client => flow.key == work.key,
        From::Leg(leg) => flow.leg.slot == leg && flow.leg.address == work.segment.destination,
        From::Gateway => gateway::is_key(&flow, &work.key),
    };
    if !theirs || !has_leg(&flow) || (flow.state != FLOW_SPLICED && flow.state != FLOW_CLOSING) {
        return Verdict::TooBigStray;
    }
    // What it may make of the director's own segments at least.
    let mtu = mtu.max(work.segment.source.least_mtu());
    let headers = work.segment.source.headers();
    let seq = work.segment.seq;
    let verdict = if matches!(from, From::Client) {
        if seq.before(flow.acked) || !seq.before(flow.sent) {
            return Verdict::TooBigStray;
        }
        flow.client_mss = flow.client_mss.min(mtu - headers);
        work.quote.as_backend_sent(&flow);
        Verdict::TooBigToClient
    } else {
        let sent = seq.minus(flow.leg.to_leg);
        if sent.before(flow.upstream_acked) || !sent.before(under_way(&flow)) {
            return Verdict::TooBigStray;
        }
        let stamps = if flow.flags & CLIENT_TIMESTAMPS != 0 { TIMESTAMP_OPTION } else { 0 };
        flow.leg.mss = flow.leg.mss.min(mtu - headers - stamps);
        work.quote.as_client_sent(&flow);
        Verdict::TooBigToBackend
    };
    work.egress = work.quote.hop.egress;
    if send_on(frame, &work.segment, &work.quote) { verdict } else { Verdict::Unwritable }
}

/// How far the client's bytes are on their way to the backend.
#[inline(always)]
fn under_way(flow: &Flow) -> Seq {
    if flow.stash == NONE { flow.received } else { flow.received.max(flow.stash_first.plus(flow.stash_len)) }
}

/// The MTU that the message names; the work's segment becomes what it quotes, and its quote learns who says it, and to whom.
#[inline(always)]
fn read<F: Frame>(frame: &mut F, work: &mut Work) -> Option<u32> {
    let Work { segment, quote, .. } = work;
    let v4 = frame.base() == 0;
    let layout = if v4 { IPV4 } else { IPV6 };
    if frame.len() < frame.base() + layout.end {
        return None;
    }
    let front = frame.front()?;
    let length = u32::from(u16::from_be_bytes(if v4 { [front[16], front[17]] } else { [front[18], front[19]] }));
    // What is behind the IP packet is padding.
    if length < layout.end - if v4 { 14 } else { 34 } {
        return None;
    }
    let ports = frame.load8(layout.ports)?;
    segment.source_port = [ports[0], ports[1]];
    segment.destination_port = [ports[2], ports[3]];
    segment.seq = Seq(u32::from_be_bytes([ports[4], ports[5], ports[6], ports[7]]));
    if v4 {
        let a = frame.load8(layout.addresses)?;
        segment.source = Address::v4([a[0], a[1], a[2], a[3]]);
        segment.destination = Address::v4([a[4], a[5], a[6], a[7]]);
        let h = frame.headers()?;
        quote.router = Address::v4([h[26], h[27], h[28], h[29]]);
        quote.told = Address::v4([h[30], h[31], h[32], h[33]]);
    } else {
        let read = frame.load_address(layout.addresses, &mut segment.source)
            && frame.load_address(layout.addresses + 16, &mut segment.destination)
            && frame.load_address(2, &mut quote.router)
            && frame.load_address(18, &mut quote.told);
        if !read {
            return None;
        }
    }
    let h = frame.headers()?;
    let mtu = u32::from_be_bytes([h[38], h[39], h[40], h[41]]);
    Some(if v4 { mtu & 0xffff } else { mtu })
}

/// The flow whose packet is quoted, and the side that the packet was *for*: [`From::Client`] if it was on its way to the client.
#[inline(always)]
fn find<M: Maps>(maps: &M, work: &mut Work) -> Option<(u32, From)> {
    if work.segment.source != work.quote.told {
        return None;
    }
    server_key(work);
    if let Some(slot) = maps.flow_slot(&work.key) {
        return Some((slot, From::Client));
    }
    let role = maps.role(&mut work.known, &work.quote.told).unwrap_or(0);
    if role & ROLE_SOURCE != 0 {
        let port = u16::from_be_bytes(work.segment.source_port);
        let leg = slot(Place { source: role & ROLE_INDEX, port })?;
        return Some((owner(M::Cpu::load(maps.leg_owner(leg)?))?, From::Leg(leg)));
    }
    if maps.role(&mut work.known, &work.segment.destination).unwrap_or(0) & ROLE_BACKEND == 0 {
        return None;
    }
    // A leg from the client's own address.
    client_key(work);
    Some((maps.flow_slot(&work.key)?, From::Gateway))
}
