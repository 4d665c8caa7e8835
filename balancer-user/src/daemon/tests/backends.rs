//! Backends: their roles and legs, and what their checks say.

use super::*;

/// What a removed backend still sends has to be known for what it is, until another has its place.
#[test]
fn a_backend_of_a_gateway_service_keeps_its_role_beyond_its_end() {
    let mut bench = bench();
    bench.director.config.services[0].return_path = ReturnPath::Gateway;
    bench.attach();
    let roles = |bench: &Bench| {
        let addresses = bench.fake.addresses().unwrap();
        [[10, 60, 1, 2], [10, 60, 2, 2], [10, 60, 3, 2]].map(|address| addresses.get(&address.into()).copied())
    };
    let backend = Some(ROLE_BACKEND);
    assert_eq!(roles(&bench), [backend, backend, None]);
    bench.verb(Verb::Remove { label: "001".parse().unwrap() }).unwrap();
    assert_eq!(roles(&bench), [backend, backend, None]);
    let add = Verb::Add {
        label: "003".parse().unwrap(),
        backends: vec!["10.60.3.2:8080".parse().unwrap()],
        entrance: Entrance::Normal,
    };
    bench.director.state.next_backend = 0;
    bench.verb(add).unwrap();
    bench.director.sync_all().unwrap();
    assert_eq!(roles(&bench), [None, backend, backend]);
}

#[test]
fn legs_are_shown_and_those_of_a_removed_backend_given_up() {
    let mut bench = bench();
    bench.attach();
    bench.fake.0.lock().unwrap().idle_legs = [(0, 5), (1, 7)].into();
    let legs = |bench: &mut Bench| {
        let status = bench.director.service_status("shop", false).unwrap();
        let backends = status.versions.into_iter().flat_map(|version| version.backends);
        backends.map(|backend| (backend.id, backend.legs_busy, backend.legs_idle)).collect::<Vec<_>>()
    };
    assert_eq!(legs(&mut bench), [(0, 0, 5), (1, 0, 7), (2, 0, 0)]);
    let busy = Backend { legs: Cell::new(3), ..bench.fake.backend(2).unwrap() };
    bench.fake.0.lock().unwrap().backends.insert(2, busy);
    assert_eq!(legs(&mut bench), [(0, 0, 5), (1, 0, 7), (2, 3, 0)]);
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    assert_eq!(legs(&mut bench), [(0, 0, 5)]);
    assert_eq!(bench.fake.0.lock().unwrap().idle_legs.keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn all_backends_lost_and_found() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    bench.down(1);
    assert_eq!(bench.policy().active, 1);
    bench.down(2);
    assert_eq!(bench.policy().active, 0);
    bench.up(1);
    assert_eq!(bench.policy().active, 1);
    let last = bench.director.history().changes.pop().unwrap();
    assert_eq!((last.who.as_str(), last.verb.as_str()), ("health", "select"));
}

#[test]
fn listeners_promise_what_backends_keep() {
    let mut bench = bench();
    bench.attach();
    let offers = |bench: &Bench| bench.fake.listeners().unwrap()[0].1;
    assert_eq!((offers(&bench).offers, offers(&bench).mss), (UNLEARNED.bits, 1460));
    let poor = Offers { bits: OFFER_SACK, mss: 1400, scale: 2 };
    bench.director.take_report(&Report { offers: Some(poor), ..report(0, Condition::Up) });
    assert_eq!((offers(&bench).offers, offers(&bench).mss, offers(&bench).scale), (OFFER_SACK, 1400, 2));
}

#[test]
fn a_backend_that_comes_back_starts_slowly_and_may_forget() {
    for (lines, forgets) in [("", false), ("on_backend_restart = \"forget\"", true)] {
        let mut bench = bench_with(&format!("{lines}\nhealth = {{ slow_start = \"1h\" }}"));
        for id in 0..3 {
            bench.director.note_report(&report(id, Condition::Up));
        }
        bench.attach();
        for (id, backend) in [("A", 1), ("B", 2)] {
            bench.fake.bind(id, Binding::new(1, 2, backend, KIND_PRESENTED));
        }
        let sessions = |bench: &Bench| bench.director.sessions("shop", 9).unwrap().total;
        // Nobody was down yet.
        assert_eq!((bench.fake.backend(2).unwrap().weight, sessions(&bench)), (100, 2));
        bench.down(2);
        assert_eq!(sessions(&bench), 2);
        bench.up(2);
        assert_eq!((bench.fake.backend(2).unwrap().weight, sessions(&bench)), (1, if forgets { 1 } else { 2 }));
        // Half an hour later.
        let half = std::time::Instant::now().checked_sub(Duration::from_secs(1800)).unwrap();
        bench.director.returned.insert(2, half);
        bench.director.tick();
        assert_eq!(bench.fake.backend(2).unwrap().weight, 50);
        let status = bench.director.service_status("shop", false).unwrap();
        let backend = &status.versions[1].backends[1];
        assert_eq!((backend.weight.number(), backend.weight_now), (100, 50));
        // And another one.
        let hour = half.checked_sub(Duration::from_secs(1800)).unwrap();
        bench.director.returned.insert(2, hour);
        bench.director.tick();
        assert_eq!((bench.fake.backend(2).unwrap().weight, bench.director.returned.len()), (100, 0));
    }
}

/// A check ends what the data path noted only if it began after that, and nothing failed since.
#[test]
fn a_check_that_is_passed_ends_a_back_off() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let failed = |bench: &Bench, failures| {
        let memory = bench.fake.0.lock().unwrap();
        memory.backends[&1].shunned_until.set(boot::millis() + 60_000);
        memory.backends[&1].failures.set(failures);
    };
    let passed_over = |bench: &Bench| bench.director.passed_over(1).unwrap().is_some();
    let ticks = |bench: &mut Bench| (0..2).for_each(|_| bench.director.tick());
    bench.director.passed().note(1, boot::millis() - 1);
    failed(&bench, 1);
    ticks(&mut bench);
    assert!(passed_over(&bench), "the check was before that");
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("passed over for another 60 s")), "{warnings:?}");
    bench.director.passed().note(1, boot::millis() + 1);
    failed(&bench, 2);
    bench.director.tick();
    assert!(passed_over(&bench), "something failed since it was seen");
    bench.director.passed().note(1, boot::millis() + 1);
    bench.director.tick();
    assert!(!passed_over(&bench) && bench.director.back_offs.is_empty());
}
