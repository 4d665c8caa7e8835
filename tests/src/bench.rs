//! Benchmarks: what a packet costs in the programs, and what a request costs beside what people would use instead.
//!
//! Each prints the machine, what it ran and tables, and writes `target/bench/<name>.json`; `BENCHMARKS.md` is filled from these files
//! ([`pages`]). Ratios are of one run, whose contenders take turns: a machine that is busy for a while is busy for all of them.

pub mod bulk;
pub mod flip;
pub mod flood;
pub mod http;
pub mod packet;
pub mod pages;
pub mod sessions;

mod busy;
mod contender;
mod machine;
mod memory;
mod report;
mod servers;
mod statistics;
mod table;
mod turns;
mod wrk;

pub use machine::Machine;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How much is to be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// What the targets are about; all benchmarks in a quarter of an hour.
    #[default]
    Quick,
    /// Everything; all of them in an hour and a half.
    Full,
}

impl Extent {
    /// One of two values.
    fn choose<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What all of them need to know, but for that of packets.
#[derive(Clone, Debug)]
pub struct Options {
    /// The balancer's program.
    pub balancer: PathBuf,
    pub extent: Extent,
}

impl Options {
    /// The program by a path that every namespace knows: they have the same files, but not necessarily the same directory.
    fn balancer(&self) -> Result<PathBuf> {
        self.balancer.canonicalize().with_context(|| format!("find the balancer {}", self.balancer.display()))
    }
}

/// Has this process and those that it starts go before other work of the machine, as far as that can be had.
pub fn go_first() -> Result<()> {
    rustix::process::setpriority_process(None, -10).context("set the benchmark's priority: this needs root")?;
    Ok(())
}

/// The top of the workspace.
fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// Where results go.
pub fn folder() -> PathBuf {
    root().join("target/bench")
}
