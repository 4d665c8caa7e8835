//! `sim`: runs the simulation, seed after seed, on all cores; replays one.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use balancer_sim::{Mutation, Outcome, Report, simulate};
use clap::Parser;

/// The core of the balancer between simulated clients and backends, over a bad network, in virtual time.
#[derive(Parser)]
#[command(name = "sim")]
struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only this one.
    #[arg(long, conflicts_with_all = ["seeds", "first"])]
    seed: Option<u64>,
    /// With --seed: print every packet and what became of it.
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Fail if an interesting path was never taken.
    #[arg(long)]
    coverage: bool,
    /// Go on behind a violation, and list them all.
    #[arg(long)]
    keep_going: bool,
    /// Put a bug in on purpose.
    #[arg(long, value_enum, default_value = "none")]
    bug: Mutation,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mutation = options.bug;
    if let Some(seed) = options.seed {
        let outcome = simulate(seed, mutation, options.trace);
        if options.trace {
            let mut report = Report::default();
            report.add(&outcome);
            let counted: Vec<String> = report
                .totals()
                .into_iter()
                .filter(|(_, count)| *count != 0)
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            println!("{}", counted.join(", "));
        }
        println!(
            "seed {seed}: {} packets, {} requests, trace {:016x}",
            outcome.packets, outcome.requests, outcome.hash
        );
        return match outcome.violation {
            Some(why) => {
                println!("seed {seed} FAILS {why}");
                ExitCode::FAILURE
            }
            None => ExitCode::SUCCESS,
        };
    }
    many(&options, mutation)
}

fn many(options: &Options, mutation: Mutation) -> ExitCode {
    let begun = Instant::now();
    let next = AtomicU64::new(options.first);
    let stop = AtomicBool::new(false);
    let end = options.first.saturating_add(options.seeds);
    let state = Mutex::new((Report::default(), Vec::<Outcome>::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let outcome = simulate(seed, mutation, false);
                    let Ok(mut state) = state.lock() else { break };
                    state.0.add(&outcome);
                    if outcome.violation.is_some() {
                        state.1.push(outcome);
                        stop.store(!options.keep_going, Ordering::Relaxed);
                    }
                    if state.0.seeds % 20 == 0 {
                        let rate = state.0.seeds as f64 / begun.elapsed().as_secs_f64();
                        eprint!("\r{} of {} seeds, {rate:.0} per second ", state.0.seeds, options.seeds);
                        let _ = std::io::stderr().flush();
                    }
                }
            });
        }
    });
    eprintln!();
    let (report, mut failed) = state.into_inner().unwrap_or_default();
    let seconds = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s ({:.0} per second): {} requests, {} packets",
        report.seeds,
        report.seeds as f64 / seconds,
        report.requests,
        report.packets
    );
    for (name, count) in report.totals() {
        println!("{count:>12}  {name}");
    }
    println!("{:>12} {:>9}  requests", "answered", "excused");
    for (name, answers, failures) in report.tally.rows() {
        println!("{answers:>12} {failures:>9}  {name}");
    }
    let missed = report.missed();
    if !missed.is_empty() {
        println!("never taken: {}", missed.join(", "));
    }
    failed.sort_by_key(|outcome| outcome.seed);
    for outcome in &failed {
        println!("seed {} FAILS {}", outcome.seed, outcome.violation.as_deref().unwrap_or_default());
    }
    if let Some(first) = failed.first() {
        println!("replay with: cargo xtask sim --seed {} --trace", first.seed);
    }
    if failed.is_empty() && (missed.is_empty() || !options.coverage) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
