//! Authentication that is bound to a connection rather than to a request: whoever came next on it would be that user.

use super::lines::{CHALLENGES, CONTROLS, VALUE};
use super::swar::{keep, leading_blanks, splat, word_at};
use super::{HEAD_AUTH_CONNECTION, Scan};
use crate::layout::Buffer;

/// Whether the credentials or the challenge at `start` are of a scheme that binds.
///
/// `NTLM` and `Negotiate` do (RFC 4559), and `Nego2`: four letters tell them from all others that are registered. More
/// blanks than are passed over count as one of them: a connection too few in the pool harms nobody.
#[inline(always)]
fn binds(buffer: &Buffer, start: u32) -> bool {
    let blanks = leading_blanks(word_at(buffer, start));
    let scheme = keep(word_at(buffer, start + blanks) | splat(0x20), 4);
    let of = |text: &[u8; 4]| u64::from(u32::from_le_bytes(*text));
    blanks == 8 || scheme == of(b"ntlm") || scheme == of(b"nego")
}

/// Takes in the beginning of a field of credentials (of a request) or challenges (of a response); answers the mode of
/// its value. Credentials have one scheme; challenges are a list, and commas may also stand within one.
#[inline(always)]
pub(super) fn field(scan: &mut Scan, buffer: &Buffer, start: u32) -> u32 {
    if binds(buffer, start) {
        scan.head.flags |= HEAD_AUTH_CONNECTION;
        return VALUE;
    }
    if scan.response != 0 { CHALLENGES } else { VALUE }
}

/// Takes in one item of a list of challenges.
#[inline(always)]
pub(super) fn challenge(scan: &mut Scan, buffer: &Buffer) {
    if binds(buffer, scan.item) {
        scan.head.flags |= HEAD_AUTH_CONNECTION;
        scan.mode = VALUE;
        scan.floor = CONTROLS;
    }
}
