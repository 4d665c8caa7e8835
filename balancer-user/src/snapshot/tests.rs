//! Snapshots through files and back into tables of plain memory, of the same size and of others, after any time.

use std::{cell::Cell, fs, os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use balancer_ebpf::{
    host::Machine,
    layout::{
        Address, BUCKET_WAYS, Binding, Bucket, Entry, FAMILIES, Globals, KIND_ISSUED, KIND_PRESENTED, KIND_RENAMED,
        Key, MAX_SOURCES, SessionHash, Times,
    },
    plain::Plain,
    sessions::{Shelf, Table, present, term},
    sip::hash_id,
};

use super::{format::Header, write::write, *};
use crate::{
    config::Config,
    dataplane::{Image, SessionTable},
    model::{Circumstances, Conditions, Entrance, Rules, State, Verb, apply},
    wire::Restored,
};

const KEY: Key = Key { k0: 3, k1: 4 };
const IDLE: u32 = 1800;

/// A list of entries, as a table that is read.
struct List(Vec<Image>);

impl SessionTable for List {
    fn each(&self, visit: &mut dyn FnMut(Image)) {
        self.0.iter().copied().for_each(visit);
    }
}

/// A table that is filled.
struct Memory(Vec<Bucket>);

impl Memory {
    fn new(buckets: usize) -> Self {
        let entry =
            || Entry { tag: Cell::new(0), binding: Cell::new(0), times: Cell::new(0), bucket_hash: Cell::new(0) };
        let bucket = || Bucket { entries: std::array::from_fn::<_, BUCKET_WAYS, _>(|_| entry()) };
        Self((0..buckets).map(|_| bucket()).collect())
    }

    fn globals(&self) -> Globals {
        Globals {
            session_key: KEY,
            cookie_key: KEY,
            isn_key: KEY,
            flows: 1,
            stashes: 1,
            bucket_mask: self.0.len() as u32 - 1,
            source_count: [1, 0],
            flow_idle_seconds: 1,
            sources: [[Address::NONE; MAX_SOURCES]; FAMILIES],
        }
    }

    /// The binding that the programs would find.
    fn find(&self, id: &str, now: u32) -> u64 {
        present(self, &self.globals(), &hash(id), term(now, IDLE), &Shelf::default()).binding
    }
}

impl Machine for Memory {
    type Cpu = Plain;
}

impl Table for Memory {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.0.get(index as usize)
    }
}

fn hash(id: &str) -> SessionHash {
    hash_id(KEY, 0, id.as_bytes())
}

/// An entry of the version that [`known`] has as 001, which was made and seen at these seconds.
fn image(id: &str, kind: u8, made: u32, seen: u32) -> Image {
    let hash = hash(id);
    let binding = Binding::new(0, 1, 0, kind).0;
    Image { tag: hash.tag, binding, times: Times::new(seen + IDLE, made).0, bucket_hash: hash.bucket }
}

fn many(count: usize, kind: u8) -> List {
    List((0..count).map(|n| image(&format!("session {n}"), kind, 900, 1000)).collect())
}

/// Of a director with 001 (index 0, generation 1) on backend 0, and 002 (index 1, generation 2) on backend 1.
fn known() -> Known {
    let config = Config::parse(
        "name = \"lab\"\ninterfaces = [\"b1\"]\nsources = [\"10.0.0.1\"]\n[[service]]\nname = \"shop\"\n\
         listen = \"10.0.1.1:80\"\nidle = \"30m\"",
    )
    .unwrap();
    let mut state = State::default();
    state.ensure_service("shop").unwrap();
    let rules = Rules {
        select: config.services[0].select,
        order: config.services[0].order,
        family: config.services[0].listen.into(),
    };
    for (label, address) in [("001", "10.0.2.1:80"), ("002", "10.0.2.2:80")] {
        let verb = Verb::Add {
            label: label.parse().unwrap(),
            backends: vec![address.parse().unwrap()],
            entrance: Entrance::Normal,
        };
        apply(&mut state, "shop", &Circumstances::new(rules, &Conditions::default()), &verb).unwrap();
    }
    Known::of(&config, &state)
}

const THEN: Moment = Moment { boot_id: [1; 16], boot: 1010, wall: 1_700_000_000 };

fn take(dir: &Path, table: &List) {
    write(dir, &Header::new("lab", KEY, THEN), table).unwrap();
}

fn restore(dir: &Path, table: &Memory, now: Moment) -> Restored {
    let mut snapshot = open(dir, "lab", Some(KEY)).unwrap().unwrap();
    let globals = table.globals();
    let mut filler = Filler::new(table, &globals, known(), snapshot.taken(), now);
    snapshot.each(&mut |image| filler.put(image)).unwrap();
    filler.finish()
}

