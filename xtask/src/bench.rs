//! `cargo xtask bench`: what packets, requests, flips, sessions, downloads and floods cost, beside what one would use instead.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{machine, packages, setup, workspace};

mod revision;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// One of them; all of them unless told, and then BENCHMARKS.md is filled. `report` measures nothing and fills it from what there is.
    #[arg(value_parser = NAMES)]
    what: Option<String>,
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
    /// Of packets: only those whose name contains this. Nothing is written; it is for a profiler to look at.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["compare", "baseline"])]
    case: Option<String>,
}

/// What there is to run: `lab bench --help` says what each is.
const NAMES: [&str; 7] = ["packet", "http", "flip", "sessions", "bulk", "flood", "report"];

pub(crate) fn command(options: &Options) -> Result<()> {
    let of_packets = options.compare.is_some() || options.baseline.is_some() || options.case.is_some();
    ensure!(
        !of_packets || options.what.as_deref() == Some("packet"),
        "only packets are compared or chosen: `cargo xtask bench packet --compare`, `cargo xtask bench packet --case SYN`"
    );
    if options.what.as_deref() != Some("report") {
        machine::need_root("a benchmark", "cargo xtask bench …")?;
        setup::ensure()?;
        machine::mount_bpffs()?;
        packages::ensure(packages::TESTS)?;
    }
    let programs = workspace::Programs::build()?;
    let mut command = Command::new(&programs.lab);
    programs.tell(&mut command).arg("bench");
    command.args(&options.what);
    if options.full {
        command.arg("--full");
    }
    if let Some(revision) = &options.compare {
        command.arg("--revision").arg(revision).arg("--against").arg(revision::programs(revision)?);
    }
    if let Some(file) = &options.baseline {
        command.arg("--baseline").arg(file);
    }
    if let Some(case) = &options.case {
        command.arg("--case").arg(case);
    }
    match workspace::exec(&mut command)? {}
}
