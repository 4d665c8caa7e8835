//! The session table as it grows: what a look-up and a birth cost, what a session takes, and what ten million of them mean for a flip and
//! for a daemon that starts again.

mod daemon;
mod filling;
mod learning;
mod lookup;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::report::{Report, Target};
use super::{Options, memory};

/// Tables: bound sessions, and how that is said.
const SIZES: [(u32, &str); 5] =
    [(1_000, "1k"), (10_000, "10k"), (100_000, "100k"), (1_000_000, "1M"), (10_000_000, "10M")];

/// All figures.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    lookups: Vec<lookup::Figure>,
    logins: Vec<learning::Figure>,
    daemon: daemon::Figure,
}

/// Measures, prints and writes.
pub fn run(options: &Options) -> Result<()> {
    let mut report = Report::begin(options.extent)?;
    let balancer = options.balancer()?;
    let sizes = options.extent.choose(vec![SIZES[0], SIZES[2], SIZES[4]], SIZES.to_vec());
    let lookups = lookup::run(options.extent, &sizes).context("look-ups")?;
    report.ran.push(memory::sentence()?);
    report.tables.push(lookup::table(&lookups));
    if let [small, .., large] = &lookups[..] {
        let what = format!("look-up at {} sessions beside that at {}", large.sessions, small.sessions);
        report.targets.push(Target::at_most(what, 2.0, " ×", large.lookup / small.lookup));
        let what = format!("memory of a session at {}", large.sessions);
        report.targets.push(Target::at_most(what, 160.0, " bytes", large.bytes));
    }
    let logins = learning::run(&balancer, options.extent, &mut report).context("learning")?;
    let daemon = daemon::run(&balancer, SIZES[4]).context("the daemon with a full table")?;
    report.tables.push(daemon::table(&daemon));
    let what = "buckets of sessions that a forced flip of 10M wrote in";
    report.targets.push(Target::at_most(what, 0.0, "", daemon.written as f64));
    report.finish("sessions", &Measured { lookups, logins, daemon })
}
