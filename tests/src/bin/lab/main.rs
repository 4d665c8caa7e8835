//! The command line of the lab: the demonstration and the benchmarks.

mod bench;
mod reboot;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use balancer_tests::lab::{Hook, registry};

/// Runs the balancer and what it needs to be seen at work on this machine.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds a lab on this machine and keeps it until Ctrl-C.
    Run {
        /// The balancer's program.
        #[arg(long, value_name = "PATH")]
        balancer: PathBuf,
        /// Where the balancer attaches its programs.
        #[arg(long, value_enum, default_value = "auto")]
        hook: HookArgument,
        /// Real Tomcat 10 instead of the demo application.
        #[arg(long)]
        tomcat: bool,
    },
    /// Reboots the director of the running lab: daemon and kernel state are gone, the disk is there.
    Reboot,
    /// Measures what packets, requests, flips and sessions cost.
    Bench(bench::Bench),
    /// Clears away what labs that were killed have left.
    Clean,
}

#[derive(Clone, Copy, ValueEnum)]
enum HookArgument {
    Auto,
    Tc,
    Xdp,
}

impl From<HookArgument> for Hook {
    fn from(argument: HookArgument) -> Self {
        match argument {
            HookArgument::Auto => Self::Auto,
            HookArgument::Tc => Self::Tc,
            HookArgument::Xdp => Self::Xdp,
        }
    }
}

fn main() -> ExitCode {
    match obey(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn obey(command: Command) -> Result<()> {
    match command {
        Command::Run { balancer, hook, tomcat } => run::run(&balancer, hook.into(), tomcat),
        Command::Reboot => reboot::run(),
        Command::Bench(bench) => bench::run(&bench),
        Command::Clean => {
            println!("{} dead labs cleaned up", registry::clean()?);
            Ok(())
        }
    }
}
