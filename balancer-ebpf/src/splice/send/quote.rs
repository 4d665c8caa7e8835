//! The translation of what an ICMP message quotes: back into the numbers of the one who sent it.

use super::super::too_big::{IPV4, IPV6};
use super::translate::{readdress, readdressed, towards};
use crate::layout::{Address, Flow};
use crate::net::{Frame, Hop, Segment, diff, diff16, update};

/// Where the checksums lie in the window: of an IPv4 header, of the message, and of a quoted IPv4 header.
const IP_CHECK: usize = 24;
const ICMP_CHECK: usize = 36;
const QUOTED_CHECK: usize = 52;

/// A segment that did not pass: who says so and to whom, and how its sender knows it, and the way there. In the scratch memory, since
/// the stack has no room for so many addresses.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Quote {
    pub(in crate::splice) router: Address,
    pub(in crate::splice) told: Address,
    source: Address,
    destination: Address,
    source_port: [u8; 2],
    destination_port: [u8; 2],
    /// What is added to the sequence number.
    seq: u32,
    pub(in crate::splice) hop: Hop,
}

impl Quote {
    /// What was on its way to the client was the backend's.
    #[inline(always)]
    pub(in crate::splice) fn as_backend_sent(&mut self, flow: &Flow) {
        let leg = &flow.leg;
        self.source = leg.address;
        self.destination = leg.source;
        self.source_port = leg.port;
        self.destination_port = leg.source_port;
        self.seq = leg.to_client.wrapping_neg();
        self.hop = leg.hop;
    }

    /// What was on its way to the backend was the client's.
    #[inline(always)]
    pub(in crate::splice) fn as_client_sent(&mut self, flow: &Flow) {
        self.source = flow.key.client;
        self.destination = flow.key.vip;
        self.source_port = flow.key.client_port;
        self.destination_port = flow.key.port;
        self.seq = flow.leg.to_leg.wrapping_neg();
        self.hop = flow.client_hop;
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
    let v4 = frame.base() == 0;
    let quoted_addresses = readdressed((&quoted.source, &quoted.destination), (&to.source, &to.destination));
    let numbers = diff16(u16::from_ne_bytes(quoted.source_port), u16::from_ne_bytes(to.source_port))
        + diff16(u16::from_ne_bytes(quoted.destination_port), u16::from_ne_bytes(to.destination_port))
        + diff(quoted.seq.0.to_be(), seq.0.to_be());
    if !towards(frame, &to.hop) {
        return false;
    }
    let Some(h) = frame.headers() else { return false };
    let outer = readdress(v4, h, (&to.router, &to.told), (&to.destination, &to.source));
    let mut message = quoted_addresses + numbers;
    if v4 {
        [h[IP_CHECK], h[IP_CHECK + 1]] =
            update(u16::from_ne_bytes([h[IP_CHECK], h[IP_CHECK + 1]]), outer).to_ne_bytes();
        let before = u16::from_ne_bytes([h[QUOTED_CHECK], h[QUOTED_CHECK + 1]]);
        let after = update(before, quoted_addresses);
        [h[QUOTED_CHECK], h[QUOTED_CHECK + 1]] = after.to_ne_bytes();
        message += diff16(before, after);
    } else {
        // The sum of ICMPv6 is of a pseudo-header too (RFC 4443, section 2.3).
        message += outer;
    }
    let check = u16::from_ne_bytes([h[ICMP_CHECK], h[ICMP_CHECK + 1]]);
    [h[ICMP_CHECK], h[ICMP_CHECK + 1]] = update(check, message).to_ne_bytes();
    let ([sp0, sp1], [dp0, dp1]) = (to.source_port, to.destination_port);
    let [q0, q1, q2, q3] = seq.0.to_be_bytes();
    let ports = [sp0, sp1, dp0, dp1, q0, q1, q2, q3];
    if v4 {
        let ([s0, s1, s2, s3], [d0, d1, d2, d3]) = (to.source.last(), to.destination.last());
        return frame.store8(IPV4.addresses, [s0, s1, s2, s3, d0, d1, d2, d3]) && frame.store8(IPV4.ports, ports);
    }
    frame.store_address(IPV6.addresses, &to.source)
        && frame.store_address(IPV6.addresses + 16, &to.destination)
        && frame.store8(IPV6.ports, ports)
}
