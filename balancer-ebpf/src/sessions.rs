//! The session table: finding, binding, renaming and forgetting ids.
//!
//! Entries are claimed by compare-and-swap of their tag, and a tag is written last, so that no CPU ever reads one id's
//! tag with another id's binding.

mod bind;

use core::cell::Cell;

pub use bind::{Bound, RESERVED, ROOMY, bind};

use crate::host::{Cpu, Machine};
use crate::layout::{
    BUCKET_WAYS, Binding, Bucket, Entry, Globals, KIND_ADOPTED, KIND_ISSUED, KIND_RENAMED, SessionHash, Times,
};

/// How the core reaches buckets.
pub trait Table: Machine {
    fn bucket(&self, index: u32) -> Option<&Bucket>;
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The binding, 0 for none.
    pub binding: u64,
    /// This is the first request that presents an id which a backend issued. Said to one CPU only.
    pub first: bool,
}

/// The present second and for how many seconds from now an entry is to live, in one register.
#[inline(always)]
pub const fn term(now: u32, seconds: u32) -> u64 {
    now as u64 | (seconds as u64) << 32
}

const fn now(term: u64) -> u32 {
    term as u32
}

/// The last second of a term.
const fn end(term: u64) -> u32 {
    (term as u32).wrapping_add((term >> 32) as u32)
}

/// Scratch memory of a search. In a map value and through volatile accesses only: in registers, the verifier would follow
/// every position that a search may end at to the end of the program.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Shelf {
    /// The position found.
    at: Cell<u64>,
    /// What the entry at it costs.
    price: Cell<u64>,
    /// How many entries of the bucket are free.
    free: Cell<u64>,
}

/// Position of a tag in a bucket, or [`BUCKET_WAYS`].
#[inline(always)]
fn position<C: Cpu>(bucket: &Bucket, tag: u64, shelf: &Shelf) -> usize {
    C::store(&shelf.at, BUCKET_WAYS as u64);
    for (index, entry) in bucket.entries.iter().enumerate() {
        if C::load(&entry.tag) == tag {
            C::store(&shelf.at, index as u64);
            break;
        }
    }
    C::load(&shelf.at) as usize
}

#[inline(always)]
fn entry(bucket: &Bucket, at: usize) -> &Entry {
    &bucket.entries[at & (BUCKET_WAYS - 1)]
}

#[inline(always)]
fn buckets(globals: &Globals, hash: &SessionHash) -> (u32, u32) {
    let first = hash.bucket as u32 & globals.bucket_mask;
    let second = (hash.bucket >> 32) as u32 & globals.bucket_mask;
    (first, second)
}

/// Puts an entry's end off to the end of the term. Not if another CPU changed it in this moment: it may have been renamed,
/// and then its end is fixed.
#[inline(always)]
fn refresh<C: Cpu>(entry: &Entry, times: Times, term: u64) {
    let later = Times::new(end(term), times.made());
    if later.0 != times.0 {
        C::compare_exchange(&entry.times, times.0, later.0);
    }
}

/// Looks an id up, refreshes it and marks it as presented.
#[inline(always)]
pub fn present<T: Table>(table: &T, globals: &Globals, hash: &SessionHash, term: u64, shelf: &Shelf) -> Found {
    let (first, second) = buckets(globals, hash);
    let mut found = Found { binding: 0, first: false };
    for index in [first, second] {
        let Some(bucket) = table.bucket(index) else { continue };
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at >= BUCKET_WAYS {
            continue;
        }
        let entry = entry(bucket, at);
        let times = Times(T::Cpu::load(&entry.times));
        let binding = Binding(T::Cpu::load(&entry.binding));
        if times.expired(now(term)) {
            T::Cpu::compare_exchange(&entry.tag, hash.tag, 0);
            continue;
        }
        // Read again: the entry may have changed hands between the two loads.
        if T::Cpu::load(&entry.tag) != hash.tag {
            continue;
        }
        found.binding = binding.0;
        if binding.kind() == KIND_RENAMED {
            break;
        }
        refresh::<T::Cpu>(entry, times, term);
        found.binding = binding.presented().0;
        if matches!(binding.kind(), KIND_ISSUED | KIND_ADOPTED) {
            let marked = T::Cpu::compare_exchange(&entry.binding, binding.0, found.binding);
            found.first = marked && binding.kind() == KIND_ISSUED;
        }
        break;
    }
    found
}

/// Refreshes an id whose response has ended, also one that expired meanwhile and is still there: its user has been waiting
/// for this (D3).
#[inline(always)]
pub fn touch<T: Table>(table: &T, globals: &Globals, hash: &SessionHash, term: u64, shelf: &Shelf) {
    let (first, second) = buckets(globals, hash);
    for index in [first, second] {
        let Some(bucket) = table.bucket(index) else { continue };
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at < BUCKET_WAYS {
            let entry = entry(bucket, at);
            let times = Times(T::Cpu::load(&entry.times));
            if Binding(T::Cpu::load(&entry.binding)).kind() != KIND_RENAMED {
                refresh::<T::Cpu>(entry, times, term);
            }
            break;
        }
    }
}

/// A session has another id now: this one stays where it is until the end of the term, or of its own if that is nearer.
/// False if the id is not known, or was renamed before: a second renaming does not put its end off.
#[inline(always)]
pub fn rename<T: Table>(table: &T, globals: &Globals, hash: &SessionHash, term: u64, shelf: &Shelf) -> bool {
    let (first, second) = buckets(globals, hash);
    let mut renamed = false;
    for index in [first, second] {
        let Some(bucket) = table.bucket(index) else { continue };
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at >= BUCKET_WAYS {
            continue;
        }
        let entry = entry(bucket, at);
        let times = Times(T::Cpu::load(&entry.times));
        let old = Binding(T::Cpu::load(&entry.binding));
        // The kind first: from here on nobody puts the end off, and who is about to compares the times first.
        if !times.expired(now(term))
            && old.kind() != KIND_RENAMED
            && T::Cpu::compare_exchange(&entry.binding, old.0, old.with_kind(KIND_RENAMED).0)
        {
            let left = times.expires().wrapping_sub(now(term));
            let expires = now(term).wrapping_add(left.min((term >> 32) as u32));
            T::Cpu::store(&entry.times, Times::new(expires, times.made()).0);
            renamed = true;
        }
        break;
    }
    renamed
}

/// Forgets an id; whether it was known.
#[inline(always)]
pub fn forget<T: Table>(table: &T, globals: &Globals, hash: &SessionHash, shelf: &Shelf) -> bool {
    let (first, second) = buckets(globals, hash);
    let mut known = false;
    // Twice: two CPUs that adopt one id in the same moment give it two entries.
    for index in [first, second, first, second] {
        let Some(bucket) = table.bucket(index) else { continue };
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at < BUCKET_WAYS {
            known |= T::Cpu::compare_exchange(&entry(bucket, at).tag, hash.tag, 0);
        }
    }
    known
}

#[cfg(test)]
mod tests;
