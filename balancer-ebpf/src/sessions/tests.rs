//! The session table against a `HashMap`, and what its two buckets of eight promise.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::testing::{Plain, TestMaps, buckets, policy};

const IDLE: u32 = 1800;

/// Buckets only.
struct Buckets {
    buckets: Vec<Bucket>,
    globals: Globals,
    shelf: Shelf,
}

impl Machine for Buckets {
    type Cpu = Plain;
}

impl Table for Buckets {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(index as usize)
    }
}

impl Buckets {
    fn new(count: u32) -> Self {
        let globals = TestMaps::new(policy(&[]), Vec::new()).globals;
        let globals = Globals { bucket_mask: count - 1, ..globals };
        let shelf = Shelf::default();
        // Dirty from another search.
        shelf.at.set(3);
        shelf.price.set(0);
        shelf.free.set(7);
        Self { buckets: buckets(count as usize), globals, shelf }
    }

    fn bind_as(&self, hash: SessionHash, binding: Binding, now: u32) -> Bound {
        let times = u64::from(now) | u64::from(IDLE) << 32;
        bind(self, &self.globals, &hash, binding.0, times, &self.shelf)
    }

    /// As a response does.
    fn issue(&self, hash: SessionHash, now: u32) -> Bound {
        self.bind_as(hash, BOUND, now)
    }

    fn present(&self, hash: SessionHash, now: u32) -> Found {
        present(self, &self.globals, &hash, now, IDLE, &self.shelf)
    }

    fn forget(&self, hash: SessionHash) -> bool {
        forget(self, &self.globals, &hash, &self.shelf)
    }

    /// Tags in the table.
    fn tags(&self) -> Vec<u64> {
        let entries = self.buckets.iter().flat_map(|bucket| &bucket.entries);
        entries.map(|entry| entry.tag.get()).filter(|tag| *tag != 0).collect()
    }
}

const BOUND: Binding = Binding::new(3, 44, 1000, KIND_ISSUED);
const NOTHING: Found = Found { binding: 0, first: false };

/// An id whose buckets are these two.
fn id(tag: u64, one: u32, two: u32) -> SessionHash {
    SessionHash { tag, bucket: u64::from(one) | u64::from(two) << 32 }
}

/// A hash like a keyed one.
fn random(number: u64) -> SessionHash {
    let mix = |mut x: u64| {
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    };
    SessionHash { tag: mix(number * 2 + 1), bucket: mix(number * 2 + 2) }
}

#[test]
fn words_of_a_binding() {
    for (version, generation, backend, kind) in
        [(0, 1, 0, KIND_ISSUED), (15, u32::MAX, 1023, KIND_PRESENTED), (255, 0, 65535, 255)]
    {
        let binding = Binding::new(version, generation, backend, kind);
        assert_eq!(
            (binding.version(), binding.generation(), binding.backend(), binding.kind()),
            (version, generation, backend, kind)
        );
        let presented = binding.presented();
        assert_eq!(presented, Binding::new(version, generation, backend, KIND_PRESENTED));
    }
}

#[test]
fn results_survive_as_numbers() {
    for bound in [Bound::New, Bound::Changed, Bound::Evicted, Bound::Full] {
        assert_eq!(Bound::from_number(bound as u32), bound);
    }
}

#[test]
fn an_id_is_issued_presented_and_forgotten() {
    let table = Buckets::new(4);
    let id = random(1);
    assert_eq!(table.present(id, 100), NOTHING);
    assert!(!table.forget(id));
    assert_eq!(table.issue(id, 100), Bound::New);
    let presented = BOUND.presented().0;
    assert_eq!(table.present(id, 101), Found { binding: presented, first: true });
    assert_eq!(table.present(id, 101), Found { binding: presented, first: false });
    assert_eq!(table.present(random(2), 101), NOTHING);
    assert!(table.forget(id));
    assert!(!table.forget(id));
    assert_eq!(table.present(id, 102), NOTHING);
    assert_eq!(table.tags(), []);
}

