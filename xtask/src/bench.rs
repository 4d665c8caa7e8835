//! `cargo xtask bench`: what packets, requests, flips, sessions, downloads and floods cost, beside what one would use instead.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::{machine, packages, setup, workspace};

mod revision;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of them; all of them unless told, and then BENCHMARKS.md is filled.
    #[arg(value_enum)]
    what: Option<What>,
    /// What the targets are about: all in less than 20 minutes. This is what happens unless told.
    #[arg(long)]
    quick: bool,
    /// Everything: all in less than 90 minutes.
    #[arg(long, conflicts_with = "quick")]
    full: bool,
    /// Of packets: builds the kernel programs of another revision (HEAD^ unless told), runs them in turn with the present ones,
    /// and fails if any packet costs a fifth more than there.
    #[arg(long, value_name = "REVISION", num_args = 0..=1, default_missing_value = "HEAD^")]
    compare: Option<String>,
    /// The same with a `packet.json` of this machine, for a revision whose maps have another layout.
    #[arg(long, value_name = "FILE", conflicts_with = "compare")]
    baseline: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
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

pub(crate) fn command(options: &Options) -> Result<()> {
    let compares = options.compare.is_some() || options.baseline.is_some();
    ensure!(
        !compares || options.what == Some(What::Packet),
        "only packets are compared: `cargo xtask bench packet --compare`"
    );
    if options.what != Some(What::Report) {
        machine::need_root("a benchmark", "cargo xtask bench …")?;
        setup::ensure()?;
        machine::mount_bpffs()?;
        packages::ensure(packages::TESTS)?;
    }
    let programs = workspace::Programs::build()?;
    let mut command = Command::new(&programs.lab);
    programs.tell(&mut command).arg("bench");
    if let Some(what) = options.what.and_then(|what| what.to_possible_value()) {
        command.arg(what.get_name());
    }
    if options.full {
        command.arg("--full");
    }
    if let Some(revision) = &options.compare {
        command.arg("--revision").arg(revision).arg("--against").arg(revision::programs(revision)?);
    }
    if let Some(file) = &options.baseline {
        command.arg("--baseline").arg(file);
    }
    match workspace::exec(&mut command)? {}
}
