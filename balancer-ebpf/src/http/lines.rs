//! The walk over a head: a turn is a line, or a part of one where something in it needs a look.
//!
//! A line has two phases. In its *name* everything but letters and dashes stops the search; in its *value* what stops it
//! depends on the field: control characters always, `;` in cookies, `,` in lists. So an ordinary line costs one turn,
//! and nothing is looked at twice.

use super::Scanned::*;
use super::names::name;
use super::swar::{before, byte_at, first, splat, stops, word};
use super::{RUNNING, Scan, authentication, ids, length, request, response};
use crate::host::Step;
use crate::layout::{Buffer, SessionRule};

/// A value that says nothing to us.
pub(super) const VALUE: u32 = 0;
/// A Cookie field: items behind `;`.
pub(super) const COOKIE: u32 = 1;
/// The first item of a Set-Cookie field: name and value.
pub(super) const SET_COOKIE: u32 = 2;
/// The other items of a Set-Cookie field of the service's cookie.
pub(super) const ATTRIBUTE: u32 = 3;
/// A Connection field: items behind `,`.
pub(super) const OPTIONS: u32 = 4;
/// A Content-Length field.
pub(super) const LENGTH: u32 = 5;
/// A Transfer-Encoding field.
pub(super) const CODING: u32 = 6;
/// An Expect field.
pub(super) const EXPECT: u32 = 7;
/// A response's challenges to authenticate: items behind `,`.
pub(super) const CHALLENGES: u32 = 8;
/// The field that may carry a pin.
pub(super) const PIN: u32 = 9;
/// A request's target, up to its query.
pub(super) const TARGET: u32 = 10;
/// The value of the path parameter.
pub(super) const PARAMETER: u32 = 11;
/// A request's query.
pub(super) const QUERY: u32 = 12;
/// A request's method.
pub(super) const METHOD: u32 = 13;
/// A field's name.
pub(super) const NAME: u32 = 14;

/// What stops a search, for [`stops`]: control characters in every value.
pub(super) const CONTROLS: u64 = splat(0x20);
/// Everything up to the space, where a space ends something.
pub(super) const BLANKS: u64 = splat(0x21);
/// Everything up to the comma: in lists of tokens little else is below it.
pub(super) const COMMAS: u64 = splat(b',' + 1);
/// Folds `;` into what stops, and `?` and `{` with it.
pub(super) const SEMICOLONS: u64 = splat(0x44);

/// The words that a turn looks at, at most: long enough for most lines.
const VALUE_WORDS: usize = 16;

/// What a turn works with; small, because it lies on the stack.
pub(super) struct Walk<'a> {
    pub(super) scan: &'a mut Scan,
    pub(super) buffer: &'a Buffer,
    pub(super) rule: &'a SessionRule,
}

/// The turn.
pub(super) struct Line;

impl Step<Walk<'_>> for Line {
    #[inline(always)]
    fn step(walk: &mut Walk<'_>) -> bool {
        // What stopped the last search is looked at before this one begins, not when it is found. So it begins from
        // numbers that the verifier knows nothing of, and the paths of the two add up instead of multiplying.
        if walk.scan.stopped != 0 && !act(walk) {
            return false;
        }
        // A name that ends lets its value follow in the same turn.
        if walk.scan.mode >= METHOD && !name(walk) {
            return walk.scan.result == RUNNING;
        }
        value(walk)
    }
}

/// Searches for what stops in a value; whether another turn is wanted.
#[inline(always)]
fn value(walk: &mut Walk<'_>) -> bool {
    let (scan, buffer) = (&mut *walk.scan, walk.buffer);
    let (cursor, floor, fold) = (scan.cursor, scan.floor, scan.fold);
    let mut at = cursor & !7;
    // Marking the bytes before the cursor as not ASCII makes them stop nothing.
    let mut marks = stops(word(buffer, cursor, 0) | before(cursor), floor, fold);
    for index in 1..VALUE_WORDS {
        if marks != 0 {
            break;
        }
        at += 8;
        marks = stops(word(buffer, cursor, index), floor, fold);
    }
    if marks == 0 {
        scan.cursor = at + 8;
        return scan.cursor < scan.end || scan.starve();
    }
    let pos = at + first(marks);
    if pos >= scan.end {
        return scan.starve();
    }
    if scan.mode == VALUE && byte_at(buffer, pos) == b'\r' {
        return end_line(scan, buffer, pos);
    }
    scan.stop_at = pos;
    scan.stopped = 1;
    true
}

/// Acts on what stopped the search in a value; whether the walk goes on.
#[inline(always)]
fn act(walk: &mut Walk<'_>) -> bool {
    let (scan, buffer) = (&mut *walk.scan, walk.buffer);
    let pos = scan.stop_at;
    let byte = byte_at(buffer, pos);
    scan.stopped = 0;
    scan.cursor = pos + 1;
    if scan.mode >= TARGET {
        return request::target(scan, buffer, walk.rule, pos, byte);
    }
    let ends_line = byte == b'\r';
    if !ends_line && !separates(scan.mode, byte) {
        return match byte {
            b'\t' | 0x20..=0x7e => true,
            b'\n' => scan.stop(BareLf),
            0 => scan.stop(Nul),
            _ => scan.stop(Control),
        };
    }
    item(scan, buffer, walk.rule, pos);
    scan.item = pos + 1;
    if scan.result != RUNNING {
        return false;
    }
    if !ends_line {
        return true;
    }
    if scan.mode == ATTRIBUTE {
        response::settle(scan);
    }
    end_line(scan, buffer, pos)
}

/// Ends a line at the CR at `pos`; whether LF follows it.
#[inline(always)]
fn end_line(scan: &mut Scan, buffer: &Buffer, pos: u32) -> bool {
    if pos + 1 >= scan.end {
        return scan.starve();
    }
    if byte_at(buffer, pos + 1) != b'\n' {
        return scan.stop(BareCr);
    }
    scan.cursor = pos + 2;
    scan.line = pos + 2;
    scan.mode = NAME;
    true
}

#[inline(always)]
fn separates(mode: u32, byte: u8) -> bool {
    let cookies = mode == COOKIE || mode == SET_COOKIE || mode == ATTRIBUTE;
    (byte == b';' && cookies) || (byte == b',' && (mode == OPTIONS || mode == CHALLENGES))
}

/// Acts on the item or value that ends at `end`.
#[inline(always)]
fn item(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule, end: u32) {
    match scan.mode {
        COOKIE => ids::cookie(scan, buffer, rule, end),
        SET_COOKIE => response::set_cookie(scan, buffer, rule, end),
        ATTRIBUTE => response::attribute(scan, buffer, end),
        OPTIONS => length::connection_option(scan, buffer, end),
        LENGTH => length::content_length(scan, buffer, end),
        CODING => length::coding(scan, buffer, end),
        EXPECT => length::expect(scan, buffer, end),
        CHALLENGES => authentication::challenge(scan, buffer),
        PIN => ids::pin_header(scan, buffer, end),
        _ => {}
    }
}
