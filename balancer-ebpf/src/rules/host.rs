//! Hosts: the one that a request is for, if that is certain, and whether it is the one that a rule means.

use super::{AMBIGUOUS, Holds, PLAIN, Scratch, UNREAD, has_path, is_asterisk};
use crate::host::{Cpu, Step};
use crate::http::{Head, ahead, byte_at, equal, first, keep, leading_blanks, odd, splat, word_at};
use crate::layout::{Buffer, CONDITION_BELOW, Condition, MAX_TEXT, Text};

/// Bytes of a name at most (RFC 1035, section 2.3.4), and a dot.
const LONGEST: u32 = 254;
/// Turns of eight bytes each.
const TURNS: u32 = LONGEST / 8 + 1;
/// The port of a request that does not name one: whoever speaks HTTP and leaves it out means this one (RFC 9110, section 4.2.1).
const DEFAULT_PORT: u32 = 80;

struct Name<'a> {
    buffer: &'a Buffer,
    scratch: &'a Scratch,
}

struct Turn<C>(core::marker::PhantomData<C>);
impl<C: Cpu> Step<Name<'_>> for Turn<C> {
    #[inline(always)]
    fn step(name: &mut Name<'_>) -> bool {
        let Name { buffer, scratch } = name;
        let at = C::load(&scratch.at) as u32;
        let word = word_at(buffer, at);
        let literal = C::load(&scratch.mode) != 0;
        let ends = if literal { equal(word, b']') } else { odd(word) & !plain(word) };
        // Two dots have an empty name between them. In brackets, no more than what an address is written with.
        let bad = if literal {
            odd(word) & !plain(word) & !equal(word, b':') & !equal(word, b']')
        } else {
            equal(word, b'.') & equal(word_at(buffer, at + 1), b'.')
        };
        if bad & ahead(ends) != 0 {
            return false;
        }
        if ends != 0 {
            C::store(&scratch.end, u64::from(at + first(ends)));
            return false;
        }
        C::store(&scratch.at, u64::from(at + 8));
        true
    }
}

/// What names have besides letters and dashes: digits, dots and underscores.
#[inline(always)]
fn plain(word: u64) -> u64 {
    let ascii = word & splat(0x7f);
    let digits = (ascii + splat(0x80 - b'0')) & !(ascii + splat(0x7f - b'9')) & !word;
    digits & splat(0x80) | equal(word, b'.') | equal(word, b'_')
}

/// The port that begins at `pos` and ends the field; 0 if it is none.
#[inline(always)]
fn port(buffer: &Buffer, pos: u32) -> u32 {
    let word = word_at(buffer, pos);
    let mut port = 0;
    let mut len = 0;
    for at in 0..5 {
        let byte = (word >> (at * 8)) as u8;
        if len != at || !byte.is_ascii_digit() {
            break;
        }
        port = port * 10 + u32::from(byte - b'0');
        len = at + 1;
    }
    let zero = len > 0 && word as u8 == b'0';
    if zero || port > 65_535 || !ended(buffer, pos + len) {
        return 0;
    }
    // A colon without a port behind it says as much as none (RFC 3986, section 3.2.3).
    if len == 0 { DEFAULT_PORT } else { port }
}

/// Whether nothing but blanks follows in the field.
#[inline(always)]
fn ended(buffer: &Buffer, pos: u32) -> bool {
    byte_at(buffer, pos + leading_blanks(word_at(buffer, pos))) == b'\r'
}

/// Reads the host, if nobody has; whether it is certain.
#[inline(always)]
fn known<C: Cpu>(buffer: &Buffer, head: &Head, scratch: &Scratch) -> bool {
    if C::load(&scratch.host) == UNREAD {
        let certain = read::<C>(buffer, head, scratch);
        C::store(&scratch.host, if certain { PLAIN } else { AMBIGUOUS });
    }
    C::load(&scratch.host) == PLAIN
}

#[inline(always)]
fn read<C: Cpu>(buffer: &Buffer, head: &Head, scratch: &Scratch) -> bool {
    // A target with a host of its own counts more than the field (RFC 9112, section 3.2.2), but not for everybody.
    if head.hosts != 1 || !(has_path(buffer, head) || is_asterisk(buffer, head)) {
        return false;
    }
    let start = head.host + leading_blanks(word_at(buffer, head.host));
    let literal = byte_at(buffer, start) == b'[';
    scratch.search::<C>(start + u32::from(literal));
    C::store(&scratch.mode, u64::from(literal));
    C::repeat::<_, Turn<C>>(&mut Name { buffer, scratch }, TURNS);
    let end = C::load(&scratch.end) as u32;
    if end == 0 {
        return false;
    }
    let behind = end + u32::from(literal);
    let colon = byte_at(buffer, behind) == b':';
    let port = if colon { port(buffer, behind + 1) } else { DEFAULT_PORT };
    if port == 0 || !colon && !ended(buffer, behind) {
        return false;
    }
    // The dot of the root is no part of the name.
    let dot = u32::from(!literal && end != start && byte_at(buffer, end.wrapping_sub(1)) == b'.');
    let len = behind - start - dot;
    C::store(&scratch.host_start, u64::from(start));
    C::store(&scratch.host_len, u64::from(len));
    C::store(&scratch.host_port, u64::from(port));
    len != 0 && len < LONGEST && byte_at(buffer, start) != b'.'
}

/// Whether the bytes from `pos` on are `text`, whatever their case. What a host has in it stays apart when its case is folded so.
#[inline(always)]
fn folded_at(buffer: &Buffer, text: &Text, pos: u32) -> bool {
    let mut index = 0;
    while index < MAX_TEXT {
        let done = index as u32;
        if done >= text.len {
            break;
        }
        let left = text.len - done;
        let word = keep(word_at(buffer, pos + done) | splat(0x20), left);
        if word != keep(text.words[index / 8] | splat(0x20), left) {
            return false;
        }
        index += 8;
    }
    true
}

/// Whether the request is for the condition's host.
#[inline(always)]
pub(super) fn holds<C: Cpu>(condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    if !known::<C>(buffer, head, scratch) {
        return Holds::Ambiguous;
    }
    let start = C::load(&scratch.host_start) as u32;
    let len = C::load(&scratch.host_len) as u32;
    let text = &condition.text;
    if condition.port != 0 && C::load(&scratch.host_port) as u32 != condition.port {
        return Holds::No;
    }
    if condition.flags & CONDITION_BELOW == 0 {
        return Holds::of(len == text.len && folded_at(buffer, text, start));
    }
    if len < text.len + 2 {
        return Holds::No;
    }
    let tail = start + len - text.len;
    Holds::of(byte_at(buffer, tail - 1) == b'.' && folded_at(buffer, text, tail))
}
