//! The session table: finding, binding and forgetting ids.
//!
//! Entries are claimed by compare-and-swap of their tag, and a tag is written last, so that no CPU ever reads one id's
//! tag with another id's binding.

use core::cell::Cell;

use crate::host::{Cpu, Machine};
use crate::layout::{BUCKET_WAYS, Binding, Bucket, Entry, Globals, KIND_ISSUED, KIND_PRESENTED, SessionHash};

/// A tag that belongs to nobody: its entry is being written.
pub const RESERVED: u64 = u64::MAX;

/// How the core reaches buckets.
pub trait Table: Machine {
    fn bucket(&self, index: u32) -> Option<&Bucket>;
}

/// What became of an attempt to bind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bound {
    /// It has an entry of its own now.
    New,
    /// It had one, which says something else now.
    Changed,
    /// It took the place of an issued id that nobody presented.
    Evicted,
    /// Both buckets are full of presented ids.
    Full,
}

impl Bound {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::New,
            1 => Self::Changed,
            2 => Self::Evicted,
            _ => Self::Full,
        }
    }
}

/// What a look-up found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The binding, 0 for none.
    pub binding: u64,
    /// This is the first request that presents the id.
    pub first: bool,
}

const fn seen(times: u64) -> u32 {
    times as u32
}

/// Whether an entry was last seen more than `idle` seconds ago. One that was seen in the future was not: another CPU, whose
/// second has just begun, was here between this one's look at the clock and its look at the entry.
const fn expired(times: u64, now: u32, idle: u32) -> bool {
    let age = now.wrapping_sub(seen(times));
    age > idle && age <= i32::MAX as u32
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

/// Looks an id up, refreshes it and marks it as presented. The present time and the idle time-out are in seconds.
#[inline(always)]
pub fn present<T: Table>(
    table: &T,
    globals: &Globals,
    hash: &SessionHash,
    now: u32,
    idle: u32,
    shelf: &Shelf,
) -> Found {
    let (first, second) = buckets(globals, hash);
    let mut found = Found { binding: 0, first: false };
    for index in [first, second] {
        let Some(bucket) = table.bucket(index) else { continue };
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at >= BUCKET_WAYS {
            continue;
        }
        let entry = entry(bucket, at);
        let times = T::Cpu::load(&entry.times);
        let binding = Binding(T::Cpu::load(&entry.binding));
        if expired(times, now, idle) {
            T::Cpu::compare_exchange(&entry.tag, hash.tag, 0);
            continue;
        }
        // Read again: the entry may have changed hands between the two loads.
        if T::Cpu::load(&entry.tag) != hash.tag {
            continue;
        }
        if seen(times) != now {
            T::Cpu::store(&entry.times, times & !0xffff_ffff | u64::from(now));
        }
        found.first = binding.kind() == KIND_ISSUED;
        if found.first {
            T::Cpu::compare_exchange(&entry.binding, binding.0, binding.presented().0);
        }
        found.binding = binding.presented().0;
        break;
    }
    found
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

/// How ready a bucket is to take a new id: the entry to take, how dear it is, and how many are free.
struct Offer {
    at: usize,
    price: u64,
    free: u64,
}

/// Free costs nothing, expired next to nothing, an issued id the more the younger it is; a presented one is not for sale.
const NOT_FOR_SALE: u64 = u64::MAX;

#[inline(always)]
fn offer<C: Cpu>(bucket: &Bucket, now: u32, idle: u32, shelf: &Shelf) -> Offer {
    C::store(&shelf.at, 0);
    C::store(&shelf.price, NOT_FOR_SALE);
    C::store(&shelf.free, 0);
    for (index, entry) in bucket.entries.iter().enumerate() {
        let tag = C::load(&entry.tag);
        let times = C::load(&entry.times);
        let kind = Binding(C::load(&entry.binding)).kind();
        let mut price = 2 + u64::from(seen(times));
        if kind == KIND_PRESENTED {
            price = NOT_FOR_SALE;
        }
        if expired(times, now, idle) {
            price = 1;
        }
        if tag == RESERVED {
            price = NOT_FOR_SALE;
        }
        if tag == 0 {
            price = 0;
            C::store(&shelf.free, C::load(&shelf.free) + 1);
        }
        if price < C::load(&shelf.price) {
            C::store(&shelf.price, price);
            C::store(&shelf.at, index as u64);
        }
    }
    Offer { at: C::load(&shelf.at) as usize, price: C::load(&shelf.price), free: C::load(&shelf.free) }
}

/// Binds an id, new or known. A known one keeps its kind unless `binding` says that it was presented.
#[inline(always)]
pub fn bind<T: Table>(
    table: &T,
    globals: &Globals,
    hash: &SessionHash,
    binding: u64,
    times: u64,
    shelf: &Shelf,
) -> Bound {
    let now = times as u32;
    let idle = (times >> 32) as u32;
    let (first, second) = buckets(globals, hash);
    let (Some(one), Some(two)) = (table.bucket(first), table.bucket(second)) else { return Bound::Full };
    for bucket in [one, two] {
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at < BUCKET_WAYS {
            let entry = entry(bucket, at);
            let old = Binding(T::Cpu::load(&entry.binding));
            let new = if old.kind() == KIND_PRESENTED { Binding(binding).presented().0 } else { binding };
            T::Cpu::store(&entry.binding, new);
            T::Cpu::store(&entry.times, T::Cpu::load(&entry.times) & !0xffff_ffff | u64::from(now));
            return Bound::Changed;
        }
    }
    let left = offer::<T::Cpu>(one, now, idle, shelf);
    let right = offer::<T::Cpu>(two, now, idle, shelf);
    let take_left = left.price < right.price || (left.price == right.price && left.free >= right.free);
    let (bucket, chosen) = if take_left { (one, left) } else { (two, right) };
    if chosen.price == NOT_FOR_SALE {
        return Bound::Full;
    }
    let entry = entry(bucket, chosen.at);
    let old = T::Cpu::load(&entry.tag);
    if old == RESERVED || !T::Cpu::compare_exchange(&entry.tag, old, RESERVED) {
        // Another CPU took the entry in this very moment. The id stays unbound, as with a full table; counted alike.
        return Bound::Full;
    }
    T::Cpu::store(&entry.binding, binding);
    T::Cpu::store(&entry.times, u64::from(now) | u64::from(now) << 32);
    T::Cpu::store(&entry.bucket_hash, hash.bucket);
    T::Cpu::store(&entry.tag, hash.tag);
    if chosen.price > 1 { Bound::Evicted } else { Bound::New }
}

/// Forgets an id; whether it was known.
#[inline(always)]
pub fn forget<T: Table>(table: &T, globals: &Globals, hash: &SessionHash, shelf: &Shelf) -> bool {
    let (first, second) = buckets(globals, hash);
    let mut known = false;
    for index in [first, second] {
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