#[test]
fn an_id_that_is_bound_again_keeps_its_entry_and_its_kind() {
    let table = Buckets::new(4);
    let id = random(1);
    let other = Binding::new(5, 50, 2, KIND_ISSUED);
    table.issue(id, 100);
    assert_eq!(table.bind_as(id, other, 101), Bound::Changed);
    assert_eq!(table.present(id, 102), Found { binding: other.presented().0, first: true }, "still issued only");
    assert_eq!(table.issue(id, 103), Bound::Changed);
    assert_eq!(table.present(id, 104), Found { binding: BOUND.presented().0, first: false }, "presented for good");
    assert_eq!(table.tags().len(), 1);
    // A session that is moved is presented by what moves it.
    table.bind_as(random(2), other.presented(), 105);
    assert!(!table.present(random(2), 105).first);
}

#[test]
fn times_are_kept() {
    let table = Buckets::new(1);
    let id = random(1);
    table.issue(id, 100);
    let times = |table: &Buckets| table.buckets[0].entries.iter().map(|entry| entry.times.get()).max().unwrap();
    assert_eq!(times(&table), 100 << 32 | 100);
    table.present(id, 150);
    assert_eq!(times(&table), 100 << 32 | 150, "when it was made stays");
    table.issue(id, 160);
    assert_eq!(times(&table), 100 << 32 | 160);
}

#[test]
fn bindings_expire_after_silence() {
    let table = Buckets::new(4);
    let id = random(1);
    table.issue(id, 100);
    assert!(table.present(id, 100 + IDLE).first);
    assert_ne!(table.present(id, 100 + 2 * IDLE), NOTHING, "each request refreshes");
    assert_eq!(table.present(id, 101 + 3 * IDLE), NOTHING);
    assert_eq!(table.tags(), [], "and its entry is free");
}

#[test]
fn a_cpu_whose_second_is_not_over_yet_forgets_nobody() {
    // Two requests of one session at the turn of a second: one CPU read its clock a moment before the other and comes to
    // the table a moment after it.
    let table = Buckets::new(4);
    table.issue(random(1), 101);
    assert_ne!(table.present(random(1), 100), NOTHING);
    assert_ne!(table.present(random(1), 101), NOTHING);
    // The same where room is looked for.
    let table = Buckets::new(1);
    for number in 0..8 {
        table.issue(random(number), 101);
        table.present(random(number), 101);
    }
    assert_eq!(table.issue(random(8), 100), Bound::Full);
}

#[test]
fn the_oldest_issued_id_goes_first_and_presented_ones_never() {
    let table = Buckets::new(1);
    // In no order: 105, 102, 107, …; every other one is presented.
    for number in 0..8u64 {
        let now = 100 + (number * 5 + 5) as u32 % 8;
        assert_eq!(table.issue(random(number), now), Bound::New);
        if number % 2 == 0 {
            table.present(random(number), now);
        }
    }
    let issued: Vec<u64> = {
        let mut issued = [1u64, 3, 5, 7];
        issued.sort_by_key(|number| (number * 5 + 5) % 8);
        issued.to_vec()
    };
    for (turn, number) in issued.into_iter().enumerate() {
        assert_eq!(table.issue(random(100 + turn as u64), 200 + turn as u32), Bound::Evicted);
        assert!(table.present(random(100 + turn as u64), 200 + turn as u32).first);
        assert!(!table.tags().contains(&random(number).tag), "turn {turn}: {number} should have gone");
        assert_eq!(table.tags().len(), 8);
    }
    assert_eq!(table.issue(random(999), 300), Bound::Full, "all are presented");
    for number in [0, 2, 4, 6] {
        assert_ne!(table.present(random(number), 300), NOTHING, "{number}");
    }
}

