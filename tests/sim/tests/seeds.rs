//! The simulation under `cargo test`: some seeds, the same seed twice, and bugs put in on purpose.
//!
//! `cargo xtask sim --seeds 10000` is the long form.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use balancer_sim::{Mutation, Outcome, Report, simulate};
use clap::ValueEnum as _;

/// Simulates seeds on all cores until `enough` says so.
fn many(seeds: u64, mutation: Mutation, enough: impl Fn(&Outcome) -> bool + Sync) -> Vec<Outcome> {
    let next = AtomicU64::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        break;
                    }
                    let outcome = simulate(seed, mutation, false);
                    if enough(&outcome) {
                        next.store(seeds, Ordering::Relaxed);
                    }
                    outcomes.lock().expect("no thread has panicked").push(outcome);
                }
            });
        }
    });
    outcomes.into_inner().expect("no thread has panicked")
}

/// N6, N8, N12.
#[test]
fn a_hundred_seeds_have_no_violation() {
    let mut report = Report::default();
    for outcome in many(100, Mutation::None, |_| false) {
        if let Some(why) = &outcome.violation {
            panic!("{why}\nreplay with: cargo xtask sim --seed {} --trace", outcome.seed);
        }
        report.add(&outcome);
    }
    assert_eq!(report.seeds, 100);
    assert!(report.requests > 2_000, "the worlds are too small: {} requests", report.requests);
}

#[test]
fn a_seed_means_the_same_each_time() {
    for seed in [1, 2, 3, 5, 8, 13] {
        let (first, second) = (simulate(seed, Mutation::None, false), simulate(seed, Mutation::None, false));
        assert_eq!((first.hash, first.packets), (second.hash, second.packets), "seed {seed}");
        assert_ne!(first.hash, simulate(seed + 1, Mutation::None, false).hash);
    }
}

/// Nobody should take silence for coverage: every kind of message, answered, and every path that is hard to reach.
#[test]
fn some_hundred_seeds_have_been_everywhere() {
    let mut report = Report::default();
    for outcome in many(600, Mutation::None, |_| false) {
        report.add(&outcome);
    }
    assert_eq!(report.missed(), Vec::<&str>::new(), "in {} requests", report.requests);
}

/// A bug is worth looking for only with something that would find it.
#[test]
fn bugs_put_in_on_purpose_are_found() {
    for mutation in Mutation::value_variants().iter().copied().filter(|mutation| *mutation != Mutation::None) {
        let outcomes = many(1000, mutation, |outcome| outcome.violation.is_some());
        assert!(
            outcomes.iter().any(|outcome| outcome.violation.is_some()),
            "{mutation:?} was not found in 1,000 seeds"
        );
    }
}
