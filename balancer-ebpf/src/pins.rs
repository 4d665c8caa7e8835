//! Pins: which version a request has to get, whatever its session (D1, D15).
//!
//! A tester shows a value, in a cookie, a header or the query, or comes from a network; an operator overrides the session of
//! somebody else. The explicit beats the ambient: cookie, header, query, source; and all of them an override. A service without
//! pins pays one look at a word of its policy.

use core::cell::Cell;

use crate::host::{Cpu, Machine, Step};
use crate::http::{Head, Span, byte_at, equal, first, name_at, word_at};
use crate::layout::{
    Buffer, Globals, Name, PIN_COOKIE, PIN_EXPIRES, PIN_HEADER, PIN_NEVER, PIN_NO_CANARY, PIN_OVERRIDES, PIN_QUERY,
    PIN_SESSION, PINS_COOKIE, PINS_HEADER, PINS_QUERY, PINS_SESSION, PINS_SOURCE, Pin, PinKey, Policy, SessionHash,
    SourceKey, Times, pinned_to,
};
use crate::splice::Lookup;

/// How pins are reached.
pub trait Pins: Machine {
    /// The pin that a request carries.
    fn pin(&self, key: &PinKey) -> Option<&Pin>;
    /// The pin of the smallest network that an address is in.
    fn source_pin(&self, key: &SourceKey) -> Option<&Pin>;
    /// The hash of a value, made as that of a session's id.
    #[inline(always)]
    fn hash_value(&self, globals: &Globals, service: u32, buffer: &Buffer, value: Span, hash: &mut SessionHash) {
        *hash = crate::sip::session_hash(globals.session_key, service, buffer, value);
    }
}

/// What a search for pins works with, in a map value: what the verifier does not track, it does not follow either.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    at: Cell<u64>,
    mode: Cell<u64>,
    value: Cell<u64>,
    end: Cell<u64>,
    hash: SessionHash,
    key: PinKey,
}

/// What was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Found {
    /// [`pinned_to`] a version, with `PIN_OVERRIDES` and `PIN_NO_CANARY`; 0 for nothing.
    pub pin: u32,
    /// Number and flags of the pin.
    pub id: u32,
    pub flags: u32,
    pub zero: u32,
}

/// Finds the pin of a request whose session was looked up. For [`Lookup`]'s file to call.
#[inline(always)]
pub fn find<M: Pins>(maps: &M, globals: &Globals, policy: &Policy, buffer: &Buffer, head: &Head, lookup: &mut Lookup) {
    if policy.pins & PINS_COOKIE != 0 && head.pin_cookie.len != 0 {
        by_value(maps, globals, policy, buffer, head.pin_cookie, PIN_COOKIE, lookup);
    }
    if policy.pins & PINS_HEADER != 0 && head.pin_header.len != 0 && !is_pinned(lookup) {
        by_value(maps, globals, policy, buffer, head.pin_header, PIN_HEADER, lookup);
    }
    if policy.pins & PINS_QUERY != 0 && head.query.len != 0 && !is_pinned(lookup) {
        let value = parameter::<M::Cpu>(buffer, &policy.rule.pin_query, head.query, &lookup.pins);
        if value.len != 0 {
            by_value(maps, globals, policy, buffer, value, PIN_QUERY, lookup);
        }
    }
    if policy.pins & PINS_SOURCE != 0 && !is_pinned(lookup) {
        let key = SourceKey { service: lookup.service.to_be_bytes(), address: lookup.source };
        if let Some(pin) = maps.source_pin(&key) {
            take(policy, pin, 0, lookup);
        }
    }
    if policy.pins & PINS_SESSION != 0 && lookup.presented != 0 && !is_pinned(lookup) {
        lookup.pins.hash = lookup.hash;
        if let Some(pin) = by_hash(maps, PIN_SESSION, lookup) {
            take(policy, pin, PIN_OVERRIDES, lookup);
        }
    }
}

/// Whether a version was found already; that the request is no canary's does not count.
#[inline(always)]
const fn is_pinned(lookup: &Lookup) -> bool {
    lookup.pin.pin & 0xffff != 0
}

#[inline(always)]
fn by_value<M: Pins>(
    maps: &M,
    globals: &Globals,
    policy: &Policy,
    buffer: &Buffer,
    value: Span,
    kind: u32,
    lookup: &mut Lookup,
) {
    maps.hash_value(globals, lookup.service, buffer, value, &mut lookup.pins.hash);
    if let Some(pin) = by_hash(maps, kind, lookup) {
        take(policy, pin, 0, lookup);
    }
}

