//! Binding an id: an entry of its own, or that of somebody who is missed less.

use super::{Shelf, Table, buckets, end, entry, now, position};
use crate::host::Cpu;
use crate::layout::{
    BUCKET_WAYS, Binding, Bucket, Entry, Globals, KIND_ADOPTED, KIND_ISSUED, KIND_PRESENTED, KIND_RENAMED, SessionHash,
    Times,
};

/// A tag that belongs to nobody: its entry is being written.
pub const RESERVED: u64 = u64::MAX;
/// Attempts to change a binding that other CPUs change as well. Each of them changes it once or twice in its life.
const ATTEMPTS: u32 = 4;

/// So many free entries in an id's first bucket, and it is bound there, whatever the second one has: that is where a look-up asks first, and
/// each bucket that it asks is a miss of the cache, and of the TLB, once the table is large.
pub const ROOMY: usize = 6;

/// What became of an attempt to bind an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Bound {
    /// It has an entry of its own now.
    New,
    /// It had one, which says something else now.
    Changed,
    /// It took the place of an id that nobody came back with.
    Evicted,
    /// Nobody in its buckets may be displaced by it.
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

/// What kind an entry is of when it is bound again: what was known of it is not forgotten.
const fn merged(old: u8, new: u8) -> u8 {
    match (old, new) {
        // Its session was moved, and goes on under another id all the same.
        (KIND_RENAMED, KIND_PRESENTED) => KIND_RENAMED,
        // A backend issues it anew: it is in use again.
        (KIND_PRESENTED | KIND_RENAMED, _) => KIND_PRESENTED,
        (KIND_ISSUED, KIND_ADOPTED) => KIND_ISSUED,
        _ => new,
    }
}

/// Changes an entry, whoever else does in the same moment: the mark that an id was presented must not be lost.
#[inline(always)]
fn rebind<C: Cpu>(entry: &Entry, binding: Binding, term: u64) {
    for _ in 0..ATTEMPTS {
        let old = Binding(C::load(&entry.binding));
        let kind = merged(old.kind(), binding.kind());
        if C::compare_exchange(&entry.binding, old.0, binding.with_kind(kind).0) {
            if kind != KIND_RENAMED {
                let made = Times(C::load(&entry.times)).made();
                C::store(&entry.times, Times::new(end(term), made).0);
            }
            break;
        }
    }
}

/// How ready a bucket is to take a new id: the entry to take, how dear it is, and how many are free.
struct Offer {
    at: usize,
    price: u64,
    free: u64,
}

/// An entry of an expired id costs next to nothing, more only than a free one.
const EXPIRED: u64 = 1;
/// Adopted and issued ids cost the more the younger they are, but an issued one always more than an adopted one.
const ADOPTED: u64 = 2;
const ISSUED: u64 = 1 << 33;
/// Ids that were presented after they were issued have no price, whatever is offered.
const NOT_FOR_SALE: u64 = u64::MAX;

/// What an entry costs that is in use.
#[inline(always)]
fn price(kind: u8, times: Times, now: u32) -> u64 {
    // A clock that is behind another CPU's, or an entry from before a reboot.
    let age = now.wrapping_sub(times.made()).cast_signed().max(0).cast_unsigned();
    let youth = u64::from(u32::MAX - age);
    let lasting = match kind {
        KIND_ADOPTED => ADOPTED + youth,
        KIND_ISSUED => ISSUED + youth,
        _ => NOT_FOR_SALE,
    };
    if times.expired(now) { EXPIRED } else { lasting }
}

#[inline(always)]
fn offer<C: Cpu>(bucket: &Bucket, now: u32, shelf: &Shelf) -> Offer {
    C::store(&shelf.at, 0);
    C::store(&shelf.price, NOT_FOR_SALE);
    C::store(&shelf.free, 0);
    for (index, entry) in bucket.entries.iter().enumerate() {
        let tag = C::load(&entry.tag);
        let times = Times(C::load(&entry.times));
        let mut price = price(Binding(C::load(&entry.binding)).kind(), times, now);
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

/// Binds an id, new or known, until the end of the term.
///
/// What it may displace depends on its kind: an id that a backend issued takes the place of the oldest one that nobody
/// came back with; one that is adopted, which anybody can make up, only that of another adopted one (D13).
#[inline(always)]
pub fn bind<T: Table>(
    table: &T,
    globals: &Globals,
    hash: &SessionHash,
    binding: u64,
    term: u64,
    shelf: &Shelf,
) -> Bound {
    let (first, second) = buckets(globals, hash);
    let (Some(one), Some(two)) = (table.bucket(first), table.bucket(second)) else { return Bound::Full };
    for bucket in [one, two] {
        let at = position::<T::Cpu>(bucket, hash.tag, shelf);
        if at < BUCKET_WAYS {
            rebind::<T::Cpu>(entry(bucket, at), Binding(binding), term);
            return Bound::Changed;
        }
    }
    let left = offer::<T::Cpu>(one, now(term), shelf);
    let right = offer::<T::Cpu>(two, now(term), shelf);
    let emptier = left.price < right.price || (left.price == right.price && left.free >= right.free);
    let (bucket, chosen) = if left.free >= ROOMY as u64 || emptier { (one, left) } else { (two, right) };
    let most = if Binding(binding).kind() == KIND_ADOPTED { ISSUED } else { NOT_FOR_SALE };
    if chosen.price >= most {
        return Bound::Full;
    }
    let entry = entry(bucket, chosen.at);
    let old = T::Cpu::load(&entry.tag);
    if old == RESERVED || !T::Cpu::compare_exchange(&entry.tag, old, RESERVED) {
        // Another CPU took the entry in this very moment. The id stays unbound, as with a full table; counted alike.
        return Bound::Full;
    }
    T::Cpu::store(&entry.binding, binding);
    T::Cpu::store(&entry.times, Times::new(end(term), now(term)).0);
    T::Cpu::store(&entry.bucket_hash, hash.bucket);
    T::Cpu::store(&entry.tag, hash.tag);
    if chosen.price > EXPIRED { Bound::Evicted } else { Bound::New }
}
