//! Pauses and exclusive flips, for which requests are held.

use super::*;

/// D10: held requests are released by the very store that moves everybody, or by one that changes nothing else.
#[test]
fn d10_a_hold_ends_with_the_flip_or_with_nothing() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let before = bench.policy();
    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    let held = bench.policy();
    assert_eq!(Policy { hold_until: 0, ..held }, before);
    assert!(held.hold_until > 0);
    // Whatever else is changed meanwhile leaves the hold alone.
    bench.down(2);
    bench.up(2);
    assert_eq!(bench.policy().hold_until, held.hold_until);
    bench.director.end_exclusive("shop");
    assert_eq!(bench.policy(), before);

    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    let published = bench.fake.0.lock().unwrap().published;
    bench.flip("001", Mode::Exclusive).unwrap();
    let after = bench.policy();
    assert_eq!((after.hold_until, after.active, bench.fake.0.lock().unwrap().published), (0, 0, published + 1));
    assert!(after.versions[1].generation > before.versions[1].generation, "everybody moves");
}

/// A pause is written down: a daemon that is started again goes on with it, at the same point in time, and it can be resumed.
#[test]
fn a_pause_is_gone_on_with_and_ends_in_time() {
    let (root, terms) = (Actor::director("root"), Terms::default());
    let mut bench = bench();
    bench.attach();
    assert!(matches!(bench.director.resume("shop", &root, &terms), Err(failure) if failure.code == Code::Refused));
    let before = bench.policy();
    bench.director.pause("shop", Duration::from_secs(60), &root, &Terms { dry_run: true, ..terms.clone() }).unwrap();
    assert_eq!(bench.policy(), before, "a dry run holds nothing");
    bench.director.pause("shop", Duration::from_secs(60), &root, &terms).unwrap();
    let until = bench.policy().hold_until;
    let left = until - boot::millis();
    assert!((55_000..=60_000).contains(&left), "{left}");
    // A flip meanwhile leaves it alone, and so does what health says.
    bench.up(0);
    bench.flip("002", Mode::Forced).unwrap();
    assert_eq!(bench.policy().hold_until, until);
    let status = bench.director.service_status("shop", false).unwrap();
    assert!(status.hold.is_some_and(|hold| hold.paused && hold.flip_to.is_none()));

    // Its daemon dies.
    let mut again = bench.restarted();
    again.attach();
    again.director.end_cut_off().unwrap();
    assert!(again.policy().hold_until.abs_diff(until) < 2_000, "{} is not {until}", again.policy().hold_until);
    again.director.end_pauses().unwrap();
    assert_ne!(again.policy().hold_until, 0, "it ended too early");
    again.director.resume("shop", &root, &terms).unwrap();
    assert_eq!((again.policy().hold_until, again.fake.0.lock().unwrap().released), (0, 1));

    // Or its time is up.
    again.director.pause("shop", Duration::from_millis(30), &root, &terms).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    again.director.end_pauses().unwrap();
    let last = again.director.history().changes.last().cloned().unwrap();
    assert_eq!((last.verb.as_str(), last.who.as_str()), ("resume", "pause"));
    assert_eq!((again.policy().hold_until, again.fake.0.lock().unwrap().released), (0, 2));
    assert!(again.director.service_status("shop", false).unwrap().hold.is_none());
}

/// An exclusive flip as somebody asked for it just now.
pub(super) fn exclusive(label: &str, time: Duration) -> Exclusive {
    let hold_milliseconds = boot::whole_millis(time);
    Exclusive {
        label: label.parse().unwrap(),
        since: unix_now(),
        who: "alice".to_owned(),
        uid: Some(7),
        reason: Some("new column".to_owned()),
        force: false,
        way: Way { until: boot::unix_millis() + hold_milliseconds, hold_milliseconds, ..Way::default() },
        hook: false,
    }
}

/// A bench with 001 active, 002 healthy, and an exclusive flip to 002 under way.
pub(super) fn flipping() -> Bench {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_secs(30))).unwrap();
    bench
}

