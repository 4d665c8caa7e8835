//! Whether a segment came as it was sent.
//!
//! A link's own check sum is gone when a router's memory or a driver damages a packet. What the director only hands on keeps its damage,
//! for checksums are brought up to date by differences, and the receiver drops it. What it decides on, learns from, acknowledges or
//! keeps in a stash leaves with a checksum of its own, and would be damaged for good.

use super::{Frame, fold};
use crate::layout::Address;
use crate::work::Work;

/// Where the TCP header begins in the window.
const TCP: u32 = 34;
/// Bytes of a TCP header without options.
const BARE: u32 = 20;
/// Longer frames than the longest that an Ethernet carries were merged of several, each of which was verified (`tcp_gro_receive`
/// is only reached with a checksum that is right).
pub const LONGEST: u32 = 12_288;

/// Whether the TCP checksum of the segment at hand, which was parsed, is right, or somebody has vouched for it.
#[inline(always)]
pub fn is_sound<F: Frame>(frame: &mut F, work: &mut Work) -> bool {
    if frame.len() > LONGEST {
        return true;
    }
    let grows = frame.can_grow();
    let Some(h) = frame.headers() else { return false };
    let segment = &work.segment;
    let length = BARE + segment.options + segment.payload;
    // The addresses, the protocol's number, 6, and the segment's length (RFC 9293, section 3.1; RFC 8200, section 8.1). What maps an
    // IPv4 address into one of IPv6 is a zero to this sum.
    let words = |address: &Address| address.pairs().map(|pair| (pair >> 32) + (pair & 0xffff_ffff));
    let ([a, b], [c, d]) = (words(&segment.source), words(&segment.destination));
    let pseudo = a + b + c + d + u64::from(6u16.to_be()) + u64::from((length as u16).to_be());
    // A host on this very machine leaves the rest to hardware, which a veth does without; so does what merges segments. XDP
    // sees no such frames, or could do nothing with them.
    if grows && u16::from_ne_bytes([h[50], h[51]]) == fold(pseudo) {
        return true;
    }
    if frame.is_vouched() {
        return true;
    }
    match frame.sum(TCP, length, &mut work.buffer) {
        Some(sum) => fold(sum + pseudo) == 0xffff,
        None => false,
    }
}
