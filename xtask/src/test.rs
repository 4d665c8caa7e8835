//! `cargo xtask test`: the host's tests, the simulation, and as root what needs a kernel: the running one, or others.

mod kernel;
mod lanes;
mod report;

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{
    machine,
    matrix::{self, Matrix},
    packages,
    parts::Parts,
    setup, sim, workspace,
};

/// Enough to find what broke in every run; a search for rare bugs takes `cargo xtask sim --seeds 10000`.
const SEEDS: &str = "300";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the part that needs no root.
    #[arg(long)]
    host: bool,
    /// A kernel to test on, as 6.1 or 6.12: Debian's, in an emulated machine; or `host`, the running one and what needs no
    /// kernel (the default). May be given several times.
    #[arg(long = "kernel", value_name = "SERIES", conflicts_with = "host")]
    kernels: Vec<matrix::Kernel>,
    /// Only tests whose name contains one of these (and no simulation).
    #[arg(value_parser = part_of_a_name)]
    filter: Vec<String>,
}

/// Behind `--` an option would pass for a name, and reach some of the test programs only.
fn part_of_a_name(text: &str) -> Result<String, String> {
    if text.starts_with('-') {
        return Err(
            "no test is called so; options of test programs are for `cargo test --release --package … -- …`".to_owned()
        );
    }
    Ok(text.to_owned())
}

pub(crate) fn command(options: &Options) -> Result<()> {
    let plan = Plan::new(options, machine::is_root());
    ensure!(
        !(plan.kernel == Kernel::NoRoot && machine::is_ci()),
        "CI is set, so all tests have to run, and those in the kernel need root (or say --host)"
    );
    setup::ensure()?;
    if plan.kernel == Kernel::Runs {
        machine::mount_bpffs()?;
        packages::ensure(packages::TESTS)?;
        packages::ensure(packages::CLIENTS)?;
        packages::ensure(packages::TOMCAT)?;
    }

    let mut parts = Parts::default();
    if plan.host {
        parts.run("tests on the host", || {
            let mut tests = workspace::cargo(["test", "--workspace", "--exclude", "balancer-tests"]);
            workspace::run(with_filter(&mut tests, &options.filter))
        });
    }
    if plan.simulation {
        parts.run("simulation", || workspace::run(sim::simulation().args(["--seeds", SEEDS])));
    }
    match plan.kernel {
        Kernel::Runs => parts.run("tests in the kernel", || kernel::run(&options.filter)),
        Kernel::NoRoot => {
            parts.leave_out("tests in the kernel", "they need root: `sudo -E env \"PATH=$PATH\" cargo xtask test`")
        }
        Kernel::NotAsked => {}
    }
    guests(options, &mut parts);
    parts.finish()
}

/// Each other kernel is a part of its own.
fn guests(options: &Options, parts: &mut Parts) {
    let mut shared = None;
    for kernel in &options.kernels {
        let matrix::Kernel::Guest(series) = *kernel else { continue };
        parts.run(&format!("tests on Linux {series}"), || {
            let matrix = match shared.take() {
                Some(matrix) => matrix,
                None => Matrix::prepare(&options.filter)?,
            };
            shared.insert(matrix).run(series)
        });
    }
}

fn with_filter<'c>(command: &'c mut Command, filter: &[String]) -> &'c mut Command {
    if !filter.is_empty() {
        command.arg("--").args(filter);
    }
    command
}

/// Which parts run.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    host: bool,
    simulation: bool,
    kernel: Kernel,
}

#[derive(Debug, PartialEq, Eq)]
enum Kernel {
    Runs,
    NoRoot,
    NotAsked,
}

impl Plan {
    fn new(options: &Options, is_root: bool) -> Self {
        let host = options.kernels.is_empty() || options.kernels.contains(&matrix::Kernel::Host);
        let kernel = match (options.host || !host, is_root) {
            (true, _) => Kernel::NotAsked,
            (false, true) => Kernel::Runs,
            (false, false) => Kernel::NoRoot,
        };
        // A filter names tests, and the simulation is none.
        Self { host, simulation: host && options.filter.is_empty(), kernel }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_depends_on_root_and_on_what_was_asked() {
        for (host, filter, is_root, simulation, kernel) in [
            (false, &[][..], true, true, Kernel::Runs),
            (false, &[], false, true, Kernel::NoRoot),
            (true, &[], true, true, Kernel::NotAsked),
            (true, &[], false, true, Kernel::NotAsked),
            (false, &["flip"], true, false, Kernel::Runs),
        ] {
            let filter = filter.iter().map(|name: &&str| (*name).to_owned()).collect();
            let options = Options { host, kernels: Vec::new(), filter };
            let expected = Plan { host: true, simulation, kernel };
            assert_eq!(Plan::new(&options, is_root), expected, "host {host}, {:?}, {is_root}", options.filter);
        }
    }

    #[test]
    fn other_kernels_are_tested_alone_unless_the_running_one_is_named_too() {
        for (kernels, host, kernel) in [
            (&["6.1", "6.12"][..], false, Kernel::NotAsked),
            (&["host"], true, Kernel::Runs),
            (&["6.1", "host"], true, Kernel::Runs),
        ] {
            let kernels: Vec<_> = kernels.iter().filter_map(|name| name.parse().ok()).collect();
            let options = Options { host: false, kernels, filter: Vec::new() };
            assert_eq!(Plan::new(&options, true), Plan { host, simulation: host, kernel }, "{:?}", options.kernels);
        }
    }

    #[test]
    fn filters_go_behind_the_dashes() {
        let arguments = |filter: &[&str]| {
            let filter: Vec<_> = filter.iter().map(|name| (*name).to_owned()).collect();
            let mut command = Command::new("cargo");
            with_filter(&mut command, &filter);
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert!(arguments(&[]).is_empty());
        assert_eq!(arguments(&["a", "b"]), ["--", "a", "b"]);
    }
}
