//! What has to be searched for in a head: fields, parameters of the query, and texts.

use super::{Holds, STRIDE, Scratch, has_path, is_asterisk, is_text, next, path, text_at};
use crate::host::{Cpu, Step};
use crate::http::{Head, Span, byte_at, equal, lower_name_at, name_at, trim};
use crate::layout::{Buffer, CONDITION_EQUALS, Condition};

/// Turns of a search at most: more than a head of the greatest length has lines. What has not ended by then is nobody's.
const TURNS: u32 = 2048;

/// Where a search works.
struct Place<'a> {
    buffer: &'a Buffer,
    condition: &'a Condition,
    /// The first byte that is none of it.
    end: u32,
    scratch: &'a Scratch,
}

/// At the beginning of a line, or of a piece of the query.
const FRESH: u64 = 0;
/// In one that is another's.
const OTHER: u64 = 1;
/// In the value of the one that is searched for.
const MINE: u64 = 2;
/// In the name of another piece of the query.
const NAME: u64 = 3;

/// The end of the search was reached, or what it found can be told apart no more.
const ENDED: u64 = u64::MAX;
const UNCERTAIN: u64 = u64::MAX - 1;

struct Line<C>(core::marker::PhantomData<C>);
impl<C: Cpu> Step<Place<'_>> for Line<C> {
    #[inline(always)]
    fn step(place: &mut Place<'_>) -> bool {
        let Place { buffer, condition, end, scratch } = place;
        let at = C::load(&scratch.at) as u32;
        if at >= *end {
            C::store(&scratch.mode, ENDED);
            return false;
        }
        let name = &condition.name;
        if C::load(&scratch.mode) == FRESH {
            let mine = lower_name_at(buffer, name, at) && byte_at(buffer, at + name.len) == b':';
            C::store(&scratch.mode, if mine { MINE } else { OTHER });
            if mine {
                C::store(&scratch.value, u64::from(at + name.len + 1));
                C::store(&scratch.found, C::load(&scratch.found) + 1);
            }
        }
        let Some(pos) = next(buffer, at, |word| equal(word, b'\r')) else {
            C::store(&scratch.at, u64::from(at + STRIDE));
            return true;
        };
        if C::load(&scratch.mode) == MINE {
            C::store(&scratch.end, u64::from(pos));
        }
        C::store(&scratch.mode, FRESH);
        C::store(&scratch.at, u64::from(pos + 2));
        true
    }
}

/// What a search that is over tells without a look at a value; `None` if it is the one value found that decides. Of several, which one
/// would count?
#[inline(always)]
fn told<C: Cpu>(condition: &Condition, scratch: &Scratch) -> Option<Holds> {
    if C::load(&scratch.mode) != ENDED {
        return Some(Holds::Ambiguous);
    }
    match C::load(&scratch.found) {
        0 => Some(Holds::No),
        _ if condition.flags & CONDITION_EQUALS == 0 => Some(Holds::Yes),
        1 => None,
        _ => Some(Holds::Ambiguous),
    }
}

/// Whether there is a field of the condition's name, and has its value.
#[inline(always)]
pub(super) fn header<C: Cpu>(condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    // Behind the target come a blank, the version and the line's end.
    scratch.search::<C>(head.target.pos + head.target.len + 11);
    let mut place = Place { buffer, condition, end: head.len, scratch };
    C::repeat::<_, Line<C>>(&mut place, TURNS);
    if let Some(holds) = told::<C>(condition, scratch) {
        return holds;
    }
    let (start, end) = trim(buffer, C::load(&scratch.value) as u32, C::load(&scratch.end) as u32);
    let blank = |at: u32| matches!(byte_at(buffer, at), b' ' | b'\t');
    if start < end && (blank(start) || blank(end - 1)) {
        // More blanks around it than are taken away.
        return Holds::Ambiguous;
    }
    Holds::of(is_text(buffer, &condition.text, Span { pos: start, len: end.wrapping_sub(start) }))
}

/// The bytes that have a meaning in a query.
#[inline(always)]
fn structural(word: u64) -> u64 {
    equal(word, b'&') | equal(word, b'=') | equal(word, b'%') | equal(word, b'+') | equal(word, b'#')
}

