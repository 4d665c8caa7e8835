//! What metrics and events say.

use super::*;

/// However often somebody scrapes, the table is read as seldom as for `status`.
#[test]
fn scrapes_do_not_read_the_table_each_time() {
    let mut bench = bench();
    bench.attach();
    let before = bench.fake.0.lock().unwrap().reads;
    for _ in 0..50 {
        bench.director.sample().unwrap();
        bench.director.readiness().unwrap();
    }
    // Two, if a second ended meanwhile.
    let reads = bench.fake.0.lock().unwrap().reads - before;
    assert!((1..=2).contains(&reads), "{reads}");
}

/// What is counted is what was done.
#[test]
fn flips_are_counted_by_mode() {
    let mut bench = bench();
    bench.attach();
    (0..3).for_each(|id| bench.up(id));
    bench.flip("001", Mode::Forced).unwrap();
    bench.flip("001", Mode::Forced).unwrap();
    bench.flip("009", Mode::Forced).unwrap_err();
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let sample = bench.director.sample().unwrap();
    let count = |how| sample.tallies.flips.get(&("shop".to_owned(), how)).copied().unwrap_or_default();
    // The second flip to it moved whom the first one left: a change as well.
    assert_eq!((count("rollback"), count("exclusive")), (1, 0));
    assert!((1..=2).contains(&count("forced")) && count("select") >= 1, "{:?}", sample.tallies);
    assert_eq!(
        sample.counters.len(),
        balancer_ebpf::verdict::COUNTERS as usize - 32 + balancer_ebpf::http::Scanned::NAMES.len()
    );
}

/// D12: requests that are answered because their version is missing are an event of their service, which names the version.
#[test]
fn d12_whose_version_is_missing_is_told_by_service() {
    let mut bench = bench();
    (0..3).for_each(|id| bench.up(id));
    bench.attach();
    let missing = |bench: &Bench, version: u32, missing: u64| {
        bench.fake.0.lock().unwrap().outcomes.insert(version, Outcomes { missing, ..Outcomes::default() });
    };
    // What was counted before this daemon is nobody's news.
    missing(&bench, 0, 7);
    bench.director.tick();
    bench.down(0);
    missing(&bench, 0, 8);
    missing(&bench, 5, 2);
    bench.director.tick();
    bench.director.tick();
    let events = bench.director.events(None, Some("shop"), 100).events;
    let told: Vec<&str> =
        events.iter().filter(|event| event.kind == "missing").map(|event| event.text.as_str()).collect();
    assert_eq!(
        told,
        [
            "001 has no healthy backend left",
            "1 request was answered with a 503: 001 has no healthy backend",
            "2 requests were answered with a 503: their version is missing"
        ]
    );
}

/// What finds no place is said once, with what to do.
#[test]
fn tables_that_are_full_are_events() {
    let mut bench = bench();
    bench.attach();
    let said = |bench: &mut Bench| -> Vec<String> {
        let events = bench.director.events(Some(0), None, usize::MAX).events;
        events.into_iter().filter(|event| event.kind == "table").map(|event| event.text).collect()
    };
    for (counted, events) in [(3, 0), (3, 0), (4, 2), (9, 2)] {
        let counters = [Verdict::FlowsFull, Verdict::LegsFull].map(|verdict| (verdict as u32, counted));
        bench.fake.0.lock().unwrap().counters.extend(counters);
        bench.director.tick();
        let said = said(&mut bench);
        assert_eq!(said.len(), events, "{said:?}");
        // One source has ports for a quarter of the flows that there is room for unless the config says otherwise.
        assert!(said.iter().all(|text| text.contains("`sources`")), "{said:?}");
    }
}
