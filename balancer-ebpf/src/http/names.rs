//! Field names: where they end, whether they are tokens, and which of them matter.

use super::Scanned::*;
use super::lines::*;
use super::swar::{before, byte_at, first, is_token, odd, splat, word, word_at};
use super::{Scan, UPGRADE_FIELD, authentication, ids, length, request};
use crate::layout::{Buffer, SessionRule};

/// The words that a turn looks at, at most: longer names are rare.
const NAME_WORDS: usize = 5;

/// Searches for what ends a name or a method; whether its value follows now.
#[inline(always)]
pub(super) fn name(walk: &mut Walk<'_>) -> bool {
    let (scan, buffer) = (&mut *walk.scan, walk.buffer);
    let cursor = scan.cursor;
    let start = cursor & !7;
    let mut marks = odd(word(buffer, cursor, 0)) & !before(cursor);
    let mut at = start;
    for index in 1..NAME_WORDS {
        if marks != 0 {
            break;
        }
        at += 8;
        marks = odd(word(buffer, cursor, index));
    }
    let pos = at + first(marks);
    if marks == 0 || pos >= scan.end {
        scan.cursor = at + 8;
        return scan.cursor >= scan.end && scan.starve();
    }
    let byte = byte_at(buffer, pos);
    let end = if scan.mode == NAME { b':' } else { b' ' };
    if byte == end && pos != scan.line {
        if scan.mode == NAME {
            field(scan, buffer, walk.rule, pos);
        } else {
            request::method(scan, buffer, pos);
        }
        return true;
    }
    if is_token(byte) {
        scan.cursor = pos + 1;
        return false;
    }
    odd_name(scan, buffer, pos, byte)
}

/// What else may stand where a name is expected: the blank line at the head's end, or a reason. False.
#[inline(always)]
fn odd_name(scan: &mut Scan, buffer: &Buffer, pos: u32, byte: u8) -> bool {
    if scan.mode == METHOD {
        // The first byte of a TLS record, or of any other binary protocol, is none that a request line could have.
        let binary = pos == 0 && byte != b'\r' && byte != b'\n' && !(0x20..0x7f).contains(&byte);
        return scan.stop(if binary { NotHttp } else { BadRequestLine });
    }
    match byte {
        b'\r' if pos + 1 >= scan.end => scan.starve(),
        b'\r' if byte_at(buffer, pos + 1) != b'\n' => scan.stop(BareCr),
        b'\r' if pos == scan.line => length::finish(scan, pos + 2),
        b'\n' => scan.stop(BareLf),
        0 => scan.stop(Nul),
        b' ' | b'\t' if pos == scan.line => scan.stop(ObsFold),
        _ => scan.stop(BadHeaderName),
    }
}

/// Begins the value of the field whose name ends at `colon`.
#[inline(always)]
fn field(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule, colon: u32) {
    let len = colon - scan.line;
    let mut mode = VALUE;
    // Most names are told from ours by their length alone.
    const LENGTHS: u32 = 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 13 | 1 << 14 | 1 << 16 | 1 << 17 | 1 << 18 | 1 << 19;
    if len < 32 && (LENGTHS >> len) & 1 != 0 {
        // Folding the case of a token this way makes no other token of it a letter.
        let head = word_at(buffer, scan.line) | splat(0x20);
        let tail = word_at(buffer, colon - 8) | splat(0x20);
        let short = head & 0xffff_ffff_ffff;
        let of = |text: &[u8; 8]| u64::from_le_bytes(*text);
        if len == 4 && head << 32 == of(b"\0\0\0\0host") && scan.response == 0 {
            // Its value is for the rules to read, where there are any.
            scan.head.host = colon + 1;
            scan.head.hosts += 1;
        } else if len == 6 && short == of(b"cookie\0\0") && scan.response == 0 {
            mode = COOKIE;
        } else if len == 6 && short == of(b"expect\0\0") && scan.response == 0 {
            mode = EXPECT;
        } else if len == 7 && head << 8 == of(b"\0upgrade") && scan.response == 0 {
            scan.head.flags |= UPGRADE_FIELD;
        } else if len == 10 && head == of(b"connecti") && tail == of(b"nnection") {
            mode = OPTIONS;
        } else if len == 10 && head == of(b"set-cook") && tail == of(b"t-cookie") && scan.response != 0 {
            mode = SET_COOKIE;
        } else if len == 14 && head == of(b"content-") && tail == of(b"t-length") {
            mode = LENGTH;
        } else if len == 17
            && head == of(b"transfer")
            && tail == of(b"encoding")
            && byte_at(buffer, scan.line + 8) == b'-'
        {
            mode = CODING;
        } else if authenticates(scan.response, len, head, tail) {
            mode = authentication::field(scan, buffer, colon + 1);
        }
    }
    let pin = &rule.pin_header;
    if pin.len != 0 && pin.len == len && scan.response == 0 && ids::lower_name_at(buffer, pin, scan.line) {
        mode = PIN;
    }
    let start = colon + 1;
    scan.mode = mode;
    scan.floor = if mode == OPTIONS || mode == CHALLENGES { COMMAS } else { CONTROLS };
    scan.fold = if mode == COOKIE || mode == SET_COOKIE { SEMICOLONS } else { 0 };
    scan.item = start;
    // The one blank that everybody writes is passed over here, since it would stop the search in a list.
    scan.cursor = start + (byte_at(buffer, start) == b' ') as u32;
}

/// Whether a field, by the first and the last eight letters of its name, has a request's credentials or a response's
/// challenges. The few letters between those of a proxy's are not looked at: no other field has the rest.
#[inline(always)]
fn authenticates(response: u32, len: u32, head: u64, tail: u64) -> bool {
    let of = |text: &[u8; 8]| u64::from_le_bytes(*text);
    let proxy = head == of(b"proxy-au");
    if response != 0 {
        tail == of(b"enticate") && (len == 16 && head == of(b"www-auth") || len == 18 && proxy)
    } else {
        tail == of(b"rization") && (len == 13 && head == of(b"authoriz") || len == 19 && proxy)
    }
}
