//! A request's line: method, target and version (RFC 9112, section 3).

use super::Scanned::*;
use super::lines::{BLANKS, METHOD, NAME, PARAMETER, QUERY, SEMICOLONS, TARGET};
use super::swar::{byte_at, keep, splat, word_at};
use super::{HTTP_10, METHOD_CONNECT, METHOD_HEAD, METHOD_SAFE, Scan, Span, ids};
use crate::layout::{Buffer, SessionRule};

/// Folds `;`, `/`, `?` and, unasked, `+`, `k`, `o` and `{` into what stops a search.
const VALUE_ENDS: u64 = splat(0x54);

/// Sets the scan to the first byte of a request. An empty line before it, which RFC 9112 section 2.2 lets a server
/// ignore, is a bad request line to us: where a request begins is for the framing alone to say.
#[inline(always)]
pub(super) fn begin(scan: &mut Scan) {
    scan.mode = METHOD;
}

/// Takes in the method, which ends at `space`, and begins the target.
#[inline(always)]
pub(super) fn method(scan: &mut Scan, buffer: &Buffer, space: u32) {
    let word = word_at(buffer, 0);
    if keep(word, 5) == u64::from_le_bytes(*b"HEAD \0\0\0") {
        scan.head.flags |= METHOD_HEAD | METHOD_SAFE;
    } else if keep(word, 4) == u64::from_le_bytes(*b"GET \0\0\0\0") || word == u64::from_le_bytes(*b"OPTIONS ") {
        scan.head.flags |= METHOD_SAFE;
    } else if word == u64::from_le_bytes(*b"CONNECT ") {
        scan.head.flags |= METHOD_CONNECT;
    }
    scan.item = space + 1;
    scan.cursor = space + 1;
    scan.head.target.pos = space + 1;
    part(scan, TARGET, SEMICOLONS);
}

#[inline(always)]
fn part(scan: &mut Scan, mode: u32, fold: u64) {
    scan.mode = mode;
    scan.floor = BLANKS;
    scan.fold = fold;
}

/// Acts on the byte of the target at `pos`, which stopped the search.
#[inline(always)]
pub(super) fn target(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule, pos: u32, byte: u8) -> bool {
    scan.cursor = pos + 1;
    if scan.mode == PARAMETER && matches!(byte, b' ' | b';' | b'/' | b'?') {
        // Of several the last wins (C23), also if it is nothing that could be looked up.
        scan.head.path_id = ids::usable(Span::between(scan.item, pos));
        part(scan, TARGET, SEMICOLONS);
    }
    match byte {
        b' ' => {
            if scan.mode == QUERY {
                scan.head.query = Span::between(scan.head.query.pos, pos);
            }
            version(scan, buffer, pos)
        }
        b'?' if scan.mode == TARGET => {
            scan.head.query = Span { pos: pos + 1, len: 0 };
            // What follows is no path (C24), and may have as many question marks as it likes.
            part(scan, QUERY, 0);
            true
        }
        b';' if scan.mode == TARGET => {
            let value = pos + 1 + rule.parameter.len + 1;
            if ids::name_at(buffer, &rule.parameter, pos + 1) && byte_at(buffer, value - 1) == b'=' {
                scan.item = value;
                scan.cursor = value;
                part(scan, PARAMETER, VALUE_ENDS);
            }
            true
        }
        0x21..=0x7e => true,
        b'\n' => scan.stop(BareLf),
        0 => scan.stop(Nul),
        _ => scan.stop(BadRequestLine),
    }
}

/// Takes in the version, which follows the `space`, and the line's end.
#[inline(always)]
fn version(scan: &mut Scan, buffer: &Buffer, space: u32) -> bool {
    let line = space + 11;
    if line > scan.end {
        return scan.starve();
    }
    let word = word_at(buffer, space + 1);
    let http = |version: &[u8; 8]| word == u64::from_le_bytes(*version);
    if http(b"HTTP/1.0") {
        scan.head.flags |= HTTP_10;
    } else if !http(b"HTTP/1.1") {
        let preface = http(b"HTTP/2.0") && word_at(buffer, 0) == u64::from_le_bytes(*b"PRI * HT");
        return scan.stop(if preface { Preface } else { BadRequestLine });
    }
    // `item` is the target's first byte here or lies behind it: an empty target has nothing before the space.
    let empty = byte_at(buffer, space.wrapping_sub(1)) == b' ';
    if empty || keep(word_at(buffer, space + 9), 2) != u64::from(u16::from_le_bytes(*b"\r\n")) {
        return scan.stop(BadRequestLine);
    }
    scan.head.target.len = space - scan.head.target.pos;
    scan.cursor = line;
    scan.line = line;
    scan.mode = NAME;
    true
}
