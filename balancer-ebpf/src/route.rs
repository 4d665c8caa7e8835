//! Routes: what an id says of itself about the backend that issued it (C29).
//!
//! A cluster of Tomcats with `jvmRoute` gives ids such as `8F3A….n1`: the text after the last dot names the server. So an id
//! that no table knows, after a reboot without a snapshot say, still leads to its session. A policy has the routes of its
//! versions as a small hash table; whoever writes it picks a seed with which no route lies far from its place, so that the
//! search is four words, without a loop.
//!
//! The hash needs no key: whoever wants to be steered by a route may just write it down.

use core::cell::Cell;

use crate::host::Cpu;
use crate::http::{Span, word_at};
use crate::layout::{Buffer, MAX_ROUTE, NONE, Policy, ROUTE_PROBES, ROUTE_SLOTS, Route};

/// Scratch memory of a search, in a map value: what the verifier does not track, it does not follow either.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Scratch {
    /// Position behind a dot.
    at: Cell<u64>,
    /// A target.
    found: Cell<u64>,
}

/// Words that a route has.
const WORDS: usize = MAX_ROUTE / 8;
/// A text that has no dot where a route could begin has no route.
const NO_DOT: u64 = u64::MAX;

const fn mixed(hash: u64, word: u64) -> u64 {
    let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// A route's tag (40 bits, never 0) and the place where its search begins.
#[inline(always)]
fn tag(seed: u32, words: [u64; WORDS], len: u32) -> (u64, u32) {
    let mut hash = mixed(seed as u64, len as u64);
    for word in words {
        hash = mixed(hash, word);
    }
    hash = mixed(hash, 0);
    (hash >> 24 | 1, hash as u32)
}

/// Only the lowest `bytes` of a word, of which there may be more than it has.
#[inline(always)]
fn keep(word: u64, bytes: u32) -> u64 {
    if bytes >= 8 { word } else { word & !(u64::MAX << (bytes * 8)) }
}

/// Position behind the last dot of the id at `span`, if no more than a route follows it; else [`NO_DOT`].
#[inline(always)]
fn behind_dot<C: Cpu>(buffer: &Buffer, span: Span, at: &Cell<u64>) {
    C::store(at, NO_DOT);
    let end = span.pos + span.len;
    // One byte more than a route: the dot.
    let window = if span.len < MAX_ROUTE as u32 + 1 { span.len } else { MAX_ROUTE as u32 + 1 };
    let start = end - window;
    let mut done = 0;
    while done <= MAX_ROUTE as u32 {
        let left = window.saturating_sub(done);
        let other = word_at(buffer, start + done) ^ 0x2e2e_2e2e_2e2e_2e2e;
        // The highest bit of each byte that is a dot, exactly.
        let low = (other & 0x7f7f_7f7f_7f7f_7f7f) + 0x7f7f_7f7f_7f7f_7f7f;
        let dots = keep(!(low | other) & 0x8080_8080_8080_8080, left);
        if dots != 0 {
            C::store(at, u64::from(start + done + 1 + last(dots)));
        }
        done += 8;
    }
}

/// Which byte the last mark is in.
#[inline(always)]
fn last(marks: u64) -> u32 {
    let mut byte = 0;
    let mut rest = marks;
    for half in [4u32, 2, 1] {
        let high = rest >> (half * 8);
        let take = u32::from(high != 0);
        byte += half * take;
        rest = if take != 0 { high } else { rest };
    }
    byte
}

/// Where the route of the id at `span` leads under `policy` ([`Route::target`]), or [`NONE`].
#[inline(always)]
pub fn find<C: Cpu>(policy: &Policy, buffer: &Buffer, span: Span, scratch: &Scratch) -> u32 {
    let Scratch { at, found } = scratch;
    behind_dot::<C>(buffer, span, at);
    C::store(found, u64::from(NONE));
    let begin = C::load(at);
    let end = span.pos + span.len;
    if begin != NO_DOT && begin < u64::from(end) {
        let begin = begin as u32;
        let len = end - begin;
        let mut words = [0; WORDS];
        for (index, word) in words.iter_mut().enumerate() {
            let done = index as u32 * 8;
            *word = keep(word_at(buffer, begin + done), len.saturating_sub(done));
        }
        let (tag, place) = tag(policy.route_seed, words, len);
        for probe in 0..ROUTE_PROBES {
            let route = Route(policy.routes[place.wrapping_add(probe) as usize & (ROUTE_SLOTS - 1)]);
            if route.tag() == tag {
                C::store(found, u64::from(route.target()));
            }
        }
    }
    C::load(found) as u32
}

/// Enters routes (text, version, backend) into a policy, with a seed with which all find a place; false if none does, or if
/// two of them have one text. For the host.
pub fn enter(policy: &mut Policy, routes: &[(&[u8], u32, u32)]) -> bool {
    let found = (0..1000).find_map(|seed| Some((seed, placed(seed, routes)?)));
    let Some((seed, slots)) = found else { return false };
    policy.route_seed = seed;
    policy.route_count = routes.len() as u32;
    policy.routes = slots;
    true
}

fn placed(seed: u32, routes: &[(&[u8], u32, u32)]) -> Option<[u64; ROUTE_SLOTS]> {
    let mut slots = [0; ROUTE_SLOTS];
    for (text, version, backend) in routes {
        let mut words = [0u64; WORDS];
        for (index, byte) in text.iter().enumerate() {
            *words.get_mut(index / 8)? |= u64::from(*byte) << (index % 8 * 8);
        }
        let (tag, place) = tag(seed, words, text.len() as u32);
        let mut near = (0..ROUTE_PROBES).map(|probe| (place.wrapping_add(probe)) as usize & (ROUTE_SLOTS - 1));
        // Of two tags that are alike neither would be found for certain.
        let free = near.try_fold(None, |free, slot| match Route(slots[slot]) {
            Route(0) => Some(free.or(Some(slot))),
            route if route.tag() == tag => None,
            _ => Some(free),
        })??;
        slots[free] = Route::new(tag, *version, *backend).0;
    }
    Some(slots)
}

#[cfg(test)]
mod tests;
