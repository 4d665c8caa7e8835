//! Verbs: what they change, refuse, and write down.

use super::{
    holds::{exclusive, flipping},
    *,
};

#[test]
fn the_first_choice_is_the_newest_healthy_version() {
    let mut bench = bench();
    assert!(bench.director.unchecked());
    bench.director.note_report(&report(0, Condition::Up));
    bench.director.note_report(&report(1, Condition::Down));
    bench.director.note_report(&report(2, Condition::Down));
    assert!(!bench.director.unchecked());
    bench.attach();
    assert_eq!(bench.policy().active, 0);
    // One backend of 002 comes up: the version is healthy, and the new one to get.
    bench.up(2);
    assert_eq!((bench.policy().active, bench.policy().fallback), (1, 0));
    let flags = |id: u16| bench.fake.backend(id).unwrap().flags & BACKEND_UP;
    assert_eq!([flags(0), flags(1), flags(2)], [BACKEND_UP, 0, BACKEND_UP]);
}

#[test]
fn a_start_that_fails_before_it_is_attached_leaves_no_state() {
    let bench = bench();
    assert_eq!(crate::store::load(&bench.dir.path().join("state")).unwrap(), None);
}

/// D14.
#[test]
fn a_restart_publishes_nothing() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    bench.flip("001", Mode::Forced).unwrap();
    let published = bench.fake.0.lock().unwrap().published;
    let Bench { director, fake, dir } = bench;
    let conditions = director.conditions.clone();
    drop(director);

    let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
    assert_eq!(state.object, Some(7));
    let mut again = start(dir.path(), &fake, state, conditions);
    again.sync_all().unwrap();
    assert_eq!(fake.0.lock().unwrap().published, published);
    assert_eq!(again.history().changes.last().unwrap().undo, "balancer flip shop 002 --mode forced");
}

#[test]
fn verbs_change_the_policy_and_dry_runs_do_not() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let before = bench.policy();
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::Forced };
    let plan = bench
        .director
        .change("shop", &verb, &Actor::director("root"), &Terms { dry_run: true, ..Terms::default() })
        .unwrap();
    assert!(!plan.will.is_empty() && plan.did.is_empty());
    assert_eq!(bench.policy(), before);
    bench.flip("001", Mode::Forced).unwrap();
    let after = bench.policy();
    assert_eq!((before.active, after.active), (1, 0));
    assert!(after.versions[1].generation > before.versions[1].generation);
    bench.verb(Verb::Rollback { sessions: Sessions::Move }).unwrap();
    assert_eq!(bench.policy().active, 1);
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    assert_eq!((bench.policy().active, bench.policy().versions[1].generation), (0, 0));
    assert_eq!(bench.fake.backend(1).unwrap().flags, 0, "its backends are free");
    assert_eq!(bench.director.targets().len(), 1);
}

/// A change that was meant for another state of things changes nothing, and everything that was asked for is in the log.
#[test]
fn changes_are_numbered_compared_and_written_down() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let status = |bench: &mut Bench| bench.director.service_status("shop", false).unwrap().generation;
    let before = status(&mut bench);
    let flip = |bench: &mut Bench, label: &str, terms: Terms| {
        let verb = Verb::Flip { label: label.parse().unwrap(), mode: Mode::NewSessions };
        let actor = Actor { name: "alice as root".to_owned(), uid: Some(0), pid: Some(7) };
        bench.director.change("shop", &verb, &actor, &terms)
    };
    let at = |generation| Terms { if_generation: Some(generation), reason: Some("CVE".to_owned()), ..Terms::default() };
    assert_eq!(flip(&mut bench, "001", at(before)).unwrap().generation, before + 1);
    assert_eq!(status(&mut bench), before + 1);
    let conflict = flip(&mut bench, "002", at(before)).unwrap_err();
    assert!(conflict.code == Code::Conflict && conflict.hint.contains(&format!("{}", before + 1)), "{conflict}");
    assert_eq!((status(&mut bench), bench.policy().active), (before + 1, 0));
    // Again, and to what does not exist; neither makes a generation.
    flip(&mut bench, "001", Terms::default()).unwrap();
    flip(&mut bench, "009", Terms::default()).unwrap_err();
    let dry = || Terms { dry_run: true, ..Terms::default() };
    flip(&mut bench, "002", dry()).unwrap();
    // The command line stops there.
    flip(&mut bench, "008", dry()).unwrap_err();
    assert_eq!(status(&mut bench), before + 1);
    let change = bench.director.history().changes.pop().unwrap();
    assert_eq!((change.generation, change.reason.as_deref()), (before + 1, Some("CVE")));

    let log = std::fs::read_to_string(bench.dir.path().join("state").join(crate::audit::FILE)).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<&str> = lines.iter().map(|line| line["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["done", "done", "conflict", "unchanged", "refused", "refused"]);
    assert_eq!((&lines[0]["verb"], &lines[0]["actor"]["name"]), (&"select".into(), &"config".into()));
    let flip = &lines[1];
    assert_eq!((&flip["from"], &flip["to"], &flip["reason"]), (&"002".into(), &"001".into(), &"CVE".into()));
    assert_eq!((&flip["actor"]["uid"], &flip["generation"]), (&0.into(), &(before + 1).into()));
    assert_eq!(flip["undo"], "balancer flip shop 002");
    assert!(lines[4]["error"].as_str().unwrap().contains("009"));
    assert_eq!((&lines[4]["dry_run"], &lines[5]["dry_run"]), (&serde_json::Value::Null, &true.into()));
}

/// D13: where sessions find no place, a flip would move those that are not bound.
#[test]
fn a_full_table_refuses_flips() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let turned_away = |bench: &mut Bench, count| {
        bench.fake.0.lock().unwrap().counters.insert(Note::SessionsFull.counter(), count);
        bench.director.tick();
    };
    turned_away(&mut bench, 7);
    turned_away(&mut bench, 7);
    bench.flip("001", Mode::NewSessions).unwrap();
    turned_away(&mut bench, 8);
    let refused = bench.flip("002", Mode::NewSessions).unwrap_err();
    assert!(refused.error.contains("table is full") && refused.hint.contains("--force"), "{refused}");
    // Going back is never refused for that.
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::NewSessions };
    let insist = Terms { force: true, ..Terms::default() };
    bench.director.change("shop", &verb, &Actor::director("root"), &insist).unwrap();
}

