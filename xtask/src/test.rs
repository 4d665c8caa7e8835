//! `cargo xtask test`: the host's tests, the simulation, and as root what needs a kernel.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{machine, packages, parts::Parts, setup, sim, workspace};

/// Enough to find what broke in every run; a search for rare bugs takes `cargo xtask sim --seeds 10000`.
const SEEDS: &str = "300";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only the part that needs no root.
    #[arg(long)]
    host: bool,
    /// Only tests whose name contains one of these (and no simulation).
    filter: Vec<String>,
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
    parts.run("tests on the host", || {
        let mut tests = workspace::cargo(["test", "--workspace", "--exclude", "balancer-tests"]);
        workspace::run(with_filter(&mut tests, &[], &options.filter))
    });
    if plan.simulation {
        parts.run("simulation", || workspace::run(sim::simulation().args(["--seeds", SEEDS])));
    }
    match plan.kernel {
        Kernel::Runs => parts.run("tests in the kernel", || kernel_part(&options.filter)),
        Kernel::NoRoot => {
            parts.leave_out("tests in the kernel", "they need root: `sudo -E env \"PATH=$PATH\" cargo xtask test`")
        }
        Kernel::NotAsked => {}
    }
    parts.finish()
}

/// Namespaces and BPF programs are the whole machine's, so these tests take turns.
fn kernel_part(filter: &[String]) -> Result<()> {
    let programs = workspace::Programs::build()?;
    let mut tests = workspace::cargo(["test", "--release", "--package", "balancer-tests"]);
    workspace::run(programs.tell(with_filter(&mut tests, &["--test-threads=1"], filter)))
}

fn with_filter<'c>(command: &'c mut Command, options: &[&str], filter: &[String]) -> &'c mut Command {
    if !(options.is_empty() && filter.is_empty()) {
        command.arg("--").args(options).args(filter);
    }
    command
}

/// Which parts run.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
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
        let kernel = match (options.host, is_root) {
            (true, _) => Kernel::NotAsked,
            (false, true) => Kernel::Runs,
            (false, false) => Kernel::NoRoot,
        };
        // A filter names tests, and the simulation is none.
        Self { simulation: options.filter.is_empty(), kernel }
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
            let options = Options { host, filter: filter.iter().map(|name: &&str| (*name).to_owned()).collect() };
            assert_eq!(Plan::new(&options, is_root), Plan { simulation, kernel }, "host {host}, {filter:?}, {is_root}");
        }
    }

    #[test]
    fn filters_go_behind_the_dashes() {
        let arguments = |options: &[&str], filter: &[&str]| {
            let filter: Vec<_> = filter.iter().map(|name| (*name).to_owned()).collect();
            let mut command = Command::new("cargo");
            with_filter(&mut command, options, &filter);
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert!(arguments(&[], &[]).is_empty());
        assert_eq!(arguments(&[], &["a", "b"]), ["--", "a", "b"]);
        assert_eq!(arguments(&["--test-threads=1"], &["a"]), ["--", "--test-threads=1", "a"]);
    }
}
