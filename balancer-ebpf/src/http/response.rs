//! What only responses have: a status line (RFC 9112, section 4) and Set-Cookie (RFC 6265, section 4.1).

use super::Scanned::*;
use super::lines::{ATTRIBUTE, CONTROLS, VALUE};
use super::swar::{byte_at, keep, splat, word_at};
use super::{HTTP_10, Scan, Span, ids};
use crate::layout::{Buffer, SessionRule};

/// `Max-Age` says that the cookie lives; it beats `Expires` (RFC 6265, section 4.1.2.2).
const LIVES: u32 = 1;
/// `Max-Age` says that it is gone.
const DEAD: u32 = 1 << 1;
/// `Expires` is a date of 1970, as everybody writes it who deletes a cookie.
const EXPIRED: u32 = 1 << 2;

/// Takes in the status line up to its reason phrase; whether the walk goes on from there.
#[inline(always)]
pub(super) fn status_line(scan: &mut Scan, buffer: &Buffer) -> bool {
    // No response is shorter than that.
    if scan.end < 13 {
        return scan.starve();
    }
    let version = word_at(buffer, 0);
    if version == u64::from_le_bytes(*b"HTTP/1.0") {
        scan.head.flags |= HTTP_10;
    } else if version != u64::from_le_bytes(*b"HTTP/1.1") {
        return scan.stop(BadStatusLine);
    }
    let digits = word_at(buffer, 8) ^ u64::from_le_bytes(*b" 000 \0\0\0");
    let digit = |index: u32| (digits >> (index * 8)) as u8;
    let (hundreds, tens, ones) = (digit(1), digit(2), digit(3));
    // A line without a reason phrase has a space all the same, but not everywhere.
    let end = digit(4) == 0 || digit(4) == b' ' ^ b'\r';
    if digit(0) != 0 || !(1..=9).contains(&hundreds) || tens > 9 || ones > 9 || !end {
        return scan.stop(BadStatusLine);
    }
    scan.head.status = u32::from(hundreds) * 100 + u32::from(tens) * 10 + u32::from(ones);
    scan.mode = VALUE;
    scan.floor = CONTROLS;
    scan.fold = 0;
    scan.item = 12;
    scan.cursor = 12;
    true
}

/// Takes in name and value of a Set-Cookie field.
#[inline(always)]
pub(super) fn set_cookie(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule, end: u32) {
    if let Some(value) = ids::named_value(buffer, &rule.cookie, scan.item, end) {
        scan.pending = value;
        scan.expiry = 0;
        scan.path = 0;
        scan.mode = ATTRIBUTE;
    } else {
        scan.mode = VALUE;
        scan.fold = 0;
    }
}

/// Takes in one attribute of the service's cookie.
#[inline(always)]
pub(super) fn attribute(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = ids::trim(buffer, scan.item, end);
    if end - start >= 6 && keep(word_at(buffer, start), 5) | splat(0x20) == u64::from_le_bytes(*b"path=   ") {
        // Length and last bytes: enough to tell the paths of one application's cookies apart.
        let len = end - start - 5;
        let bytes = if len < 8 { keep(word_at(buffer, start + 5), len) } else { word_at(buffer, end - 8) };
        scan.path = bytes ^ u64::from(len) << 56;
    }
    if end - start < 9 {
        return;
    }
    let name = word_at(buffer, start) | splat(0x20);
    if name == u64::from_le_bytes(*b"max-age=") {
        // Zero, or negative: other numbers begin with another digit.
        let dead = matches!(byte_at(buffer, start + 8), b'0' | b'-');
        scan.expiry |= if dead { DEAD } else { LIVES };
    } else if name == u64::from_le_bytes(*b"expires=") && end - start >= 24 {
        // `Thu, 01 Jan 1970` and `Thu, 01-Jan-1970` have the year in the same place.
        let year = keep(word_at(buffer, start + 20), 4);
        scan.expiry |= if year == u64::from_le_bytes(*b"1970\0\0\0\0") { EXPIRED } else { 0 };
    }
}

/// Takes in the service's cookie as a whole, when its line ends. Of several the last one counts, as in a browser, which
/// takes them in one by one: an id that is deleted behind its issue is not issued, and the reverse. But a deletion with
/// another path deletes another cookie; that is how applications clear up after a move.
#[inline(always)]
pub(super) fn settle(scan: &mut Scan) {
    let lives = scan.expiry & LIVES != 0;
    let dead = scan.expiry & DEAD != 0 || (scan.expiry & EXPIRED != 0 && !lives) || scan.pending.len == 0;
    if !dead {
        scan.head.deletes = 0;
        // An id too long to be looked up is none that could be bound.
        scan.head.set_id = ids::usable(scan.pending);
        scan.set_path = scan.path;
    } else if scan.head.set_id.len == 0 || scan.path == scan.set_path {
        scan.head.deletes = 1;
        scan.head.set_id = Span::NONE;
    }
    scan.pending = Span::NONE;
}
