//! `cargo xtask lint`: the format, and clippy on host and kernel code.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{
    packages,
    parts::Parts,
    progress, setup,
    toolchain::{Toolchain, probe},
    workspace,
};

pub(crate) fn command() -> Result<()> {
    let toolchain = setup::ensure()?;
    component("rustfmt", &["fmt", "--version"])?;
    component("clippy", &["clippy", "--version"])?;
    kernel_clippy(&toolchain)?;

    let mut parts = Parts::default();
    parts.run("format", || workspace::run(&mut workspace::cargo(["fmt", "--all", "--check"])));
    parts.run("clippy on the host's code", || {
        workspace::run(&mut workspace::cargo(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    parts.run("clippy on the kernel's code", || clippy_kernel(&toolchain));
    parts.finish()
}

/// The kernel program under its own target and compiler: most of it does not exist for the host.
fn clippy_kernel(toolchain: &Toolchain) -> Result<()> {
    let target_dir = workspace::target()?.join("xtask/clippy");
    let mut clippy = probe::cargo(toolchain);
    clippy
        .args(["clippy", "--package", "balancer-ebpf", "--bins", "--release"])
        .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core", "--target-dir"])
        .arg(target_dir)
        .args(["--", "-D", "warnings"])
        // As in the daemon's build script: no nightly need be at hand.
        .env("RUSTC_BOOTSTRAP", "1");
    workspace::run(&mut clippy)
}

/// A part of the host's Rust, which a minimal rustup leaves out.
fn component(name: &str, check: &[&str]) -> Result<()> {
    if workspace::cargo(check).output().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    let mut add = Command::new("rustup");
    progress::run(&format!("add {name} to Rust"), add.args(["component", "add", name]))
        .with_context(|| format!("{name} is missing: `rustup component add {name}`, or your distribution's package"))
}

/// clippy for the compiler of the kernel program. It has to be that compiler's own.
fn kernel_clippy(toolchain: &Toolchain) -> Result<()> {
    if toolchain.root.join("bin/cargo-clippy").is_file() {
        return Ok(());
    }
    if toolchain.root == std::path::Path::new("/usr") {
        return packages::ensure(&["rust-web-clippy"]);
    }
    let mut add = Command::new("rustup");
    add.args(["component", "add", "clippy", "--toolchain", &toolchain.name]);
    progress::run("add clippy to the kernel program's Rust", &mut add)
        .with_context(|| format!("the toolchain {} has no clippy, and none can be had", toolchain.name))
}
