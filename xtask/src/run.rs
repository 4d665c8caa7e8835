//! `cargo xtask run`: the lab on this host, or the director itself on real interfaces.

use std::{ffi::OsString, process::Command};

use anyhow::Result;
use clap::ValueEnum;

use crate::{machine, packages, setup, workspace};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Serve a real application by Tomcat 10 instead of the lab's own.
    #[arg(long)]
    tomcat: bool,
    /// Where the kernel program sits.
    #[arg(long, value_enum)]
    hook: Option<Hook>,
    /// Run the director on real interfaces instead of the lab, with these arguments: `-- --config FILE`.
    #[arg(last = true, conflicts_with_all = ["tomcat", "hook"])]
    arguments: Vec<OsString>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Hook {
    Auto,
    Tc,
    Xdp,
}

impl Hook {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

pub(crate) fn command(options: &Options) -> Result<()> {
    machine::need_root("running the director", "cargo xtask run …")?;
    setup::ensure()?;
    machine::mount_bpffs()?;
    if !options.arguments.is_empty() {
        workspace::run(&mut workspace::cargo(["build", "--release", "--package", "balancer-user"]))?;
        let balancer = workspace::target()?.join("release/balancer");
        match workspace::exec(Command::new(balancer).arg("run").args(&options.arguments))? {}
    }
    packages::ensure(packages::LAB)?;
    if options.tomcat {
        packages::ensure(packages::TOMCAT)?;
    }
    let programs = workspace::Programs::build()?;
    let mut lab = Command::new(&programs.lab);
    programs.tell(&mut lab).arg("run").arg("--balancer").arg(&programs.balancer).args(lab_options(options));
    match workspace::exec(&mut lab)? {}
}

fn lab_options(options: &Options) -> Vec<&'static str> {
    let hook = options.hook.into_iter().flat_map(|hook| ["--hook", hook.name()]);
    options.tomcat.then_some("--tomcat").into_iter().chain(hook).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn the_lab_gets_what_was_asked_for() {
        for (line, lab, director) in [
            (&["x"][..], &[][..], &[][..]),
            (&["x", "--tomcat"], &["--tomcat"], &[]),
            (&["x", "--hook", "xdp", "--tomcat"], &["--tomcat", "--hook", "xdp"], &[]),
            (&["x", "--", "--config", "f"], &[], &["--config", "f"]),
        ] {
            let options = Line::try_parse_from(line).unwrap_or_else(|error| panic!("{line:?}: {error}")).options;
            assert_eq!(lab_options(&options), lab, "{line:?}");
            assert_eq!(options.arguments, director, "{line:?}");
        }
    }

    #[test]
    fn the_director_itself_takes_no_options_of_the_lab() {
        for line in [&["x", "--tomcat", "--", "--config", "f"][..], &["x", "--hook", "both"], &["x", "stray"]] {
            assert!(Line::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
