//! The session table against a `HashMap`, and what its two buckets of eight promise.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::layout::KIND_PRESENTED;
use crate::testing::{self, Plain, TestMaps, policy};

const IDLE: u32 = 1800;
const GRACE: u32 = 30;

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
        Self { buckets: testing::buckets(count as usize), globals, shelf }
    }

    fn bind_for(&self, hash: SessionHash, binding: Binding, now: u32, seconds: u32) -> Bound {
        bind(self, &self.globals, &hash, binding.0, term(now, seconds), &self.shelf)
    }

    fn bind_as(&self, hash: SessionHash, binding: Binding, now: u32) -> Bound {
        self.bind_for(hash, binding, now, IDLE)
    }

    /// As a response does.
    fn issue(&self, hash: SessionHash, now: u32) -> Bound {
        self.bind_as(hash, BOUND, now)
    }

    fn present(&self, hash: SessionHash, now: u32) -> Found {
        present(self, &self.globals, &hash, term(now, IDLE), &self.shelf)
    }

    /// An unknown id, as a service takes it that adopts.
    fn adopt(&self, hash: SessionHash, now: u32) -> Bound {
        self.bind_as(hash, BOUND.with_kind(KIND_ADOPTED), now)
    }

    fn touch(&self, hash: SessionHash, now: u32) {
        touch(self, &self.globals, &hash, term(now, IDLE), &self.shelf);
    }

    fn rename(&self, hash: SessionHash, now: u32) -> bool {
        rename(self, &self.globals, &hash, term(now, GRACE), &self.shelf)
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
    assert_eq!(Times(times(&table)), Times::new(100 + IDLE, 100));
    table.present(id, 150);
    assert_eq!(Times(times(&table)), Times::new(150 + IDLE, 100), "when it was made stays");
    table.issue(id, 160);
    assert_eq!(Times(times(&table)), Times::new(160 + IDLE, 100));
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
fn an_id_is_bound_where_it_is_looked_up_first_if_there_is_plenty_of_room() {
    let table = Buckets::new(2);
    for number in 0..3 {
        table.issue(id(number + 1, 0, 1), 100);
    }
    let used = |bucket: usize| table.buckets[bucket].entries.iter().filter(|entry| entry.tag.get() != 0).count();
    assert_eq!((used(0), used(1)), (3, 0));
    table.issue(id(10, 0, 1), 100);
    assert_eq!((used(0), used(1)), (3, 1));
}

#[test]
fn entries_that_are_being_written_are_nobodys() {
    let table = Buckets::new(1);
    for entry in &table.buckets[0].entries {
        entry.tag.set(RESERVED);
        // Whatever lies in it: nothing, something expired.
        entry.times.set(0);
        entry.binding.set(0);
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

#[test]
fn c34_c35_a_renamed_id_keeps_its_place_for_the_grace_and_no_request_puts_that_off() {
    let table = Buckets::new(4);
    let (old, new) = (random(1), random(2));
    table.issue(old, 100);
    assert!(table.present(old, 110).first);
    table.issue(new, 120);
    assert!(table.rename(old, 120));
    let there = BOUND.with_kind(KIND_RENAMED).0;
    for now in 120..=120 + GRACE {
        assert_eq!(table.present(old, now), Found { binding: there, first: false }, "{now}");
        table.touch(old, now);
        // A request that still carries it is answered with yet another id.
        assert!(!table.rename(old, now));
    }
    assert_eq!(table.present(old, 121 + GRACE), NOTHING);
    assert_eq!(table.tags(), [new.tag], "without anybody's help");
    assert_ne!(table.present(new, 120 + IDLE), NOTHING);
    assert!(!table.rename(random(3), 130), "nobody knows it");
}

#[test]
fn a_renaming_puts_no_end_off() {
    let table = Buckets::new(4);
    table.bind_for(random(1), BOUND.presented(), 100, 10);
    assert!(table.rename(random(1), 105));
    assert_ne!(table.present(random(1), 110), NOTHING);
    assert_eq!(table.present(random(1), 111), NOTHING, "its own end was nearer");
    // One that is over already stays over.
    table.bind_for(random(2), BOUND.presented(), 100, 10);
    assert!(!table.rename(random(2), 111));
    assert_eq!(table.present(random(2), 111), NOTHING);
}

#[test]
fn c36_a_renamed_id_stays_on_its_version_and_backend_and_a_move_does_not_revive_it() {
    let table = Buckets::new(4);
    let id = random(1);
    table.issue(id, 100);
    table.present(id, 100);
    table.rename(id, 100);
    let found = Binding(table.present(id, 101).binding);
    assert_eq!((found.version(), found.generation(), found.backend()), (3, 44, 1000));
    // A forced flip in the meantime: it goes along with its session, but no longer than before.
    let elsewhere = Binding::new(5, 50, 2, KIND_PRESENTED);
    assert_eq!(table.bind_as(id, elsewhere, 110), Bound::Changed);
    assert_eq!(table.present(id, 110).binding, elsewhere.with_kind(KIND_RENAMED).0);
    assert_eq!(table.present(id, 101 + GRACE), NOTHING);
}

#[test]
fn a_renamed_id_that_a_backend_issues_again_is_in_use_again() {
    let table = Buckets::new(4);
    let id = random(1);
    table.issue(id, 100);
    table.present(id, 100);
    table.rename(id, 100);
    assert_eq!(table.issue(id, 110), Bound::Changed);
    assert_eq!(table.present(id, 110 + IDLE).binding, BOUND.presented().0);
}

#[test]
fn renamed_ids_are_not_displaced() {
    let table = Buckets::new(1);
    for number in 0..8 {
        table.issue(random(number), 100);
        table.present(random(number), 100);
        table.rename(random(number), 100);
    }
    assert_eq!(table.issue(random(8), 100 + GRACE), Bound::Full);
    assert_eq!(table.issue(random(8), 101 + GRACE), Bound::New, "but they end");
}

/// D3.
#[test]
fn d3_a_binding_is_refreshed_by_each_request_and_at_its_responses_end() {
    let table = Buckets::new(4);
    let id = random(1);
    table.issue(id, 100);
    table.present(id, 200);
    table.touch(id, 500);
    assert_ne!(table.present(id, 500 + IDLE), NOTHING);
    // A download that took longer than the time-out: its user is still there.
    table.touch(id, 501 + 3 * IDLE);
    assert_ne!(table.present(id, 502 + 3 * IDLE), NOTHING);
    // An issued id is refreshed without having been presented; one that nobody knows stays unknown.
    table.issue(random(2), 100);
    table.touch(random(2), 101);
    assert!(table.present(random(2), 101 + IDLE).first);
    table.touch(random(3), 101);
    assert_eq!(table.present(random(3), 101), NOTHING);
}

#[test]
fn c16_a_session_that_ended_is_unknown() {
    let table = Buckets::new(4);
    for number in 1..=2 {
        table.issue(random(number), 100);
        table.present(random(number), 100);
    }
    assert!(table.forget(random(1)));
    assert_eq!(table.present(random(1), 101), NOTHING, "logged out");
    assert_eq!(table.present(random(2), 101 + IDLE), NOTHING, "timed out");
}

/// A bucket holds the sessions of all services.
#[test]
fn each_entry_expires_by_its_own_services_time() {
    let table = Buckets::new(1);
    for number in 0..7 {
        table.bind_for(random(number), BOUND.presented(), 100, 10_000);
    }
    table.bind_for(random(7), BOUND.presented(), 100, 60);
    // A service with a time-out of a minute looks for room: the sessions of the other one are none of its expired ones.
    for now in [160, 161] {
        let bound = table.bind_for(random(100), BOUND, now, 60);
        assert_eq!(bound, if now == 160 { Bound::Full } else { Bound::New });
    }
    for number in 0..7 {
        assert_ne!(table.present(random(number), 5000), NOTHING);
    }
}

#[test]
fn adopted_ids_are_presented_when_they_come_back() {
    let table = Buckets::new(1);
    assert_eq!(table.adopt(random(1), 100), Bound::New);
    // Nobody issued it, so nobody is told that it came back.
    assert_eq!(table.present(random(1), 101), Found { binding: BOUND.presented().0, first: false });
    for number in 10..17 {
        table.issue(random(number), 102);
    }
    for number in 20..27 {
        assert_eq!(table.issue(random(number), 103), Bound::Evicted);
    }
    assert_ne!(table.present(random(1), 104), NOTHING);
    // A backend issues an adopted id: it is an issued one. The reverse takes nothing away.
    let table = Buckets::new(4);
    table.adopt(random(1), 100);
    table.issue(random(1), 100);
    assert!(table.present(random(1), 100).first);
    table.issue(random(2), 100);
    table.adopt(random(2), 100);
    assert!(table.present(random(2), 100).first);
}

#[test]
fn two_cpus_that_adopt_one_id_at_once_leave_nothing_behind() {
    let table = Buckets::new(2);
    let id = id(7, 0, 1);
    table.adopt(id, 100);
    // What the other one wrote that looked before this one had.
    let copy = table.buckets[0].entries.iter().chain(&table.buckets[1].entries).find(|entry| entry.tag.get() == 7);
    let copy = copy.unwrap().clone();
    for (bucket, way) in [(0, 5), (1, 3)] {
        let entry = &table.buckets[bucket].entries[way];
        entry.tag.set(copy.tag.get());
        entry.binding.set(copy.binding.get());
        entry.times.set(copy.times.get());
    }
    assert!(table.forget(id));
    assert_eq!(table.present(id, 101), NOTHING);
}

/// A CPU between whose load and store of a binding another one does something.
#[derive(Clone, Copy)]
struct Interrupted;

thread_local! {
    /// What becomes of the next word that is compared: it turns from the one into the other first.
    static MEANWHILE: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

impl Cpu for Interrupted {
    fn repeat<C, S: crate::host::Step<C>>(context: &mut C, max: u32) {
        Plain::repeat::<C, S>(context, max);
    }
    fn copy<T: Copy>(to: &mut T, from: &T) {
        *to = *from;
    }

    fn load(word: &Cell<u64>) -> u64 {
        word.get()
    }
    fn store(word: &Cell<u64>, value: u64) {
        word.set(value);
    }
    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool {
        if let Some((from, to)) = MEANWHILE.get()
            && word.get() == from
        {
            word.set(to);
            MEANWHILE.set(None);
        }
        Plain::compare_exchange(word, old, new)
    }
    fn fetch_add(word: &Cell<u64>, value: u64) -> u64 {
        Plain::fetch_add(word, value)
    }
}

/// The same table on that CPU.
struct Raced<'a>(&'a Buckets);

impl Machine for Raced<'_> {
    type Cpu = Interrupted;
}

impl Table for Raced<'_> {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.0.bucket(index)
    }
}

