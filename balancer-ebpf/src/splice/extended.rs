//! Packets whose TCP header, if there is one, lies behind extension headers of IPv6 (RFC 8200, section 4).
//!
//! Nobody sends TCP so by himself: path MTU discovery leaves nothing to be fragmented, and options and routing headers are dropped on
//! the way by many networks (RFC 7872). What would have to be followed is dropped and counted, as options and fragments of IPv4
//! are; what turns out to be no TCP is the host's.

use crate::net::{FRAGMENT, Frame, TCP, extends};
use crate::verdict::Verdict;

/// Where the first of them lies in the window.
const FIRST: u32 = 34;
/// As many are looked behind.
const MOST: u32 = 6;

/// What becomes of such a packet to an address of the director's.
#[inline(always)]
pub fn extended<F: Frame>(frame: &mut F) -> Verdict {
    let Some(h) = frame.headers() else { return Verdict::NotOurs };
    let (mut next, mut at, mut verdict) = (h[0], FIRST, Verdict::ExtensionHeaders);
    for _ in 0..MOST {
        if !extends(next) {
            break;
        }
        let Some(header) = frame.load8(at) else { return Verdict::Malformed };
        if next == FRAGMENT {
            verdict = fragment(&header);
        }
        at += if next == FRAGMENT { 8 } else { 8 + 8 * u32::from(header[1]) };
        next = header[0];
        if matches!(verdict, Verdict::Fragment) {
            // Of a later one nothing else of the headers is there.
            break;
        }
    }
    if next == TCP || extends(next) { verdict } else { Verdict::NotOurs }
}

/// Whether it is one of several, or the only one: an atomic fragment (RFC 6946), which would have to be taken for a whole packet.
#[inline(always)]
const fn fragment(header: &[u8; 8]) -> Verdict {
    // 13 bits of offset, two that mean nothing, and whether more follow.
    let whole = header[2] == 0 && header[3] & 0xf9 == 0;
    if whole { Verdict::AtomicFragment } else { Verdict::Fragment }
}
