//! Which of a listener's services a request is for: the first rule whose conditions hold.
//!
//! What two servers might read differently is not guessed at: a condition that would have to look at such a thing makes the request
//! *ambiguous*, and then no rule matches it. Conditions are looked at one by one, so what nothing asks for is nobody's business: a
//! second Host field does not matter where paths alone decide.
//!
//! This tells applications apart. It is no access control: whoever can reach the listener can reach all of its services.

mod host;
mod path;
mod search;

use core::cell::Cell;

use crate::host::{Cpu, Machine, Maps, Step};
use crate::http::{Head, Span, byte_at, first, keep, word_at};
use crate::layout::{
    Address, Buffer, CONDITION_ANY, CONDITION_HEADER, CONDITION_HOST, CONDITION_PATH, CONDITION_QUERY,
    CONDITION_SOURCE, CONDITION_TARGET_CONTAINS, CONDITION_TARGET_PREFIX, Condition, MAX_CONDITIONS, MAX_TEXT, NONE,
    RuleSet, Text,
};

/// What a search works with, in a map value: what the verifier does not track, it does not follow either.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    /// The client's address.
    source: [Cell<u64>; 2],
    /// The condition that is looked at next, and whether one of its rule has not held.
    index: Cell<u64>,
    failed: Cell<u64>,
    /// The service that was found.
    service: Cell<u64>,
    /// What is known of the path and of the host: each is read once, if anything asks for it.
    path: Cell<u64>,
    host: Cell<u64>,
    host_start: Cell<u64>,
    host_len: Cell<u64>,
    host_port: Cell<u64>,
    /// Of the search at hand: where it is, in the middle of what, and what it has found.
    at: Cell<u64>,
    mode: Cell<u64>,
    found: Cell<u64>,
    value: Cell<u64>,
    end: Cell<u64>,
}

/// Bytes that a turn of a search looks at.
const STRIDE: u32 = 32;

/// Not read yet.
const UNREAD: u64 = 0;
/// Nobody could read it differently.
const PLAIN: u64 = 1;
/// Somebody could.
const AMBIGUOUS: u64 = 2;
/// There is none: the target is `*`.
const ABSENT: u64 = 3;

/// The first of the bytes from `at` on that `marks` marks, if there is one within a stride.
#[inline(always)]
fn next(buffer: &Buffer, at: u32, marks: impl Fn(u64) -> u64) -> Option<u32> {
    let mut done = 0;
    while done < STRIDE {
        let found = marks(word_at(buffer, at + done));
        if found != 0 {
            return Some(at + done + first(found));
        }
        done += 8;
    }
    None
}

impl Scratch {
    /// For the next request, of the client at `source`.
    #[inline(always)]
    pub fn begin<C: Cpu>(&self, source: &Address) {
        let [first, second] = source.pairs();
        C::store(&self.source[0], first);
        C::store(&self.source[1], second);
        C::store(&self.index, 0);
        C::store(&self.failed, 0);
        C::store(&self.service, u64::from(NONE));
        C::store(&self.path, UNREAD);
        C::store(&self.host, UNREAD);
    }

    /// The service of the rule that matches.
    #[inline(always)]
    pub fn service<C: Cpu>(&self) -> u32 {
        C::load(&self.service) as u32
    }

    /// How many conditions were looked at.
    #[inline(always)]
    pub fn looked_at<C: Cpu>(&self) -> u32 {
        C::load(&self.index) as u32
    }

    /// The search that comes next begins at `at`.
    #[inline(always)]
    fn search<C: Cpu>(&self, at: u32) {
        C::store(&self.at, u64::from(at));
        C::store(&self.mode, 0);
        C::store(&self.found, 0);
        C::store(&self.value, 0);
        C::store(&self.end, 0);
    }
}

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Holds {
    No,
    Yes,
    /// It depends on who reads the request.
    Ambiguous,
}

impl Holds {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::No,
            1 => Self::Yes,
            _ => Self::Ambiguous,
        }
    }

    #[inline(always)]
    const fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What the rules make of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Ruled {
    /// A rule leads to a service.
    Matched,
    /// None does.
    Unmatched,
    /// No rule may.
    Ambiguous,
}

impl Ruled {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Matched,
            1 => Self::Unmatched,
            _ => Self::Ambiguous,
        }
    }
}

struct Walk<'a, M> {
    maps: &'a M,
    rules: &'a RuleSet,
    buffer: &'a Buffer,
    head: &'a Head,
    scratch: &'a Scratch,
    ruled: Ruled,
}

