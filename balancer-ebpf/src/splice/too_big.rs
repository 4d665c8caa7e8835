//! "Fragmentation needed": what a router says that does not let a packet pass. It says so to the packet's source, which is an address of
//! the director; the one who can make packets smaller is the sender of what was translated, and has to be told in its own numbers.
//!
//! The message (RFC 792, RFC 1191) quotes the IP header of the packet and at least eight bytes behind it: ports and sequence number, by
//! which the receiver finds its connection, and believes only what is under way (RFC 5927, section 7). So does the director.

use super::send::{as_backend_sent, as_client_sent, send_on};
use super::{From, gateway, has_leg};
use crate::host::{Cpu, Maps};
use crate::layout::{
    CLIENT_TIMESTAMPS, FLOW_CLOSING, FLOW_SPLICED, Flow, FlowKey, LEG_IDLE, NONE, Place, ROLE_BACKEND, ROLE_INDEX,
    ROLE_SOURCE, slot,
};
use crate::net::{Frame, HEADERS, Segment, Seq};
use crate::verdict::Verdict;
use crate::work::Work;

/// Bytes of the frame as far as the quoted sequence number: Ethernet, IP, ICMP and the quoted IP header, and eight bytes.
const QUOTE: u32 = 70;
/// Where the quoted IP header's end and the ports lie: its addresses, and what follows them.
const ADDRESSES: u32 = 54;
const PORTS: u32 = 62;
/// Bytes of the IPv4 and TCP headers, and of the timestamp option.
const IP_AND_TCP: u32 = 40;
const TIMESTAMP_OPTION: u32 = 12;
/// What a message may make of the director's own segments at least: every host takes packets of 576 bytes (RFC 1122, section 3.3.2).
const LEAST_MTU: u32 = 576;

const ICMP: u8 = 1;
const TCP: u8 = 6;

/// Whether a frame is such a message, about a TCP segment in an ordinary packet.
#[inline(always)]
pub(super) fn is_said(h: &[u8; HEADERS]) -> bool {
    let packet = h[12] == 0x08 && h[13] == 0x00 && h[14] == 0x45 && h[23] == ICMP && h[20] & 0x3f == 0 && h[21] == 0;
    // Type 3, code 4. Of a later fragment no ports are quoted.
    let message = h[34] == 3 && h[35] == 4;
    packet && message && h[42] == 0x45 && h[51] == TCP && h[48] & 0x1f == 0 && h[49] == 0
}

/// Tells whoever sent what did not pass.
#[inline(always)]
pub fn too_big<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    let Some((told, mtu)) = read(frame, &mut work.segment) else { return Verdict::NotOurs };
    // Of connections that are not followed: perhaps the host's own.
    let Some((slot, from)) = find(maps, work, told) else { return Verdict::NotOurs };
    let Some(mut flow) = maps.flow(slot) else { return Verdict::Busy };
    let theirs = match from {
        From::Client => flow.key == work.key,
        From::Leg(leg) => flow.leg.slot == leg && flow.leg.address == work.segment.destination,
        From::Gateway => gateway::key(&flow) == work.key,
    };
    if !theirs || !has_leg(&flow) || (flow.state != FLOW_SPLICED && flow.state != FLOW_CLOSING) {
        return Verdict::TooBigStray;
    }
    let mtu = mtu.max(LEAST_MTU);
    let seq = work.segment.seq;
    let (quote, verdict) = if matches!(from, From::Client) {
        if seq.before(flow.acked) || !seq.before(flow.sent) {
            return Verdict::TooBigStray;
        }
        flow.client_mss = flow.client_mss.min(mtu - IP_AND_TCP);
        (as_backend_sent(&flow), Verdict::TooBigToClient)
    } else {
        let sent = seq.minus(flow.leg.to_leg);
        if sent.before(flow.upstream_acked) || !sent.before(under_way(&flow)) {
            return Verdict::TooBigStray;
        }
        let stamps = if flow.flags & CLIENT_TIMESTAMPS != 0 { TIMESTAMP_OPTION } else { 0 };
        flow.leg.mss = flow.leg.mss.min(mtu - IP_AND_TCP - stamps);
        (as_client_sent(&flow), Verdict::TooBigToBackend)
    };
    work.egress = quote.hop.egress;
    if send_on(frame, &work.segment, &quote) { verdict } else { Verdict::Unwritable }
}

/// How far the client's bytes are on their way to the backend.
#[inline(always)]
fn under_way(flow: &Flow) -> Seq {
    if flow.stash == NONE { flow.received } else { flow.received.max(flow.stash_first.plus(flow.stash_len)) }
}

/// Whom the message is for, and the MTU that it names; `segment` becomes what it quotes.
#[inline(always)]
fn read<F: Frame>(frame: &mut F, segment: &mut Segment) -> Option<([u8; 4], u32)> {
    if frame.len() < QUOTE {
        return None;
    }
    let addresses = frame.load8(ADDRESSES)?;
    let ports = frame.load8(PORTS)?;
    let h = frame.headers()?;
    // What is behind the IP packet is padding.
    if u16::from_be_bytes([h[16], h[17]]) < QUOTE as u16 - 14 {
        return None;
    }
    segment.source = [addresses[0], addresses[1], addresses[2], addresses[3]];
    segment.destination = [addresses[4], addresses[5], addresses[6], addresses[7]];
    segment.source_port = [ports[0], ports[1]];
    segment.destination_port = [ports[2], ports[3]];
    segment.seq = Seq(u32::from_be_bytes([ports[4], ports[5], ports[6], ports[7]]));
    Some(([h[30], h[31], h[32], h[33]], u32::from(u16::from_be_bytes([h[40], h[41]]))))
}

/// The flow whose packet is quoted, and the side that the packet was *for*: [`From::Client`] if it was on its way to the client.
#[inline(always)]
fn find<M: Maps>(maps: &M, work: &mut Work, told: [u8; 4]) -> Option<(u32, From)> {
    let segment = &work.segment;
    if segment.source != told {
        return None;
    }
    work.key = FlowKey {
        client: segment.destination,
        vip: segment.source,
        client_port: segment.destination_port,
        port: segment.source_port,
    };
    if let Some(slot) = maps.flow_slot(&work.key) {
        return Some((slot, From::Client));
    }
    let role = maps.role(told).unwrap_or(0);
    if role & ROLE_SOURCE != 0 {
        let port = u16::from_be_bytes(segment.source_port);
        let leg = slot(Place { source: role & ROLE_INDEX, port })?;
        let owner = M::Cpu::load(&maps.leg(leg)?.owner);
        if owner == 0 || owner >= LEG_IDLE {
            return None;
        }
        return Some(((owner as u32).wrapping_sub(1), From::Leg(leg)));
    }
    if maps.role(segment.destination).unwrap_or(0) & ROLE_BACKEND == 0 {
        return None;
    }
    // A leg from the client's own address.
    work.key = FlowKey {
        client: segment.source,
        vip: segment.destination,
        client_port: segment.source_port,
        port: segment.destination_port,
    };
    Some((maps.flow_slot(&work.key)?, From::Gateway))
}
