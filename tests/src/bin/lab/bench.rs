//! The command line of the benchmarks.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use balancer_tests::bench::{http, packet};

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// Nanoseconds per packet, in the programs as the kernel has loaded them.
    Packet {
        /// Seconds instead of half a minute.
        #[arg(long)]
        quick: bool,
        /// Compares with an earlier result, fails if something is a fifth slower, and writes nothing.
        #[arg(long)]
        compare: bool,
        /// The earlier result; target/bench/packet.json unless told.
        #[arg(long, value_name = "FILE", requires = "compare")]
        baseline: Option<PathBuf>,
    },
    /// Requests per second and CPU per request: direct, HAProxy, the balancer by either hook.
    Http {
        /// The balancer's program; the one beside this one unless told.
        #[arg(long, value_name = "PATH", env = "BALANCER_BIN")]
        balancer: Option<PathBuf>,
        /// One round of one second each: shows that it works.
        #[arg(long)]
        quick: bool,
        /// Seconds of load per variant and round.
        #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "quick")]
        seconds: u64,
        /// Rounds, in which the variants take turns.
        #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "quick")]
        rounds: usize,
    },
}

pub(crate) fn run(bench: Bench) -> Result<()> {
    match bench {
        Bench::Http { balancer, quick, seconds, rounds } => {
            let balancer = match balancer {
                Some(path) => path,
                None => std::env::current_exe()?.with_file_name("balancer"),
            };
            let (seconds, rounds) = if quick { (1, 1) } else { (seconds, rounds) };
            http::run(&http::Options { balancer, seconds, rounds })
        }
        Bench::Packet { quick, compare, baseline } => packet::run(&packet::Options { quick, compare, baseline }),
    }
}
