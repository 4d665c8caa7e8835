//! Drains: how old versions come to their end.

use super::*;

/// A director with sessions on 001, which is drained for an hour, and 002 active.
fn draining(then: Then) -> Bench {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let drainage = Drainage::Begin { deadline: Some(unix_now() + 3600), then };
    bench.verb(Verb::Drain { label: "001".parse().unwrap(), drainage }).unwrap();
    bench
}

/// As if so much time had passed since the drain began, and since its closing did.
fn pass(bench: &mut Bench, seconds: u64) {
    let version = &mut bench.director.state.services[0].versions[0];
    if let Some(drain) = &mut version.drain {
        drain.deadline = drain.deadline.map(|deadline| deadline.saturating_sub(seconds));
        drain.closing = drain.closing.map(|closing| closing.saturating_sub(seconds));
    }
    bench.director.counted = None;
    bench.director.tick();
}

fn labels(bench: &Bench) -> Vec<String> {
    bench.director.state.services[0].versions.iter().map(|version| version.label.to_string()).collect()
}

/// C41: while a session or a request is left, nothing ends; and one look that finds nobody is not enough.
#[test]
fn c41_a_drain_ends_when_nobody_is_left() {
    let mut bench = draining(Then::Retire);
    bench.fake.bind("A", Binding::new(0, 1, 0, KIND_ISSUED));
    pass(&mut bench, 1);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    let status = bench.director.service_status("shop", true).unwrap();
    let drain = status.versions[0].drain.clone().unwrap();
    assert!(drain.seconds_left.is_some_and(|left| left > 3500) && !drain.closing, "{drain:?}");
    assert_eq!((status.versions[0].state, status.versions[0].sessions.unwrap().issued), (VersionState::Draining, 1));
    bench.fake.0.lock().unwrap().buckets.clear();
    bench.fake.0.lock().unwrap().in_flight = 1;
    pass(&mut bench, 1);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    bench.fake.0.lock().unwrap().in_flight = 0;
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["002"]);
    let change = bench.director.history().changes.pop().unwrap();
    assert_eq!((change.who.as_str(), change.verb.as_str()), ("drain", "drain"));
    assert!(change.reason.unwrap().contains("nobody is left"));
    let status = bench.director.service_status("shop", true).unwrap();
    assert_eq!(
        (status.retired[0].label.as_str(), &status.retired[0].backends[..]),
        ("001", &["10.60.1.2:8080".to_owned()][..])
    );
}

/// D11: at the deadline sessions move first, then what is under way is closed, a share at a time; what waits for its next
/// request is left alone, and a daemon that was started again in between carries on.
#[test]
fn d11_a_deadline_closes_what_is_left_over_a_minute() {
    for (then, versions) in [(Then::Retire, &["002"][..]), (Then::Close, &["001", "002"])] {
        let mut bench = draining(then);
        bench.fake.bind("A", Binding::new(0, 1, 0, KIND_PRESENTED));
        let flow = |slot: u32, opaque, outstanding| FlowSight {
            slot,
            key: FlowKey::default(),
            service: 0,
            version: 0,
            opaque,
            outstanding,
        };
        let busy = (0..120).map(|slot| flow(slot, slot % 2 == 0, u32::from(slot % 2 != 0)));
        bench.fake.0.lock().unwrap().flows = busy.chain([flow(999, false, 0)]).collect();
        let left = |bench: &Bench| bench.fake.0.lock().unwrap().flows.len();
        let generation = bench.policy().versions[0].generation;
        pass(&mut bench, 3600);
        assert!(bench.policy().versions[0].generation > generation, "sessions move first");
        assert_eq!((labels(&bench), left(&bench)), (vec!["001".to_owned(), "002".to_owned()], 121));
        pass(&mut bench, 0);
        assert_eq!(left(&bench), 119, "a sixtieth");

        let Bench { director, fake, dir } = bench;
        let conditions = director.conditions.clone();
        drop(director);
        let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
        let mut director = start(dir.path(), &fake, state, conditions);
        director.sync_all().unwrap();
        director.attached(director::Kernel { interfaces: Vec::new(), object: 7 }).unwrap();
        let mut bench = Bench { director, fake, dir };
        pass(&mut bench, 30);
        assert!((110..118).contains(&left(&bench)), "{}", left(&bench));
        pass(&mut bench, 29);
        assert_eq!((left(&bench), labels(&bench)), (1, versions.iter().map(|label| (*label).to_owned()).collect()));
    }
}

#[test]
fn d11_a_version_that_is_kept_keeps_its_sessions() {
    let mut bench = draining(Then::Keep);
    bench.fake.bind("A", Binding::new(0, 1, 0, KIND_PRESENTED));
    let before = bench.policy();
    pass(&mut bench, 3600);
    assert_eq!(
        (labels(&bench), bench.policy().versions[0]),
        (vec!["001".to_owned(), "002".to_owned()], before.versions[0])
    );
    let status = bench.director.service_status("shop", true).unwrap();
    assert_eq!((status.versions[0].state, &status.versions[0].drain), (VersionState::Held, &None));
}

/// C38, C39, C42, C43: never by default; where the config says so, when nobody is left, but for the last ones; ids that
/// nobody has come back with yet count as sessions until they expire.
#[test]
fn c38_c39_c42_c43_old_versions_are_retired_where_the_config_says_so() {
    for (lines, goes) in [("", false), ("retire = \"empty\"", false), ("retire = \"empty\"\nkeep = 1", true)] {
        let mut bench = bench_with(lines);
        for id in 0..3 {
            bench.director.note_report(&report(id, Condition::Up));
        }
        bench.attach();
        bench.flip("001", Mode::NewSessions).unwrap();
        bench.flip("002", Mode::NewSessions).unwrap();
        bench.fake.bind("A", Binding::new(0, 1, 0, KIND_ISSUED));
        pass(&mut bench, 0);
        pass(&mut bench, 0);
        assert_eq!(labels(&bench), ["001", "002"]);
        bench.fake.0.lock().unwrap().buckets.clear();
        pass(&mut bench, 0);
        pass(&mut bench, 0);
        assert_eq!(labels(&bench).len(), if goes { 1 } else { 2 }, "{lines}");
    }
}
