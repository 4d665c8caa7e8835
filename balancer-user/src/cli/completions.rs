//! `balancer completions`.

use clap::CommandFactory as _;

use super::Cli;
use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    shell: clap_complete::Shell,
}

pub(super) fn run(args: Args) -> Result<(), Failure> {
    clap_complete::generate(args.shell, &mut Cli::command(), "balancer", &mut std::io::stdout());
    Ok(())
}
