//! The translation of what an ICMP message quotes: back into the numbers of the one who sent it.

use super::word4;
use crate::layout::Flow;
use crate::net::{Frame, Hop, Segment, diff, diff16, update};

/// Where the ICMP checksum lies, and that of the quoted IP header.
const ICMP_CHECK: usize = 36;
const QUOTED_CHECK: usize = 52;
/// Where the quoted addresses lie, and the quoted ports and sequence number.
const ADDRESSES: u32 = 54;
const PORTS: u32 = 62;

/// A segment as its sender knows it, and the way to that sender.
pub(in crate::splice) struct Quote {
    source: [u8; 4],
    destination: [u8; 4],
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// What is added to the sequence number.
    seq: u32,
    pub(in crate::splice) hop: Hop,
}

/// What was on its way to the client was the backend's.
#[inline(always)]
pub(in crate::splice) fn as_backend_sent(flow: &Flow) -> Quote {
    let leg = &flow.leg;
    Quote {
        source: leg.address,
        destination: leg.source,
        source_port: leg.port,
        destination_port: leg.source_port,
        seq: leg.to_client.wrapping_neg(),
        hop: leg.hop,
    }
}

/// What was on its way to the backend was the client's.
#[inline(always)]
pub(in crate::splice) fn as_client_sent(flow: &Flow) -> Quote {
    Quote {
        source: flow.key.client,
        destination: flow.key.vip,
        source_port: flow.key.client_port,
        destination_port: flow.key.port,
        seq: flow.leg.to_leg.wrapping_neg(),
        hop: flow.client_hop,
    }
}

/// Rewrites a message that quotes `quoted`, whose receiver is told by the one that it thinks it talks to: a backend may have no way to
/// routers on its clients' side, and nobody looks at who says it.
///
/// Checksums are brought up to date by what changed, so that damage stays visible. The quoted TCP header is right as far as it has to
/// be there at all; nobody looks at the rest.
#[inline(always)]
pub(in crate::splice) fn send_on<F: Frame>(frame: &mut F, quoted: &Segment, to: &Quote) -> bool {
    let seq = quoted.seq.plus(to.seq);
    let Some(h) = frame.headers() else { return false };
    for (to, from) in h.iter_mut().zip(to.hop.macs.iter()) {
        *to = *from;
    }
    let outer = diff(word4([h[26], h[27], h[28], h[29]]), word4(to.destination))
        + diff(word4([h[30], h[31], h[32], h[33]]), word4(to.source));
    [h[26], h[27], h[28], h[29]] = to.destination;
    [h[30], h[31], h[32], h[33]] = to.source;
    [h[24], h[25]] = update(u16::from_ne_bytes([h[24], h[25]]), outer).to_ne_bytes();
    let addresses =
        diff(word4(quoted.source), word4(to.source)) + diff(word4(quoted.destination), word4(to.destination));
    let before = u16::from_ne_bytes([h[QUOTED_CHECK], h[QUOTED_CHECK + 1]]);
    let after = update(before, addresses);
    [h[QUOTED_CHECK], h[QUOTED_CHECK + 1]] = after.to_ne_bytes();
    let message = addresses
        + diff16(before, after)
        + diff16(u16::from_ne_bytes(quoted.source_port), u16::from_ne_bytes(to.source_port))
        + diff16(u16::from_ne_bytes(quoted.destination_port), u16::from_ne_bytes(to.destination_port))
        + diff(quoted.seq.0.to_be(), seq.0.to_be());
    let check = u16::from_ne_bytes([h[ICMP_CHECK], h[ICMP_CHECK + 1]]);
    [h[ICMP_CHECK], h[ICMP_CHECK + 1]] = update(check, message).to_ne_bytes();
    let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (to.source, to.destination);
    let ([sp0, sp1], [dp0, dp1]) = (to.source_port, to.destination_port);
    let [q0, q1, q2, q3] = seq.0.to_be_bytes();
    frame.store8(ADDRESSES, [s0, s1, s2, s3, d0, d1, d2, d3])
        && frame.store8(PORTS, [sp0, sp1, dp0, dp1, q0, q1, q2, q3])
}
