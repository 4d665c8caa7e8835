//! `cargo xtask bench`: nanoseconds per packet, or requests per second.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{machine, packages, setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// The loaded programs alone, by the kernel's own clock.
    Packet(Arguments),
    /// Whole requests, beside direct connections and HAProxy.
    Http(Arguments),
}

#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct Arguments {
    /// Given to the benchmark as they are.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

pub(crate) fn command(options: &Options) -> Result<()> {
    let (what, arguments) = match &options.what {
        What::Packet(given) => ("packet", &given.arguments),
        What::Http(given) => ("http", &given.arguments),
    };
    machine::need_root("a benchmark", &format!("cargo xtask bench {what} …"))?;
    setup::ensure()?;
    machine::mount_bpffs()?;
    packages::ensure(packages::TESTS)?;
    let programs = workspace::Programs::build()?;
    match workspace::exec(programs.tell(&mut Command::new(&programs.lab)).args(["bench", what]).args(arguments))? {}
}
