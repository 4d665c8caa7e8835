//! Filling a session table from another: of a snapshot, or of maps with a former layout.
//!
//! Each entry goes through the core's own `bind`, so that it lies where the programs look for it, whatever size the table
//! has now.

use std::collections::BTreeMap;

use balancer_ebpf::{
    host::Cpu,
    layout::{Binding, Globals, SessionHash, Times},
    sessions::{Bound, Shelf, Table, bind, term},
};

use super::clock::Moment;
use crate::{config::Config, dataplane::Image, model::State, wire::Restored};

/// Which bindings still mean something: by backend id, since an entry does not say its service.
#[derive(Clone, Debug, Default)]
pub struct Known(BTreeMap<u32, Backend>);

#[derive(Clone, Copy, Debug)]
struct Backend {
    version: u32,
    generation: u32,
    idle: u32,
}

impl Known {
    pub fn of(config: &Config, state: &State) -> Self {
        let mut known = BTreeMap::new();
        for service in &state.services {
            let Some(config) = config.service(&service.name) else { continue };
            let idle = u32::try_from(config.idle.as_secs()).unwrap_or(u32::MAX);
            for version in &service.versions {
                let backend = Backend { version: version.index, generation: version.generation, idle };
                known.extend(version.backends.iter().map(|of| (u32::from(of.id), backend)));
            }
        }
        Self(known)
    }

    /// The idle time-out of the sessions that a backend has.
    pub fn idle(&self, backend: u32) -> u32 {
        self.0.get(&backend).map_or(0, |backend| backend.idle)
    }

    /// The backend that a binding names, if its version is the one that it was made for.
    fn backend(&self, binding: Binding) -> Option<Backend> {
        let backend = self.0.get(&binding.backend()).copied()?;
        let same = (backend.version, backend.generation) == (binding.version(), binding.generation());
        same.then_some(backend)
    }
}

/// Fills a table, and counts what became of the entries.
pub struct Filler<'a, T> {
    table: &'a T,
    globals: &'a Globals,
    known: Known,
    /// When the entries were as they are, and now.
    taken: Moment,
    now: Moment,
    shelf: Shelf,
    counted: Restored,
}

impl<'a, T: Table> Filler<'a, T> {
    pub fn new(table: &'a T, globals: &'a Globals, known: Known, taken: Moment, now: Moment) -> Self {
        Self { table, globals, known, taken, now, shelf: Shelf::default(), counted: Restored::default() }
    }

    /// Takes an entry over, unless it has expired meanwhile or its version is gone.
    pub fn put(&mut self, image: Image) {
        let binding = Binding(image.binding);
        if self.known.backend(binding).is_none() {
            self.counted.gone += 1;
            return;
        }
        let then = Times(image.times);
        let times = Times::new(self.moved(then.expires()), self.moved(then.made()));
        let now = self.now.seconds();
        if times.expired(now) {
            self.counted.expired += 1;
            return;
        }
        let hash = SessionHash { tag: image.tag, bucket: image.bucket_hash };
        let left = term(now, times.expires().wrapping_sub(now));
        match bind(self.table, self.globals, &hash, binding.0, left, &self.shelf) {
            Bound::New | Bound::Changed => self.counted.sessions += 1,
            // In the place of one that nobody had presented, and that was counted already.
            Bound::Evicted => self.counted.no_room += 1,
            Bound::Full => {
                self.counted.no_room += 1;
                return;
            }
        }
        self.set_times(&hash, times.0);
    }

    /// What became of all of them.
    pub fn finish(self) -> Restored {
        self.counted
    }

    /// A time of the former table on the present boot clock. Before the boot it wraps, as the programs expect it to.
    fn moved(&self, then: u32) -> u32 {
        let elapsed = i64::try_from(self.now.since(&self.taken)).unwrap_or(i64::MAX);
        let distance = i64::from(then.wrapping_sub(self.taken.seconds()).cast_signed());
        let distance = distance.saturating_sub(elapsed).max(i64::from(-i32::MAX));
        self.now.seconds().wrapping_add_signed(distance as i32)
    }

    /// `bind` takes an id for one that was made now.
    fn set_times(&self, hash: &SessionHash, times: u64) {
        for half in [hash.bucket as u32, (hash.bucket >> 32) as u32] {
            let Some(bucket) = self.table.bucket(half & self.globals.bucket_mask) else { continue };
            if let Some(entry) = bucket.entries.iter().find(|entry| T::Cpu::load(&entry.tag) == hash.tag) {
                T::Cpu::store(&entry.times, times);
                return;
            }
        }
    }
}
