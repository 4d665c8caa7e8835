//! The fields that frame a message: Content-Length, Transfer-Encoding, Connection and Expect (RFC 9112, section 6).

use super::Scanned::*;
use super::ids::trim;
use super::swar::{byte_at, decimal, keep, splat, word_at};
use super::{
    HEAD_CHUNKED, HEAD_CLOSE, HEAD_EXPECT, HEAD_KEEP_ALIVE, HEAD_LENGTH, HEAD_UPGRADE, HTTP_10, Scan, UPGRADE_FIELD,
    UPGRADE_OPTION,
};
use crate::layout::Buffer;

/// The values that matter are compared as words, without their case.
const fn lower(text: &[u8; 8]) -> u64 {
    u64::from_le_bytes(*text)
}

#[inline(always)]
const fn blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// Takes in a Content-Length field. The same length twice is the same length (RFC 9110, section 8.6).
#[inline(always)]
pub(super) fn content_length(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = trim(buffer, scan.item, end);
    let digits = end - start;
    // Sixteen digits are two words, aligned at their ends; what lies before the digits counts as zeroes.
    let padded = |word: u64, digits: u32| {
        let zeroes = 8 - digits;
        let zero = splat(b'0');
        if digits == 0 { zero } else { (word & (u64::MAX << (zeroes * 8))) | keep(zero, zeroes) }
    };
    let low = if digits < 8 { digits } else { 8 };
    let high = digits.saturating_sub(8);
    if digits == 0 || high > 8 {
        scan.stop(BadLength);
        return;
    }
    let low = decimal(padded(word_at(buffer, end.wrapping_sub(8)), low));
    let high = decimal(padded(word_at(buffer, end.wrapping_sub(16)), high));
    let (Some(low), Some(high)) = (low, high) else {
        scan.stop(BadLength);
        return;
    };
    let length = high * 100_000_000 + low;
    if scan.head.flags & HEAD_LENGTH != 0 && scan.head.content_length != length {
        scan.stop(TwoLengths);
        return;
    }
    scan.head.flags |= HEAD_LENGTH;
    scan.head.content_length = length;
}

/// Takes in a Transfer-Encoding field, which has to be the only one.
#[inline(always)]
pub(super) fn coding(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = trim(buffer, scan.item, end);
    let text = keep(word_at(buffer, start) | splat(0x20), 7);
    if end - start != 7 || text != lower(b"chunked\0") || scan.head.flags & HEAD_CHUNKED != 0 {
        scan.stop(UnknownCoding);
        return;
    }
    scan.head.flags |= HEAD_CHUNKED;
}

/// Takes in one option of a Connection field.
#[inline(always)]
pub(super) fn connection_option(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = trim(buffer, scan.item, end);
    let text = word_at(buffer, start) | splat(0x20);
    let rest = keep(word_at(buffer, start + 8) | splat(0x20), 2);
    let len = end - start;
    if len == 5 && keep(text, 5) == lower(b"close\0\0\0") {
        scan.head.flags |= HEAD_CLOSE;
    } else if len == 10 && text == lower(b"keep-ali") && rest == lower(b"ve\0\0\0\0\0\0") {
        scan.head.flags |= HEAD_KEEP_ALIVE;
    } else if len == 7 && keep(text, 7) == lower(b"upgrade\0") {
        scan.head.flags |= UPGRADE_OPTION;
    } else if len != 0 && (blank(byte_at(buffer, start)) || blank(byte_at(buffer, end - 1))) {
        // `trim` gave up, and the option might be `close`.
        scan.stop(TooManyBlanks);
    }
}

/// Takes in an Expect field.
#[inline(always)]
pub(super) fn expect(scan: &mut Scan, buffer: &Buffer, end: u32) {
    let (start, end) = trim(buffer, scan.item, end);
    let text = word_at(buffer, start) | splat(0x20);
    let rest = keep(word_at(buffer, start + 8) | splat(0x20), 4);
    if end - start == 12 && text == lower(b"100-cont") && rest == lower(b"inue\0\0\0\0") {
        scan.head.flags |= HEAD_EXPECT;
    }
}

/// Ends the scan behind the blank line, at `end`.
#[inline(always)]
pub(super) fn finish(scan: &mut Scan, end: u32) -> bool {
    let flags = scan.head.flags;
    if flags & HEAD_CHUNKED != 0 {
        if flags & HEAD_LENGTH != 0 {
            return scan.stop(LengthAndCoding);
        }
        if flags & HTTP_10 != 0 {
            return scan.stop(CodingInOldVersion);
        }
    }
    // RFC 9112, section 9.3: HTTP/1.0 closes unless told otherwise, and `close` beats `keep-alive`.
    if flags & HTTP_10 != 0 && flags & HEAD_KEEP_ALIVE == 0 {
        scan.head.flags |= HEAD_CLOSE;
    }
    // An Upgrade field alone is one for whoever is next to us, which a proxy forgot to take away (RFC 9110, section 7.8).
    let halves = UPGRADE_FIELD | UPGRADE_OPTION;
    let upgrade = if flags & halves == halves { HEAD_UPGRADE } else { 0 };
    scan.head.flags = scan.head.flags & !halves | upgrade;
    scan.head.len = end;
    scan.stop(Complete)
}
