//! Where the workspace's files and build results are, and how cargo is called for it.

use std::{convert::Infallible, os::unix::process::CommandExt as _, path::PathBuf, process::Command, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

/// Cargo as the person who typed `cargo xtask` has it: by name, so that rustup's choice of a toolchain holds, and not by
/// `$CARGO`, which is the toolchain's own program behind it.
pub(crate) fn cargo<I: IntoIterator<Item: AsRef<std::ffi::OsStr>>>(arguments: I) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    command
}

/// Cargo's target folder, whoever set it (environment, configuration, or nobody).
pub(crate) fn target() -> Result<PathBuf> {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    if let Some(target) = TARGET.get() {
        return Ok(target.clone());
    }
    let output = cargo(["metadata", "--no-deps", "--format-version", "1"]).output().context("run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed:\n{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let target =
        metadata["target_directory"].as_str().ok_or_else(|| anyhow!("cargo metadata names no target folder"))?;
    Ok(TARGET.get_or_init(|| target.into()).clone())
}

/// The two release programs that lab, kernel tests and benchmarks start.
pub(crate) struct Programs {
    pub(crate) balancer: PathBuf,
    pub(crate) lab: PathBuf,
}

impl Programs {
    /// Builds both.
    pub(crate) fn build() -> Result<Self> {
        run(&mut cargo(["build", "--release", "--package", "balancer-user", "--package", "balancer-tests", "--bins"]))?;
        let release = target()?.join("release");
        Ok(Self { balancer: release.join("balancer"), lab: release.join("lab") })
    }

    /// Tells a child where they are.
    pub(crate) fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("BALANCER_BIN", &self.balancer).env("BALANCER_LAB", &self.lab)
    }
}

/// Runs to the end, with this terminal's input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("start {}", show(command)))?;
    ensure!(status.success(), "{} failed: {status}", show(command));
    Ok(())
}

/// Becomes the command, so that signals and the exit code are its own. Returns only if that fails.
pub(crate) fn exec(command: &mut Command) -> Result<Infallible> {
    let error = command.exec();
    bail!("start {}: {error}", show(command))
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    format!("`{}`", words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" "))
}
