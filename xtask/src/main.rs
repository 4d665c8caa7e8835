//! `cargo xtask`: one command for every habit, from a fresh machine to a running director.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod apt;
mod bench;
mod build;
mod executables;
mod fuzz;
mod lint;
mod machine;
mod matrix;
mod packages;
mod parts;
mod policy;
mod progress;
mod run;
mod setup;
mod sim;
mod test;
mod workspace;

#[path = "../../balancer-user/build/kernel.rs"]
mod kernel;
#[path = "../../balancer-user/build/toolchain.rs"]
mod toolchain;
#[cfg(test)]
mod toolchain_tests;

/// Builds, runs, tests and measures the director. Whatever is missing is found or installed first.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find or install what the kernel program needs to be built.
    Setup,
    /// Build everything, the kernel program included.
    Build(build::Options),
    /// Start the lab on this host, or with `-- ARGS` the director itself on real interfaces.
    Run(run::Options),
    /// Run all tests: on the host, in the simulation, and as root in the kernel, or in other kernels (`--kernel 6.1`).
    Test(test::Options),
    /// Run seeds of the simulation; arguments go to it as they are (`--help` shows them).
    Sim(sim::Options),
    /// Look for inputs that the core misreads; needs a C++ compiler.
    Fuzz(fuzz::Options),
    /// Measure packets, requests, flips, sessions, downloads and floods beside what one would use instead.
    Bench(bench::Options),
    /// Check the format, and lint host and kernel code.
    Lint,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Setup => setup::command(),
        Command::Build(options) => build::command(&options),
        Command::Run(options) => run::command(&options),
        Command::Test(options) => test::command(&options),
        Command::Sim(options) => sim::command(&options),
        Command::Fuzz(options) => fuzz::command(&options),
        Command::Bench(options) => bench::command(&options),
        Command::Lint => lint::command(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
