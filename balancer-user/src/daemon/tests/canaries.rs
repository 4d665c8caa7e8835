//! Canaries.

use super::*;

/// D17: a canary whose requests fail more often than the active version's is given up, with its figures; also one that was good
/// for long.
#[test]
fn d17_a_canary_that_fails_is_given_up() {
    let tally =
        |answers, errors| Outcomes { tally: Tally { answers, errors, ..Tally::default() }, ..Outcomes::default() };
    for (lines, fails, given_up, moves) in [
        ("", (60, 6), true, true),
        ("", (60, 3), false, false),
        ("[service.canary]\nabort_over = \"20%\"", (60, 6), false, false),
        ("[service.canary]\nabort_over = \"never\"", (60, 60), false, false),
        ("[service.canary]\nmin_requests = 100", (60, 60), false, false),
        ("[service.canary]\nsessions = \"keep\"", (60, 60), true, false),
    ] {
        let mut bench = bench_with(lines);
        for id in 0..3 {
            bench.up(id);
        }
        bench.attach();
        bench.flip("001", Mode::NewSessions).unwrap();
        // What was before does not count.
        bench.fake.0.lock().unwrap().outcomes.extend([(0, tally(1000, 0)), (1, tally(1000, 1000))]);
        let guard = GuardWish::default();
        let (label, percent) = ("002".parse().unwrap(), "10".parse().unwrap());
        bench.verb(Verb::Canary { label, percent, guard }).unwrap();
        let generation = bench.policy().versions[1].generation;
        bench.director.tick();
        assert!(bench.director.service_status("shop", false).unwrap().canary.is_some(), "{lines}");
        bench.fake.0.lock().unwrap().outcomes.extend([(0, tally(2000, 0)), (1, tally(1000 + fails.0, 1000 + fails.1))]);
        let action = crate::config::Action::Url("http://127.0.0.1:9/".to_owned());
        bench.director.config.hooks.post_flip =
            Some(crate::config::Callout { action, timeout: Duration::from_secs(1) });
        bench.director.tick();
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.canary.is_none(), given_up, "{lines}");
        assert_eq!(bench.policy().versions[1].generation > generation, moves, "{lines}");
        if given_up {
            let aborted = status.aborted.unwrap();
            assert!(aborted.why.contains("of 60 requests failed"), "{}", aborted.why);
            let last = bench.director.history().changes.last().cloned().unwrap();
            assert_eq!((last.verb.as_str(), last.who.as_str()), ("abort", "canary"));
            assert!(last.reason.unwrap().contains(&aborted.why));
            let audit = std::fs::read_to_string(bench.director.config.state.join("audit.log")).unwrap();
            assert!(audit.lines().last().unwrap().contains(&aborted.why), "{audit}");
            assert!(bench.director.events(None, Some("shop"), 9).events.iter().any(|e| e.text.contains(&aborted.why)));
            // And the hook behind flips is to be told of it.
            let told = bench.director.state.untold.last().unwrap();
            let label = |label: &str| Some(label.parse().unwrap());
            assert_eq!(
                (told.verb.as_str(), told.who.as_str(), told.result.as_deref()),
                ("abort", "canary", Some("done"))
            );
            assert_eq!((&told.version, &told.to, told.generation), (&label("002"), &label("001"), status.generation));
        } else {
            assert!(bench.director.state.untold.is_empty(), "{lines}");
            let canary = status.canary.unwrap();
            assert_eq!(canary.outcomes.requests(), 60);
            assert_eq!(canary.active_outcomes.requests(), 1000);
        }
    }
    // Good for a day, and then not.
    let mut bench = bench();
    for id in 0..3 {
        bench.up(id);
    }
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    let guard = GuardWish { over: Some("10%".parse().unwrap()), min_requests: Some(20) };
    let (label, percent) = ("002".parse().unwrap(), "10".parse().unwrap());
    bench.verb(Verb::Canary { label, percent, guard }).unwrap();
    for (answers, errors, given_up) in [(100_000, 10, false), (100_019, 29, false), (100_020, 30, true)] {
        bench.fake.0.lock().unwrap().outcomes.insert(1, tally(answers, errors));
        bench.director.tick();
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.canary.is_none(), given_up, "{answers}");
        if let Some(aborted) = status.aborted {
            assert!(aborted.why.contains("within the last minute, 100.0 % of 20 requests"), "{}", aborted.why);
        }
    }
}