#[test]
fn an_id_that_is_presented_while_it_is_bound_again_stays_presented() {
    let table = Buckets::new(1);
    table.issue(random(1), 100);
    MEANWHILE.set(Some((BOUND.0, BOUND.presented().0)));
    let other = Binding::new(5, 50, 2, KIND_ISSUED);
    bind(&Raced(&table), &table.globals, &random(1), other.0, term(100, IDLE), &table.shelf);
    assert_eq!(MEANWHILE.get(), None);
    assert_eq!(table.present(random(1), 100), Found { binding: other.presented().0, first: false });
}

#[test]
fn one_cpu_only_is_the_first() {
    let table = Buckets::new(1);
    table.issue(random(1), 100);
    MEANWHILE.set(Some((BOUND.0, BOUND.presented().0)));
    let found = present(&Raced(&table), &table.globals, &random(1), term(100, IDLE), &table.shelf);
    assert_eq!(found, Found { binding: BOUND.presented().0, first: false });
}

#[test]
fn an_id_that_is_renamed_while_it_is_refreshed_ends_with_its_grace() {
    let table = Buckets::new(1);
    table.issue(random(1), 100);
    table.present(random(1), 100);
    // The other CPU has written kind and end between this one's look at the entry and its refreshing.
    let before = Times::new(100 + IDLE, 100).0;
    let after = Times::new(110 + GRACE, 100).0;
    MEANWHILE.set(Some((before, after)));
    present(&Raced(&table), &table.globals, &random(1), term(110, IDLE), &table.shelf);
    assert_eq!(MEANWHILE.get(), None);
    assert_eq!(table.present(random(1), 111 + GRACE), NOTHING);
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
/// none of 16,000 ids is refused at half load, one of 430 at 85 %.
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

    /// D13, with adoption on: whatever ids somebody makes up, no id that a backend issued loses its place to one of them,
    /// presented or not; and none loses it to another issued one, or finds none, while a made-up one has a place there.
    #[test]
    fn d13_made_up_ids_displace_nobody_but_each_other(
        acts in proptest::collection::vec((0u8..6, 0u64..60, 0u32..20), 1..400),
    ) {
        let table = Buckets::new(4);
        let in_use = |adopted: bool, now: u32| {
            let entries = table.buckets.iter().flat_map(|bucket| &bucket.entries);
            let wanted = |entry: &&Entry| {
                let kind = Binding(entry.binding.get()).kind();
                entry.tag.get() != 0 && (kind == KIND_ADOPTED) == adopted && !Times(entry.times.get()).expired(now)
            };
            entries.filter(wanted).map(|entry| (entry.tag.get(), entry.bucket_hash.get())).collect::<Vec<_>>()
        };
        let mut now = 100;
        let mut made_up = 1_000_000;
        for (act, number, seconds) in acts {
            now += seconds;
            let issued = in_use(false, now);
            let stays = |after: &[(u64, u64)]| issued.iter().all(|entry| after.contains(entry));
            match act {
                0 | 1 => {
                    let hash = random(number);
                    let homes = buckets(&table.globals, &hash);
                    let near = |bucket: &Bucket| bucket.entries.iter().any(|entry| {
                        entry.tag.get() != 0 && Binding(entry.binding.get()).kind() == KIND_ADOPTED
                    });
                    let room = [homes.0, homes.1].iter().any(|index| near(table.bucket(*index).unwrap()));
                    let bound = table.issue(hash, now);
                    prop_assert!(!room || bound != Bound::Full && stays(&in_use(false, now)));
                }
                2 => _ = table.present(random(number), now),
                _ => {
                    made_up += 1;
                    prop_assert_eq!(table.present(random(made_up), now), NOTHING);
                    table.adopt(random(made_up), now);
                    prop_assert!(stays(&in_use(false, now)));
                }
            }
        }
        prop_assert!(in_use(true, now).len() <= 32);
    }
}