#[test]
fn weights_are_written_at_once_and_kept() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let weigh = |address: &str, weight: u32| Verb::Weigh {
        label: "002".parse().unwrap(),
        address: address.parse().unwrap(),
        weight: weight.try_into().unwrap(),
    };
    let done = bench.verb(weigh("10.60.2.3:8080", 0)).unwrap();
    assert_eq!(done.undo, "balancer backend weight shop 002 10.60.2.3:8080 100");
    let weights = |bench: &Bench| [1, 2].map(|id| bench.fake.backend(id).unwrap().weight);
    assert_eq!(weights(&bench), [100, 0]);
    let refused = bench.verb(weigh("10.60.9.9:8080", 5)).unwrap_err();
    assert!(refused.hint.contains("10.60.2.2:8080, 10.60.2.3:8080"), "{refused}");
    // A repetition makes no generation, and a restart finds what was set.
    assert!(bench.verb(weigh("10.60.2.3:8080", 0)).unwrap().undo.is_empty());
    let Bench { director, fake, dir } = bench;
    let conditions = director.conditions.clone();
    drop(director);
    let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
    start(dir.path(), &fake, state, conditions).sync_all().unwrap();
    assert_eq!(fake.backend(2).unwrap().weight, 0);
}

/// D18: a disk that is full: a change is refused and nothing is different, but what goes back is done, and written when there is room. A
/// hold ends in any case.
#[test]
fn a_state_that_cannot_be_written_keeps_nobody_from_going_back() {
    let mut bench = flipping();
    let state = bench.dir.path().join("state");
    let away = bench.dir.path().join("away");
    std::fs::rename(&state, &away).unwrap();

    assert!(bench.director.end_exclusive("shop") == 0 && !bench.director.holds("shop"));
    assert_eq!(bench.policy().hold_until, 0);
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("is lost if the daemon ends")), "{warnings:?}");
    assert!(bench.director.sample().unwrap().state_unsaved);

    let (policy, generation) = (bench.policy(), bench.director.generation("shop"));
    let failure = bench.flip("002", Mode::Forced).unwrap_err();
    assert!(failure.error.contains("nothing changed") && failure.hint.contains("make room"), "{failure}");
    let begun = bench.director.begin_exclusive("shop", exclusive("002", Duration::from_secs(30)));
    assert!(begun.is_err() && !bench.director.holds("shop"));
    assert_eq!((bench.policy(), bench.director.generation("shop")), (policy, generation));

    let done = bench.verb(Verb::Rollback { sessions: Sessions::Move }).unwrap();
    assert!(done.warnings.iter().any(|warning| warning.contains("cannot be written")), "{done:?}");
    assert_eq!(bench.director.active("shop"), Some("002".parse().unwrap()));
    let forced = Terms { force: true, ..Terms::default() };
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::NewSessions };
    bench.director.change("shop", &verb, &Actor::director("root"), &forced).unwrap();
    assert_eq!(bench.director.active("shop"), Some("001".parse().unwrap()));

    std::fs::rename(&away, &state).unwrap();
    bench.director.tick();
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
    let again = bench.restarted();
    assert_eq!(again.director.active("shop"), Some("001".parse().unwrap()));
}
