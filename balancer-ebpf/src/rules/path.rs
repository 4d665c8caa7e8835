//! Paths: whether one can be taken for what it seems, and whether it lies below another.

use super::{ABSENT, AMBIGUOUS, Holds, PLAIN, STRIDE, Scratch, UNREAD, has_path, is_asterisk, next};
use crate::host::{Cpu, Step};
use crate::http::{Head, ahead, byte_at, equal, keep, word_at};
use crate::layout::{Buffer, MAX_TEXT, Text};

/// Turns of the look at a path at most. A path of more segments, parameters and escapes is nobody's.
const TURNS: u32 = 1024;
/// A path parameter was seen: no segment may follow.
const PARAMETERS: u64 = 1;

struct Look<'a> {
    buffer: &'a Buffer,
    end: u32,
    scratch: &'a Scratch,
}

struct Turn<C>(core::marker::PhantomData<C>);
impl<C: Cpu> Step<Look<'_>> for Turn<C> {
    #[inline(always)]
    fn step(look: &mut Look<'_>) -> bool {
        let Look { buffer, end, scratch } = look;
        let at = C::load(&scratch.at) as u32;
        if at >= *end {
            C::store(&scratch.path, PLAIN);
            return false;
        }
        let Some(pos) = next(buffer, at, structural) else {
            C::store(&scratch.at, u64::from(at + STRIDE));
            return true;
        };
        C::store(&scratch.at, u64::from(pos + 1));
        // Behind the end other rules hold. The next turn sees that it is reached.
        if pos >= *end {
            return true;
        }
        let word = word_at(buffer, pos);
        match word as u8 {
            b'/' => C::load(&scratch.mode) & PARAMETERS == 0 && segment(word >> 8),
            b';' => {
                C::store(&scratch.mode, PARAMETERS);
                true
            }
            b'%' => pos + 2 < *end && escape(word >> 8),
            // Some servers take a backslash for a slash, and cut off what follows a `#`.
            _ => false,
        }
    }
}

/// The bytes that have a meaning in a path.
#[inline(always)]
fn structural(word: u64) -> u64 {
    equal(word, b'/') | equal(word, b';') | equal(word, b'%') | equal(word, b'\\') | equal(word, b'#')
}

/// Whether a segment that begins with these bytes is one for everybody: not empty, unless it is the last one, and neither `.` nor
/// `..`, also with parameters behind it.
#[inline(always)]
fn segment(word: u64) -> bool {
    let byte = |at: u32| (word >> (at * 8)) as u8;
    let ends = |byte: u8| matches!(byte, b'/' | b';' | b'?' | b' ');
    let dot = byte(0) == b'.' && ends(byte(1));
    let dots = byte(0) == b'.' && byte(1) == b'.' && ends(byte(2));
    byte(0) != b'/' && !dot && !dots
}

/// Whether an escape, whose digits these bytes begin with, is of a byte that is no more than a letter of a name: not of one that
/// has a meaning in a path, nor of a control character, nor the beginning of a longer form of one (RFC 3629, section 3).
#[inline(always)]
fn escape(word: u64) -> bool {
    let byte = |at: u32| (word >> (at * 8)) as u8;
    let (high, low) = (digit(byte(0)), digit(byte(1)));
    if high > 15 || low > 15 {
        return false;
    }
    let value = (high << 4 | low) as u8;
    // Of the next escape, its first digit.
    let next = if byte(2) == b'%' { digit(byte(3)) } else { 16 };
    match value {
        0..=0x1f | 0x7f | b'.' | b'/' | b'\\' | b';' | b'%' | b'?' | b'#' => false,
        0xc0 | 0xc1 | 0xf5..=0xff => false,
        0xe0 => next == 0xa || next == 0xb,
        0xf0 => next == 9 || next == 0xa || next == 0xb,
        _ => true,
    }
}

/// A hexadecimal digit's number, or more than 15.
#[inline(always)]
fn digit(byte: u8) -> u32 {
    let lower = byte | 0x20;
    match byte {
        b'0'..=b'9' => u32::from(byte - b'0'),
        _ if (b'a'..=b'f').contains(&lower) => u32::from(lower - b'a') + 10,
        _ => 16,
    }
}

/// What is known of the path, which is read now if nobody has.
#[inline(always)]
fn known<C: Cpu>(buffer: &Buffer, head: &Head, scratch: &Scratch) -> u64 {
    if C::load(&scratch.path) == UNREAD {
        let end = if head.query.pos != 0 { head.query.pos - 1 } else { head.target.pos + head.target.len };
        if has_path(buffer, head) {
            // Unless a turn says otherwise.
            C::store(&scratch.path, AMBIGUOUS);
            scratch.search::<C>(head.target.pos);
            C::repeat::<_, Turn<C>>(&mut Look { buffer, end, scratch }, TURNS);
        } else {
            C::store(&scratch.path, if is_asterisk(buffer, head) { ABSENT } else { AMBIGUOUS });
        }
    }
    C::load(&scratch.path)
}

/// How far the target is `text`.
#[inline(always)]
fn prefix(text: &Text, buffer: &Buffer, pos: u32) -> Holds {
    let mut index = 0;
    while index < MAX_TEXT {
        let done = index as u32;
        if done >= text.len {
            break;
        }
        let word = keep(word_at(buffer, pos + done), text.len - done);
        let differs = word ^ text.words[index / 8];
        if differs != 0 {
            // An escape is no byte of the text's; if it is the first one that is none, it may stand for one that is.
            let escapes = equal(word, b'%');
            return if escapes != 0 && differs & ahead(escapes) == 0 { Holds::Ambiguous } else { Holds::No };
        }
        index += 8;
    }
    Holds::Yes
}

/// Whether there is a path that everybody reads in the same way.
#[inline(always)]
pub(super) fn is_plain<C: Cpu>(buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    match known::<C>(buffer, head, scratch) {
        PLAIN => Holds::Yes,
        ABSENT => Holds::No,
        _ => Holds::Ambiguous,
    }
}

/// Whether the path is `text`, or lies below it.
#[inline(always)]
pub(super) fn below<C: Cpu>(text: &Text, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    let plain = is_plain::<C>(buffer, head, scratch);
    if plain as u32 != Holds::Yes as u32 {
        return plain;
    }
    let pos = head.target.pos;
    let holds = prefix(text, buffer, pos);
    if holds as u32 != Holds::Yes as u32 {
        return holds;
    }
    let next = byte_at(buffer, pos + text.len);
    // Below the root lies everything.
    Holds::of(text.len == 1 || matches!(next, b'/' | b';' | b'?' | b' '))
}

/// Whether the target begins with `text`, in the middle of a segment or not.
#[inline(always)]
pub(super) fn begins<C: Cpu>(text: &Text, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    let plain = is_plain::<C>(buffer, head, scratch);
    if plain as u32 == Holds::Yes as u32 { prefix(text, buffer, head.target.pos) } else { plain }
}