#[test]
fn sessions_are_found_again_in_tables_of_any_size() {
    let dir = tempfile::tempdir().unwrap();
    let written = write(dir.path(), &Header::new("lab", KEY, THEN), &many(50_000, KIND_PRESENTED)).unwrap();
    assert_eq!((written.sessions, written.bytes), (50_000, 104 + 50_000 * 32 + 16));
    let snapshot = open(dir.path(), "lab", None).unwrap().unwrap();
    assert_eq!((snapshot.key(), snapshot.sessions(), snapshot.newest_generation()), (KEY, 50_000, 1));
    for buckets in [1 << 14, 1 << 15, 1 << 17] {
        let table = Memory::new(buckets);
        let restored = restore(dir.path(), &table, Moment { boot: 1020, ..THEN });
        assert_eq!((restored.sessions, restored.no_room), (50_000, 0), "{buckets}");
        for n in 0..50_000 {
            assert_ne!(table.find(&format!("session {n}"), 1020), 0, "session {n} in {buckets}");
        }
        assert_eq!(table.find("another", 1020), 0);
    }
}

#[test]
fn a_table_that_is_too_small_keeps_who_came_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut list = many(400, KIND_ISSUED);
    list.0.extend((0..100).map(|n| image(&format!("user {n}"), KIND_PRESENTED, 900, 1000)));
    take(dir.path(), &list);
    let table = Memory::new(32);
    let restored = restore(dir.path(), &table, THEN);
    let users = (0..100).filter(|n| table.find(&format!("user {n}"), 1010) != 0).count();
    let in_use = table.0.iter().flat_map(|bucket| &bucket.entries).filter(|entry| entry.tag.get() != 0).count();
    assert_eq!(restored.sessions as usize, in_use, "{restored:?}");
    assert_eq!(restored.sessions + restored.no_room, 500);
    assert_eq!(users, 100);
}

#[test]
fn ages_go_on_while_the_machine_is_down() {
    // (made, seen) then, the moment of the start, (age, idle) then or `None` for expired.
    let reboot = |boot: u64, down: u64| Moment { boot_id: [2; 16], boot, wall: THEN.wall + down };
    let table = [
        ((900, 1000), Moment { boot: 1020, ..THEN }, Some((120, 20))),
        // The same boot: whatever the wall clock says.
        ((900, 1000), Moment { boot: 1020, wall: 5, ..THEN }, Some((120, 20))),
        ((900, 1000), reboot(5000, 60), Some((170, 70))),
        // Before this boot.
        ((900, 1000), reboot(30, 60), Some((170, 70))),
        ((900, 1000), reboot(30, 1790), Some((1900, 1800))),
        ((900, 1000), reboot(30, 1791), None),
        ((900, 1000), reboot(30, u64::from(u32::MAX) * 9), None),
        // The wall clock went back: nobody knows how long it was.
        ((900, 1000), Moment { wall: 0, ..reboot(30, 0) }, Some((110, 10))),
        // Seen by another CPU whose second had just begun.
        ((1011, 1011), reboot(30, 5), Some((4, 4))),
    ];
    for ((made, seen), now, expected) in table {
        let dir = tempfile::tempdir().unwrap();
        take(dir.path(), &List(vec![image("a", KIND_PRESENTED, made, seen)]));
        let memory = Memory::new(16);
        let restored = restore(dir.path(), &memory, now);
        let entries = memory.0.iter().flat_map(|bucket| &bucket.entries);
        let times = entries.filter(|entry| entry.tag.get() != 0).map(|entry| entry.times.get()).next();
        let idle = |times: Times| IDLE.wrapping_sub(times.expires().wrapping_sub(now.seconds()));
        let got = times.map(Times).map(|times| (age(now.seconds(), times.made()), idle(times)));
        assert_eq!(got, expected, "{made} {seen} {now:?}");
        assert_eq!((restored.sessions, restored.expired), if expected.is_some() { (1, 0) } else { (0, 1) });
        // The programs see it alike.
        assert_eq!(memory.find("a", now.seconds()) != 0, expected.is_some(), "{made} {seen} {now:?}");
    }
}

/// C34.
#[test]
fn a_renamed_id_has_no_longer_grace_than_before() {
    for (seconds, there) in [(10, true), (11, false)] {
        let dir = tempfile::tempdir().unwrap();
        let times = Times::new(THEN.seconds() + 10, 900).0;
        take(dir.path(), &List(vec![Image { times, ..image("a", KIND_RENAMED, 900, 1000) }]));
        let memory = Memory::new(4);
        restore(dir.path(), &memory, Moment { boot_id: [2; 16], boot: 30, wall: THEN.wall + 5 });
        assert_eq!(memory.find("a", 30 + seconds - 5) != 0, there);
    }
}