#[inline(always)]
fn by_hash<'m, M: Pins>(maps: &'m M, kind: u32, lookup: &mut Lookup) -> Option<&'m Pin> {
    let Scratch { hash, key, .. } = &mut lookup.pins;
    key.tag = hash.tag;
    key.bucket = hash.bucket;
    key.service = lookup.service;
    key.kind = kind;
    maps.pin(key)
}

/// Takes a pin in, if it counts.
#[inline(always)]
fn take(policy: &Policy, pin: &Pin, bits: u32, lookup: &mut Lookup) {
    let inside = lookup.source.and(&pin.mask) == pin.network;
    let over = pin.flags & PIN_EXPIRES != 0 && Times::new(pin.until, 0).expired(lookup.second());
    if !inside || over {
        return;
    }
    if pin.version == PIN_NEVER {
        lookup.pin.pin |= PIN_NO_CANARY;
        return;
    }
    let of = crate::decide::version(policy, pin.version);
    // Another version at the index of one that is gone is not meant.
    if of.generation == 0 || of.birth != pin.birth {
        return;
    }
    lookup.pin.pin |= pinned_to(pin.version) | bits;
    lookup.pin.id = pin.id;
    lookup.pin.flags = pin.flags;
}

/// Turns of the search for a parameter at most. Queries of more pieces, or longer ones, pin nobody.
const TURNS: u32 = 512;
/// Bytes that a turn looks at.
const STRIDE: u32 = 32;

/// At the beginning of a piece of the query.
const PIECE: u64 = 0;
/// In a piece that is another one.
const OTHER: u64 = 1;
/// In the value.
const VALUE: u64 = 2;

struct Query<'a> {
    buffer: &'a Buffer,
    name: &'a Name,
    end: u32,
    scratch: &'a Scratch,
}

struct Turn;
impl<C: Cpu> Step<(Query<'_>, core::marker::PhantomData<C>)> for Turn {
    #[inline(always)]
    fn step((query, _): &mut (Query<'_>, core::marker::PhantomData<C>)) -> bool {
        let Query { buffer, name, end, scratch } = query;
        let at = C::load(&scratch.at) as u32;
        let mode = C::load(&scratch.mode);
        if at >= *end {
            return false;
        }
        if mode == PIECE {
            let behind = at + name.len;
            if behind < *end && name_at(buffer, name, at) && byte_at(buffer, behind) == b'=' {
                C::store(&scratch.value, u64::from(behind + 1));
                C::store(&scratch.mode, VALUE);
                C::store(&scratch.at, u64::from(behind + 1));
                return true;
            }
            C::store(&scratch.mode, OTHER);
        }
        let mut done = 0;
        while done < STRIDE {
            let marks = equal(word_at(buffer, at + done), b'&');
            if marks != 0 {
                let separator = at + done + first(marks);
                if separator >= *end {
                    break;
                }
                if mode == VALUE {
                    C::store(&scratch.end, u64::from(separator));
                    return false;
                }
                C::store(&scratch.mode, PIECE);
                C::store(&scratch.at, u64::from(separator + 1));
                return true;
            }
            done += 8;
        }
        C::store(&scratch.at, u64::from(at + STRIDE));
        true
    }
}

/// The value of a parameter of the query, as it stands there: the first of its name; none if it is empty or too long.
#[inline(always)]
fn parameter<C: Cpu>(buffer: &Buffer, name: &Name, query: Span, scratch: &Scratch) -> Span {
    let end = query.pos + query.len;
    C::store(&scratch.at, u64::from(query.pos));
    C::store(&scratch.mode, PIECE);
    C::store(&scratch.value, 0);
    C::store(&scratch.end, u64::from(end));
    let mut walk = (Query { buffer, name, end, scratch }, core::marker::PhantomData::<C>);
    C::repeat::<_, Turn>(&mut walk, TURNS);
    if C::load(&scratch.mode) != VALUE {
        return Span::NONE;
    }
    let (pos, end) = (C::load(&scratch.value) as u32, C::load(&scratch.end) as u32);
    let len = end.wrapping_sub(pos);
    if len > crate::sip::MAX_ID { Span::NONE } else { Span { pos, len } }
}

#[cfg(test)]
mod tests;