/// D10: a daemon that finds an exclusive flip that can go on holds on, and says so; what cannot go on is written down, once, and the
/// old version goes on.
#[test]
fn d10_a_flip_that_was_cut_off_goes_on_or_is_written_down() {
    for (why, adopts, change) in [
        ("", true, None),
        ("`during`", true, Some((|bench| bench.director.runs_hook("shop").unwrap()) as fn(&mut Bench))),
        ("forgotten", false, None),
        (
            "time was up",
            true,
            Some(
                (|bench| {
                    bench.director.end_exclusive("shop");
                    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }) as fn(&mut Bench),
            ),
        ),
    ] {
        let mut bench = flipping();
        if let Some(change) = change {
            change(&mut bench);
        }
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.hold.and_then(|hold| hold.flip_to), Some("002".parse().unwrap()));
        let until = bench.policy().hold_until;

        let mut again = bench.restarted();
        again.director.take_up_flips(adopts);
        again.attach();
        again.director.end_cut_off().unwrap();
        let taken_up = again.director.taken_up();
        assert_eq!(taken_up.len(), usize::from(why.is_empty()), "{why}");
        if why.is_empty() {
            // The very same point in time, but for a change of a clock's reading in between.
            assert!(again.policy().hold_until.abs_diff(until) < 50);
            assert_eq!(taken_up[0].1.actor(), Actor { name: "alice".to_owned(), uid: Some(7), pid: None });
            assert_eq!(taken_up[0].1.terms().reason.as_deref(), Some("new column"));
            again.flip("002", Mode::Exclusive).unwrap();
            assert_eq!(again.policy().hold_until, 0);
        } else {
            again.director.end_cut_off().unwrap();
            let changes = again.director.history().changes;
            let told: Vec<_> = changes.iter().filter(|change| change.who == "start").collect();
            let said = told[0].reason.as_deref().unwrap();
            assert!(said.contains("cut off") && said.contains("001 stays active") && said.contains(why), "{said}");
            assert_eq!((told.len(), again.policy().hold_until), (1, 0));
            assert_eq!(again.director.active("shop"), Some("001".parse().unwrap()));
        }
    }
}

/// While requests are held for a flip nobody changes what it waits for or leads to; whoever does not want it gives it up.
#[test]
fn d10_a_flip_that_is_under_way_is_not_changed_but_given_up() {
    let mut bench = flipping();
    let label = |label: &str| label.parse().unwrap();
    for verb in [
        Verb::Flip { label: label("001"), mode: Mode::NewSessions },
        Verb::Flip { label: label("002"), mode: Mode::Forced },
        Verb::Canary { label: label("002"), percent: 5.0.try_into().unwrap(), guard: GuardWish::default() },
        Verb::Remove { label: label("001") },
        Verb::Remove { label: label("002") },
        Verb::Retire { label: label("002") },
        Verb::Drain { label: label("002"), drainage: Drainage::Begin { deadline: None, then: Then::Retire } },
        Verb::Rollback { sessions: Sessions::Move },
        Verb::Promote,
        Verb::Pause { until: u64::MAX, said: "long".to_owned() },
        Verb::Resume,
    ] {
        let name = verb.name();
        let failure = bench.verb(verb).unwrap_err();
        assert_eq!(failure.code, Code::Refused, "{name}");
        assert!(failure.error.contains("to `002` is under way") && failure.hint.contains("abort shop"), "{failure}");
    }
    let before = bench.fake.0.lock().unwrap().released;
    let done = bench.verb(Verb::Abort { sessions: Sessions::Move }).unwrap();
    assert!(done.did[0].contains("to 002 is given up, 001 stays active"), "{done:?}");
    assert!(done.did[1].contains("were held until now"), "{done:?}");
    assert_eq!((bench.policy().hold_until, bench.fake.0.lock().unwrap().released), (0, before + 1));
    assert!(!bench.director.holds("shop") && bench.director.service_status("shop", false).unwrap().hold.is_none());
    assert_eq!(bench.verb(Verb::Abort { sessions: Sessions::Move }).unwrap_err().code, Code::Refused);
}

/// An exclusive flip to what is active already, where there is nobody to move: nothing of it is left behind.
#[test]
fn d10_a_flip_that_changes_nothing_ends_as_well() {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    let before = bench.policy();
    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    bench.flip("001", Mode::Exclusive).unwrap();
    bench.director.end_exclusive("shop");
    assert_eq!(bench.policy(), before);
    bench.director.pause("shop", Duration::from_secs(1), &Actor::director("root"), &Terms::default()).unwrap();
}

/// A daemon that was held up for longer than the kernel holds does not flip beside requests that go on already.
#[test]
fn d10_a_flip_that_comes_too_late_is_not_made() {
    let mut bench = flipping();
    assert!(bench.director.holds_still("shop"));
    bench.director.end_exclusive("shop");
    assert!(!bench.director.holds_still("shop"));
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
    assert!(bench.director.holds_still("shop"), "the kernel holds a little longer");
    std::thread::sleep(Duration::from_millis(1600));
    assert!(!bench.director.holds_still("shop"));
}
