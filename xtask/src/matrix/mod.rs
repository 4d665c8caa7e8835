//! `cargo xtask test --kernel SERIES`: other kernels than this machine's, Debian's own, booted in an emulated machine.
//!
//! In the guest run, as root: the verifier against its budgets, the packet fixtures, and a few stories end to end. Nothing is
//! installed: kernel, emulator and busybox are unpacked below the target folder.

mod binaries;
mod console;
mod debian;
mod guest;
mod image;
mod series;
mod steps;

pub(crate) use series::Kernel;

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{packages, workspace};
use binaries::Binaries;
use series::Series;
use steps::Step;

/// The tests' programs and what the guest is made of, for all kernels of a run.
pub(crate) struct Matrix {
    binaries: Binaries,
    emulator: debian::Emulator,
    busybox: std::path::PathBuf,
    steps: Vec<Step>,
}

impl Matrix {
    /// Builds and downloads what all guests share. With a `filter` the guests run the tests that it names, and no others.
    pub(crate) fn prepare(filter: &[String]) -> Result<Self> {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "other kernels are run on x86-64 only: the guest runs this machine's own programs"
        );
        packages::ensure(packages::GUEST)?;
        Ok(Self {
            emulator: debian::emulator()?,
            busybox: debian::busybox()?,
            binaries: Binaries::build()?,
            steps: steps::steps(filter),
        })
    }

    /// Boots a kernel and runs the steps.
    pub(crate) fn run(&self, series: Series) -> Result<()> {
        let kernel = debian::kernel(series, &self.busybox)?;
        let folder = folder()?.join(format!("run-{series}"));
        let image = image::build(&folder, &kernel, &self.busybox, &self.binaries, &self.steps)?;
        guest::run(&self.emulator, &kernel, &image, &folder.join("console.log"), &self.steps)
            .with_context(|| format!("Linux {series} ({})", kernel.release))
    }
}

/// Where all of this lies.
fn folder() -> Result<std::path::PathBuf> {
    let folder = workspace::target()?.join("xtask/kernels");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(folder)
}
