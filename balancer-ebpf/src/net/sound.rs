//! Whether a segment came as it was sent.
//!
//! A link's own check sum is gone when a router's memory or a driver damages a packet. What the director only hands on keeps its damage,
//! for checksums are brought up to date by differences, and the receiver drops it. What it decides on, learns from, acknowledges or
//! keeps in a stash leaves with a checksum of its own, and would be damaged for good.

use super::{Frame, fold};
use crate::work::Work;

/// Where the TCP header begins.
const TCP: u32 = 34;
/// Bytes of the IPv4 header.
const IP: u32 = 20;
/// Longer frames than the longest that an Ethernet carries were merged of several, each of which was verified (`tcp_gro_receive`
/// is only reached with a checksum that is right).
pub const LONGEST: u32 = 12_288;

/// Whether the TCP checksum is right, or somebody has vouched for it.
#[inline(always)]
pub fn is_sound<F: Frame>(frame: &mut F, work: &mut Work) -> bool {
    let len = frame.len();
    let grows = frame.can_grow();
    let Some(h) = frame.headers() else { return false };
    let total = u32::from(u16::from_be_bytes([h[16], h[17]]));
    if total <= IP || len > LONGEST {
        return true;
    }
    let word = |at: usize| u64::from(u32::from_ne_bytes([h[at], h[at + 1], h[at + 2], h[at + 3]]));
    // The protocol's number, 6, and the segment's length (RFC 9293, section 3.1).
    let length = (total - IP) as u16;
    let pseudo = word(26) + word(30) + u64::from(6u16.to_be()) + u64::from(length.to_be());
    // A host on this very machine leaves the rest to hardware, which a veth does without; so does what merges segments. XDP
    // sees no such frames, or could do nothing with them.
    if grows && u16::from_ne_bytes([h[50], h[51]]) == fold(pseudo) {
        return true;
    }
    if frame.is_vouched() {
        return true;
    }
    match frame.sum(TCP, total - IP, &mut work.buffer) {
        Some(sum) => fold(sum + pseudo) == 0xffff,
        None => false,
    }
}