struct Piece<C>(core::marker::PhantomData<C>);
impl<C: Cpu> Step<Place<'_>> for Piece<C> {
    #[inline(always)]
    fn step(place: &mut Place<'_>) -> bool {
        let Place { buffer, condition, end, scratch } = place;
        let at = C::load(&scratch.at) as u32;
        if at >= *end {
            if C::load(&scratch.mode) == MINE {
                C::store(&scratch.end, u64::from(*end));
            }
            C::store(&scratch.mode, ENDED);
            return false;
        }
        let name = &condition.name;
        if C::load(&scratch.mode) == FRESH {
            let behind = at + name.len;
            let ends = behind == *end || behind < *end && matches!(byte_at(buffer, behind), b'=' | b'&');
            let mine = ends && name_at(buffer, name, at);
            C::store(&scratch.mode, if mine { MINE } else { NAME });
            if mine {
                C::store(&scratch.found, C::load(&scratch.found) + 1);
                C::store(&scratch.value, u64::from(behind + 1));
                C::store(&scratch.at, u64::from(behind));
                return true;
            }
        }
        let mode = C::load(&scratch.mode);
        let Some(pos) = next(buffer, at, structural) else {
            C::store(&scratch.at, u64::from(at + STRIDE));
            return true;
        };
        C::store(&scratch.at, u64::from(pos + 1));
        if pos >= *end {
            C::store(&scratch.at, u64::from(*end));
            return true;
        }
        match byte_at(buffer, pos) {
            b'&' => {
                if mode == MINE {
                    C::store(&scratch.end, u64::from(pos));
                }
                C::store(&scratch.mode, FRESH);
            }
            b'=' if mode == NAME => C::store(&scratch.mode, OTHER),
            b'=' => {}
            // Some servers cut off what follows, and others take it for a part of the query.
            b'#' => {
                C::store(&scratch.mode, UNCERTAIN);
                return false;
            }
            // A name that is escaped may be the one that is searched for, and a value that is, the one that it should have.
            _ if mode == NAME || mode == MINE && condition.flags & CONDITION_EQUALS != 0 => {
                C::store(&scratch.mode, UNCERTAIN);
                return false;
            }
            _ => {}
        }
        true
    }
}

/// Whether there is a parameter of the condition's name in the query, and has its value.
#[inline(always)]
pub(super) fn query<C: Cpu>(condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    if !has_path(buffer, head) {
        return if is_asterisk(buffer, head) { Holds::No } else { Holds::Ambiguous };
    }
    scratch.search::<C>(head.query.pos);
    let mut place = Place { buffer, condition, end: head.query.pos + head.query.len, scratch };
    C::repeat::<_, Piece<C>>(&mut place, TURNS);
    if let Some(holds) = told::<C>(condition, scratch) {
        return holds;
    }
    let (start, end) = (C::load(&scratch.value) as u32, C::load(&scratch.end) as u32);
    // A name alone has the value that an empty one is.
    let len = end.saturating_sub(start);
    Holds::of(is_text(buffer, &condition.text, Span { pos: start, len }))
}

struct Spot<C>(core::marker::PhantomData<C>);
impl<C: Cpu> Step<Place<'_>> for Spot<C> {
    #[inline(always)]
    fn step(place: &mut Place<'_>) -> bool {
        let Place { buffer, condition, end, scratch } = place;
        let at = C::load(&scratch.at) as u32;
        if at >= *end {
            C::store(&scratch.mode, ENDED);
            return false;
        }
        let text = &condition.text;
        let initial = text.words[0] as u8;
        let Some(pos) = next(buffer, at, |word| equal(word, initial) | equal(word, b'%')) else {
            C::store(&scratch.at, u64::from(at + STRIDE));
            return true;
        };
        C::store(&scratch.at, u64::from(pos + 1));
        if pos >= *end {
            return true;
        }
        if byte_at(buffer, pos) == b'%' {
            C::store(&scratch.mode, UNCERTAIN);
            return false;
        }
        if pos + text.len <= *end && text_at(buffer, text, pos) {
            C::store(&scratch.found, 1);
        }
        true
    }
}

/// Whether the target has `text` in it. All of it is looked at, so an escape anywhere makes that uncertain.
#[inline(always)]
pub(super) fn contains<C: Cpu>(condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    let plain = path::is_plain::<C>(buffer, head, scratch);
    if plain as u32 != Holds::Yes as u32 {
        return plain;
    }
    scratch.search::<C>(head.target.pos);
    let mut place = Place { buffer, condition, end: head.target.pos + head.target.len, scratch };
    C::repeat::<_, Spot<C>>(&mut place, TURNS);
    if C::load(&scratch.mode) != ENDED {
        return Holds::Ambiguous;
    }
    Holds::of(C::load(&scratch.found) != 0)
}
