//! `cargo xtask sim`: the core between simulated peers on the host. No kernel program, so no set-up.

use std::{convert::Infallible, ffi::OsString, process::Command};

use anyhow::Result;

use crate::workspace;

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Options {
    /// As `--seeds N`, `--seed S` or `--first N`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn command(options: &Options) -> Result<()> {
    let never: Infallible = workspace::exec(simulation().args(&options.arguments))?;
    match never {}
}

/// The simulation, ready for its arguments. Unoptimized it would take ten times as long.
pub(crate) fn simulation() -> Command {
    workspace::cargo(["run", "--quiet", "--release", "--package", "balancer-sim", "--bin", "sim", "--"])
}
