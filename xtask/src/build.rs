//! `cargo xtask build`.

use anyhow::Result;

use crate::{setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Optimize.
    #[arg(long)]
    release: bool,
}

pub(crate) fn command(options: &Options) -> Result<()> {
    setup::ensure()?;
    let mut build = workspace::cargo(["build", "--workspace"]);
    if options.release {
        build.arg("--release");
    }
    workspace::run(&mut build)
}
