//! Builds the kernel program by a toolchain that was found. The build script does that for the daemon, xtask for other revisions.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::toolchain::{Linker, Toolchain, probe};

/// The package and its program.
pub(crate) const PROGRAM: &str = "balancer-ebpf";

/// What is built for which machine.
pub(crate) struct Target<'a> {
    /// As rustc calls the processor.
    pub(crate) arch: &'a str,
    pub(crate) is_big_endian: bool,
}

impl Target<'_> {
    /// The kernel's own one, by the machine's byte order.
    fn name(&self) -> &'static str {
        if self.is_big_endian { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
    }
}

/// The command, to be run inside the workspace, and the file that it makes below `folder`.
pub(crate) fn build(
    toolchain: &Toolchain,
    linker: &Linker,
    target: &Target<'_>,
    folder: &Path,
) -> Result<(Command, PathBuf)> {
    let flags = [
        // aya-ebpf reads the registers of the machine that the program will run on.
        &format!("--cfg=bpf_target_arch=\"{}\"", target.arch),
        "-Ctarget-cpu=v3",
        // The kernel wants types (BTF), and they are made from full debug information.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // The verifier takes these on x86-64 and arm64 (HAVE_EFFICIENT_UNALIGNED_ACCESS), but for the stack, where nothing is misaligned.
        // Without, each access to a packet would be made byte by byte. LLVM before 22 does not know it and says so, no more.
        "-Clink-arg=--cpu-features=+allows-misaligned-mem-access",
        // With that order, which nobody here asks for, LLVM makes loops over bytes of whatever is set or moved.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ];
    // rustc looks for its linker on PATH, where cargo's bin folder may be missing.
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = linker.path.parent().map(PathBuf::from);
    let path = env::join_paths(env::split_paths(&path).chain(beside)).context("add bpf-linker's folder to PATH")?;

    let mut cargo = probe::cargo(toolchain);
    cargo
        .args(["build", "--quiet", "--release", "--package", PROGRAM, "--bins"])
        .args(["--target", target.name(), "-Z", "build-std=core", "--target-dir"])
        .arg(folder)
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A compiler that is not a nightly builds core from source only if told so.
        .env("RUSTC_BOOTSTRAP", "1");
    // The outer cargo's compiler is not the one wanted here.
    for inherited in ["RUSTC", "RUSTDOC", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(inherited);
    }
    Ok((cargo, folder.join(target.name()).join("release").join(PROGRAM)))
}