#[test]
fn a_flood_without_cookies_evicts_no_session_that_came_back() {
    let table = Buckets::new(64);
    let sessions: Vec<_> = (0..200).map(random).collect();
    for id in &sessions {
        assert_eq!(table.issue(*id, 100), Bound::New);
        table.present(*id, 100);
    }
    let mut evicted = 0;
    for number in 1000..50_000u64 {
        evicted += u32::from(table.issue(random(number), 101 + number as u32 / 100) == Bound::Evicted);
    }
    assert!(evicted > 40_000);
    for id in &sessions {
        assert_ne!(table.present(*id, 100 + IDLE), NOTHING);
    }
}

#[test]
fn expired_entries_are_used_again_whatever_their_kind() {
    let table = Buckets::new(1);
    for number in 0..8 {
        table.issue(random(number), 100);
        table.present(random(number), 100);
    }
    assert_eq!(table.issue(random(8), 100 + IDLE), Bound::Full);
    assert_eq!(table.issue(random(8), 101 + IDLE), Bound::New, "nobody lost anything");
    assert_eq!(table.tags().len(), 8);
}

#[test]
fn free_entries_come_before_expired_ones_and_those_before_issued_ones() {
    let table = Buckets::new(2);
    // Left: seven expired ones. Right: eight issued ones.
    for number in 0..7 {
        table.issue(id(number + 1, 0, 0), 100);
    }
    for number in 10..18 {
        table.issue(id(number, 1, 1), 5000);
    }
    assert_eq!(table.issue(id(100, 0, 1), 5000), Bound::New);
    assert_eq!(table.tags().len(), 16, "the free one");
    assert_eq!(table.issue(id(101, 1, 0), 5000), Bound::New);
    let tags = table.tags();
    assert_eq!(tags.len(), 16);
    assert!((10..18).all(|tag| tags.contains(&tag)), "an expired one went: {tags:?}");
}

#[test]
fn an_id_goes_where_more_is_free() {
    let table = Buckets::new(2);
    for number in 0..3 {
        table.issue(id(number + 1, 0, 0), 100);
    }
    table.issue(id(10, 1, 1), 100);
    for number in 20..22 {
        table.issue(id(number, 0, 1), 100);
    }
    let used = |bucket: usize| table.buckets[bucket].entries.iter().filter(|entry| entry.tag.get() != 0).count();
    assert_eq!((used(0), used(1)), (3, 3));
}

#[test]
fn entries_that_are_being_written_are_nobodys() {
    let table = Buckets::new(1);
    for entry in &table.buckets[0].entries {
        entry.tag.set(RESERVED);
        // Whatever lies in it: nothing, something expired.
        entry.times.set(0);
    }
    assert_eq!(table.issue(random(1), 50_000), Bound::Full);
    assert_eq!(table.present(random(1), 50_000), NOTHING);
}

#[test]
fn a_table_that_is_not_there_binds_nothing() {
    let mut table = Buckets::new(4);
    table.buckets.truncate(1);
    assert_eq!(table.issue(id(1, 0, 3), 100), Bound::Full);
    assert_eq!(table.present(id(1, 3, 0), 100), NOTHING);
    assert!(!table.forget(id(1, 3, 2)));
}

/// Fills a table with presented ids up to `load` of a hundred; answers how many found no room.
fn full_at(load: u64) -> u64 {
    let table = Buckets::new(4096);
    let wanted = 4096 * 8 * load / 100;
    (0..wanted)
        .filter(|number| {
            let bound = table.issue(random(*number), 100);
            table.present(random(*number), 100);
            bound == Bound::Full
        })
        .count() as u64
}

/// What the sizes of `balancer-user` rest on. Eight ways and two choices, first come first served, without moving anybody:
/// none of 16,000 ids is refused at half load, one of 600 at 85 %.
#[test]
fn how_full_the_table_gets() {
    let counts = [50, 70, 75, 80, 85, 90, 95, 100].map(|load| (load, full_at(load)));
    for (load, most) in [(50, 0), (70, 0), (75, 0), (80, 20), (85, 100)] {
        let (_, full) = counts.into_iter().find(|count| count.0 == load).unwrap();
        assert!(full <= most, "at {load} % {full} of {} ids found no room: {counts:?}", 4096 * 8 * load / 100);
    }
}