#[test]
fn bindings_of_what_is_gone_are_dropped() {
    let with = |binding: Binding| Image { binding: binding.0, ..image("x", 0, 900, 1000) };
    let table = [
        (Binding::new(0, 1, 0, KIND_ISSUED), 1),
        (Binding::new(1, 2, 1, KIND_PRESENTED), 1),
        // Another generation, another version's backend, no such backend.
        (Binding::new(0, 3, 0, KIND_PRESENTED), 0),
        (Binding::new(0, 1, 1, KIND_PRESENTED), 0),
        (Binding::new(0, 1, 7, KIND_PRESENTED), 0),
    ];
    for (binding, kept) in table {
        let dir = tempfile::tempdir().unwrap();
        take(dir.path(), &List(vec![with(binding)]));
        let memory = Memory::new(4);
        let restored = restore(dir.path(), &memory, THEN);
        assert_eq!((restored.sessions, restored.gone), (kept, 1 - kept), "{binding:?}");
        assert_eq!(memory.find("x", THEN.seconds()), if kept == 1 { binding.presented().0 } else { 0 });
    }
}

#[test]
fn a_snapshot_is_private_and_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    assert!(open(dir.path(), "lab", None).unwrap().is_none());
    take(dir.path(), &many(10, KIND_PRESENTED));
    take(dir.path(), &many(3, KIND_PRESENTED));
    assert_eq!(open(dir.path(), "lab", None).unwrap().unwrap().sessions(), 3);
    let mode = fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn no_byte_can_be_another() {
    let dir = tempfile::tempdir().unwrap();
    take(dir.path(), &many(5, KIND_PRESENTED));
    let path = dir.path().join(FILE);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            fs::write(&path, bad).unwrap();
            assert!(open(dir.path(), "lab", None).is_err(), "bit {bit} of byte {at}");
        }
    }
    for len in 0..good.len() {
        fs::write(&path, &good[..len]).unwrap();
        let error = open(dir.path(), "lab", None).unwrap_err();
        let expected = if len < 8 { "it is no snapshot" } else { "its end is missing" };
        assert_eq!(error.to_string(), expected, "{len} bytes");
    }
}

#[test]
fn what_cannot_be_used_is_named_and_kept() {
    let other = Key { k0: 9, k1: 9 };
    let newer = |bytes: &mut Vec<u8>| bytes[8] = 2;
    let text = |bytes: &mut Vec<u8>| *bytes = b"a letter to the operator".to_vec();
    let longer = |bytes: &mut Vec<u8>| bytes.push(0);
    let same = |_: &mut Vec<u8>| {};
    type Change = fn(&mut Vec<u8>);
    let table: [(Change, &str, Option<Key>, &str); 5] = [
        (newer, "lab", Some(KEY), "it has format 2, and this balancer reads format 1"),
        (text, "lab", Some(KEY), "it is no snapshot"),
        (longer, "lab", Some(KEY), "its end is missing"),
        (same, "shop", Some(KEY), "the director `lab` wrote it"),
        (same, "lab", Some(other), "its session key is not the one in the state directory"),
    ];
    for (change, name, key, says) in table {
        let dir = tempfile::tempdir().unwrap();
        take(dir.path(), &many(2, KIND_PRESENTED));
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, &bytes).unwrap();
        let error = open(dir.path(), name, key).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
        let aside = set_aside(dir.path()).unwrap();
        assert_eq!(fs::read(aside).unwrap(), bytes);
        assert!(open(dir.path(), name, key).unwrap().is_none());
    }
}

#[tokio::test]
async fn a_keeper_takes_them_and_says_what_went_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::parse(
        "name = \"lab\"\ninterfaces = [\"b1\"]\nsources = [\"10.0.0.1\"]\nsnapshot = { every = \"100ms\" }\n\
         [[service]]\nname = \"shop\"\nlisten = \"10.0.1.1:80\"",
    )
    .unwrap();
    config.state = dir.path().join("state");
    let keeper = Arc::new(Keeper::new(&config, KEY, Arc::new(many(7, KIND_PRESENTED)), None));
    let failure = keeper.take().await.unwrap_err();
    assert!(failure.error.contains("no snapshot could be written"), "{failure}");
    assert_eq!(keeper.status().problem, Some(failure.error));

    fs::create_dir(&config.state).unwrap();
    let task = tokio::spawn(keeper.clone().run());
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(5);
    while keeper.status().last.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "nobody took one");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    task.abort();
    let status = keeper.status();
    assert_eq!((status.last.unwrap().sessions, status.problem), (7, None));
    assert_eq!(open(&config.state, "lab", Some(KEY)).unwrap().unwrap().sessions(), 7);
}