struct One;
impl<M: Conditions> Step<Walk<'_, M>> for One {
    #[inline(always)]
    fn step(walk: &mut Walk<'_, M>) -> bool {
        let Walk { maps, rules, buffer, head, scratch, ruled } = walk;
        let index = M::Cpu::load(&scratch.index) as u32;
        if index >= rules.count || index >= MAX_CONDITIONS as u32 {
            return false;
        }
        let condition = &rules.conditions[index as usize & (MAX_CONDITIONS - 1)];
        M::Cpu::store(&scratch.index, u64::from(index + 1));
        if M::Cpu::load(&scratch.failed) == 0 {
            let holds = maps.holds(condition, buffer, head, scratch) as u32;
            if holds == Holds::Ambiguous as u32 {
                *ruled = Ruled::Ambiguous;
                return false;
            }
            if holds == Holds::No as u32 {
                M::Cpu::store(&scratch.failed, 1);
            }
        }
        if condition.service == NONE {
            return true;
        }
        if M::Cpu::load(&scratch.failed) == 0 {
            M::Cpu::store(&scratch.service, u64::from(condition.service));
            *ruled = Ruled::Matched;
            return false;
        }
        M::Cpu::store(&scratch.failed, 0);
        true
    }
}

/// How a condition is looked at: in the kernel by a function of its own.
pub trait Conditions: Machine {
    /// [`holds`].
    #[inline(always)]
    fn holds(&self, condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
        holds::<Self::Cpu>(condition, buffer, head, scratch)
    }
}

/// Finds the first rule that matches a complete head. The scratch has begun, and knows the service afterwards.
#[inline(always)]
pub fn find<M: Conditions>(maps: &M, rules: &RuleSet, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Ruled {
    let mut walk = Walk { maps, rules, buffer, head, scratch, ruled: Ruled::Unmatched };
    M::Cpu::repeat::<_, One>(&mut walk, MAX_CONDITIONS as u32);
    walk.ruled
}

/// Whether one condition holds for a complete head.
#[inline(always)]
pub fn holds<C: Cpu>(condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
    match condition.kind {
        CONDITION_ANY => Holds::Yes,
        CONDITION_HOST => host::holds::<C>(condition, buffer, head, scratch),
        CONDITION_PATH => path::below::<C>(&condition.text, buffer, head, scratch),
        CONDITION_TARGET_PREFIX => path::begins::<C>(&condition.text, buffer, head, scratch),
        CONDITION_TARGET_CONTAINS => search::contains::<C>(condition, buffer, head, scratch),
        CONDITION_HEADER => search::header::<C>(condition, buffer, head, scratch),
        CONDITION_QUERY => search::query::<C>(condition, buffer, head, scratch),
        CONDITION_SOURCE => {
            let ([a, b], [x, y]) = (condition.mask.pairs(), condition.network.pairs());
            let outside = C::load(&scratch.source[0]) & a ^ x | C::load(&scratch.source[1]) & b ^ y;
            Holds::of(outside == 0)
        }
        // Of a newer daemon: nobody knows what it asks for.
        _ => Holds::No,
    }
}

/// Whether the bytes from `pos` on are `text`. Nothing is said about what follows it.
#[inline(always)]
fn text_at(buffer: &Buffer, text: &Text, pos: u32) -> bool {
    let mut index = 0;
    while index < MAX_TEXT {
        let done = index as u32;
        if done >= text.len {
            break;
        }
        if keep(word_at(buffer, pos + done), text.len - done) != text.words[index / 8] {
            return false;
        }
        index += 8;
    }
    true
}

/// Whether a value without blanks and quotes around it is `text`.
#[inline(always)]
fn is_text(buffer: &Buffer, text: &Text, value: Span) -> bool {
    value.len == text.len && text_at(buffer, text, value.pos)
}

/// Whether the target is in origin form (RFC 9112, section 3.2.1): of other forms the host and the path may be others than they seem.
#[inline(always)]
fn has_path(buffer: &Buffer, head: &Head) -> bool {
    head.target.len != 0 && byte_at(buffer, head.target.pos) == b'/'
}

/// Whether the target is `*`, which has no path.
#[inline(always)]
fn is_asterisk(buffer: &Buffer, head: &Head) -> bool {
    head.target.len == 1 && byte_at(buffer, head.target.pos) == b'*'
}

impl<M: Maps> Conditions for M {
    #[inline(always)]
    fn holds(&self, condition: &Condition, buffer: &Buffer, head: &Head, scratch: &Scratch) -> Holds {
        self.condition(condition, buffer, head, scratch)
    }
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the tests of the whole have it too")]
mod evasion;
#[cfg(test)]
mod tests;