#[derive(Clone, Debug)]
enum Act {
    Issue(u64, u32),
    Present(u64),
    Forget(u64),
    Wait(u32),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (0u64..40, 0u32..10).prop_map(|(id, backend)| Act::Issue(id, backend)),
        4 => (0u64..40).prop_map(Act::Present),
        1 => (0u64..40).prop_map(Act::Forget),
        1 => (0u32..IDLE * 2).prop_map(Act::Wait),
    ];
    proptest::collection::vec(act, 1..300)
}

proptest! {
    /// With room enough the table is a map with expiry.
    #[test]
    fn with_room_the_table_is_a_map(acts in acts()) {
        let table = Buckets::new(64);
        let mut model: HashMap<u64, (u32, bool, u32)> = HashMap::new();
        let mut now = 5000;
        for act in acts {
            match act {
                Act::Issue(id, backend) => {
                    let bound = table.bind_as(random(id), Binding::new(1, 2, backend, KIND_ISSUED), now);
                    // One that has expired and was not swept is brought back to life by the issuer: it is its id.
                    let known = model.contains_key(&id);
                    let presented = model.get(&id).is_some_and(|entry| entry.1);
                    prop_assert_eq!(bound, if known { Bound::Changed } else { Bound::New });
                    model.insert(id, (backend, presented, now));
                }
                Act::Present(id) => {
                    let found = table.present(random(id), now);
                    if model.get(&id).is_some_and(|entry| now - entry.2 > IDLE) {
                        model.remove(&id);
                    }
                    match model.get_mut(&id) {
                        Some(entry) => {
                            let binding = Binding::new(1, 2, entry.0, KIND_PRESENTED).0;
                            prop_assert_eq!(found, Found { binding, first: !entry.1 });
                            (entry.1, entry.2) = (true, now);
                        }
                        None => prop_assert_eq!(found, NOTHING),
                    }
                }
                Act::Forget(id) => {
                    prop_assert_eq!(table.forget(random(id)), model.remove(&id).is_some());
                }
                Act::Wait(seconds) => now += seconds,
            }
            let mut tags = table.tags();
            tags.sort_unstable();
            let mut expected: Vec<_> = model.keys().map(|id| random(*id).tag).collect();
            expected.sort_unstable();
            prop_assert_eq!(tags, expected);
        }
    }

    /// Without room: no presented id that has not expired is ever lost, no id is there twice, and what is bound is found.
    #[test]
    fn without_room_presented_ids_stay(acts in acts()) {
        let table = Buckets::new(2);
        let mut presented: HashMap<u64, u32> = HashMap::new();
        let mut now = 5000;
        for act in acts {
            match act {
                Act::Issue(id, backend) => {
                    let bound = table.bind_as(random(id), Binding::new(1, 2, backend, KIND_ISSUED), now);
                    prop_assert_eq!(bound == Bound::Full, !table.tags().contains(&random(id).tag));
                    // One that expired may have made room for others; then this is a new one.
                    match presented.get_mut(&id) {
                        Some(seen) if bound == Bound::Changed => *seen = now,
                        _ => _ = presented.remove(&id),
                    }
                }
                Act::Present(id) => {
                    let found = table.present(random(id), now);
                    if presented.get(&id).is_some_and(|seen| now - seen <= IDLE) {
                        prop_assert!(found.binding != 0 && !found.first);
                    }
                    if found.binding == 0 {
                        presented.remove(&id);
                    } else {
                        presented.insert(id, now);
                    }
                }
                Act::Forget(id) => {
                    table.forget(random(id));
                    presented.remove(&id);
                }
                Act::Wait(seconds) => now += seconds,
            }
            let mut tags = table.tags();
            let count = tags.len();
            tags.sort_unstable();
            tags.dedup();
            prop_assert_eq!(tags.len(), count);
        }
    }
}
