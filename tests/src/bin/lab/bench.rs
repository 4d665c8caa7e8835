//! The command line of the benchmarks.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use balancer_tests::bench::{Extent, Options, bulk, flip, flood, http, packet, pages, sessions};

/// What is measured, and how.
#[derive(Args)]
pub(crate) struct Bench {
    /// One of them; all of them unless told, and then BENCHMARKS.md is filled.
    #[arg(value_enum)]
    what: Option<What>,
    /// What the targets are about: all in a quarter of an hour. This is what happens unless told.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Everything: all in an hour and a half.
    #[arg(long)]
    full: bool,
    /// The balancer's program; the one beside this one unless told.
    #[arg(long, value_name = "PATH", env = "BALANCER_BIN")]
    balancer: Option<PathBuf>,
    /// Of packets: compares with the programs of this object, and fails if something is a fifth slower.
    #[arg(long, value_name = "FILE", requires = "revision")]
    against: Option<PathBuf>,
    /// The revision that the object is of.
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,
    /// The same with figures that were written before, where the object cannot be run.
    #[arg(long, value_name = "FILE", conflicts_with = "against")]
    baseline: Option<PathBuf>,
    /// Of packets: only those whose name contains this. Nothing is written; it is for a profiler to look at.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["against", "baseline"])]
    case: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Nanoseconds per packet, in the programs as the kernel has loaded them.
    Packet,
    /// Requests per second, latencies and CPU: direct, nftables, HAProxy, nginx, the balancer by either hook.
    Http,
    /// How soon new sessions are on the new version, and what fails, beside HAProxy and nginx.
    Flip,
    /// The session table from a thousand to ten million.
    Sessions,
    /// Downloads.
    Bulk,
    /// Honest requests beside floods.
    Flood,
    /// No measurement: BENCHMARKS.md from what has been measured.
    Report,
}

impl What {
    const MEASURED: [Self; 6] = [Self::Packet, Self::Http, Self::Flip, Self::Sessions, Self::Bulk, Self::Flood];
}

pub(crate) fn run(bench: &Bench) -> Result<()> {
    if !matches!(bench.what, Some(What::Report)) {
        balancer_tests::bench::go_first()?;
    }
    match bench.what {
        Some(what) => measure(bench, what),
        None => all(bench),
    }
}

/// All of them, whatever becomes of one: the others are hours of nobody's fault.
fn all(bench: &Bench) -> Result<()> {
    let mut failed = Vec::new();
    for what in What::MEASURED {
        if let Err(error) = measure(bench, what) {
            let name = what.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
            eprintln!("error: {name}: {error:#}; the others go on");
            failed.push(name);
        }
    }
    pages::fill()?;
    if !failed.is_empty() {
        bail!("{} failed, as said above; BENCHMARKS.md has what was measured", failed.join(", "));
    }
    Ok(())
}

fn measure(bench: &Bench, what: What) -> Result<()> {
    let extent = if bench.full { Extent::Full } else { Extent::Quick };
    let balancer = match &bench.balancer {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("balancer"),
    };
    let options = Options { balancer, extent };
    match what {
        What::Packet => {
            let object = bench.against.clone().zip(bench.revision.clone());
            let against = match (object, &bench.baseline) {
                (Some((file, revision)), _) => Some(packet::Against::Object { revision, file }),
                (None, Some(file)) => Some(packet::Against::Figures(file.clone())),
                (None, None) => None,
            };
            packet::run(&packet::Options { extent, against, only: bench.case.clone() })
        }
        What::Http => http::run(&options),
        What::Flip => flip::run(&options),
        What::Sessions => sessions::run(&options),
        What::Bulk => bulk::run(&options),
        What::Flood => flood::run(&options),
        What::Report => pages::fill(),
    }
}
