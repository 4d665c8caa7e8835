//! Whether a segment came as it was sent.
//!
//! A link's own check sum is gone when a router's memory or a driver damages a packet. What the director only hands on keeps its damage,
//! for checksums are brought up to date by differences, and the receiver drops it. What it decides on, learns from, acknowledges or
//! keeps in a stash leaves with a checksum of its own, and would be damaged for good.

use super::{Frame, HEADERS, Segment, fold};
use crate::layout::Address;
use crate::work::Work;

/// Where the TCP header begins in the window.
const TCP: u32 = 34;
/// Bytes of a TCP header without options.
const BARE: u32 = 20;
/// Longer frames than the longest that an Ethernet carries were merged of several, each of which was verified (`tcp_gro_receive`
/// is only reached with a checksum that is right).
pub const LONGEST: u32 = 12_288;

/// A segment's length, and the sum of its pseudo-header: the addresses, the protocol's number, 6, and the length (RFC 9293, section 3.1;
/// RFC 8200, section 8.1). What maps an IPv4 address into one of IPv6 is a zero to this sum.
#[inline(always)]
fn pseudo_header(segment: &Segment) -> (u32, u64) {
    let length = BARE + segment.options + segment.payload;
    let words = |address: &Address| address.pairs().map(|pair| (pair >> 32) + (pair & 0xffff_ffff));
    let ([a, b], [c, d]) = (words(&segment.source), words(&segment.destination));
    (length, a + b + c + d + u64::from(6u16.to_be()) + u64::from((length as u16).to_be()))
}

/// Whether the TCP checksum of a segment that is nothing but a header is right: one without options, with a timestamp, or with those of
/// most SYNs. Of others, and where it is not, [`is_sound`] knows more.
#[inline(always)]
pub fn is_bare_sound<F: Frame>(frame: &mut F, segment: &Segment) -> bool {
    if segment.payload != 0 {
        return false;
    }
    let (_, pseudo) = pseudo_header(segment);
    if is_left_to_hardware(frame, pseudo) {
        return true;
    }
    let Some(h) = frame.headers() else { return false };
    let header = pseudo + words(&h[TCP as usize..]);
    let sum = match segment.options {
        0 => header,
        12 => {
            let Some(h) = frame.headers_ts() else { return false };
            header + words(&h[HEADERS..])
        }
        20 => {
            let Some(h) = frame.headers_syn() else { return false };
            header + words(&h[HEADERS..])
        }
        _ => return false,
    };
    fold(sum) == 0xffff
}

/// The sum of whole words.
#[inline(always)]
fn words(bytes: &[u8]) -> u64 {
    let mut sum = 0;
    for word in bytes.as_chunks::<4>().0 {
        sum += u64::from(u32::from_ne_bytes(*word));
    }
    sum
}

/// Whether the checksum is only that of the pseudo-header: a host on this very machine leaves the rest to hardware, which a veth does
/// without; so does what merges segments. XDP sees no such frames, or could do nothing with them.
#[inline(always)]
fn is_left_to_hardware<F: Frame>(frame: &mut F, pseudo: u64) -> bool {
    let grows = frame.can_grow();
    match frame.headers() {
        Some(h) => grows && u16::from_ne_bytes([h[50], h[51]]) == fold(pseudo),
        None => false,
    }
}

/// Whether the TCP checksum of the segment at hand, which was parsed, is right, or somebody has vouched for it.
#[inline(always)]
pub fn is_sound<F: Frame>(frame: &mut F, work: &mut Work) -> bool {
    if frame.len() > LONGEST {
        return true;
    }
    let (length, pseudo) = pseudo_header(&work.segment);
    if is_left_to_hardware(frame, pseudo) || frame.is_vouched() {
        return true;
    }
    match frame.sum(TCP, length, &mut work.buffer) {
        Some(sum) => fold(sum + pseudo) == 0xffff,
        None => false,
    }
}
