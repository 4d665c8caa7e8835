//! Builds the kernel program inside a plain `cargo build`, so that the daemon carries it.
//!
//! aya-build does nearly this, but leaves no way to name the kind of processor, and the kernel's is one on which 32-bit
//! jumps and atomic operations that return a value exist (`v3`, Linux 5.12).

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

#[path = "build/kernel.rs"]
mod kernel;
#[path = "build/toolchain.rs"]
mod toolchain;

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not as a Result of main, which under RUST_BACKTRACE would bury the compiler's words.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn embed() -> Result<()> {
    println!("cargo::rerun-if-env-changed={}", toolchain::OVERRIDE);
    // The kernel program has its own dependencies and profile, which cargo does not know to be this package's as well.
    for path in ["../balancer-ebpf", "../Cargo.lock", "../Cargo.toml", "build.rs", "build"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let minimum = toolchain::probe::parse_release(env!("CARGO_PKG_RUST_VERSION")).context("read rust-version")?;
    let (toolchain, linker) = toolchain::find(minimum)
        .context("the kernel program cannot be built; `cargo xtask setup` finds or installs what it needs")?;
    println!("cargo::rerun-if-changed={}", linker.path.display());

    let out = PathBuf::from(env::var_os("OUT_DIR").context("OUT_DIR is not set")?);
    let target = kernel::Target {
        arch: &env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?,
        is_big_endian: env::var("CARGO_CFG_TARGET_ENDIAN").is_ok_and(|endian| endian == "big"),
    };
    let (mut cargo, built) = kernel::build(&toolchain, &linker, &target, &out.join("kernel"))?;
    run(&mut cargo)
        .with_context(|| format!("build the kernel program by {} and {}", toolchain.name, linker.path.display()))?;
    // The daemon finds it under this name.
    fs::copy(&built, out.join(kernel::PROGRAM)).with_context(|| format!("copy {}", built.display()))?;
    Ok(())
}

/// Runs to the end. What the compiler says is an error's text, or else a warning: cargo shows nothing else.
fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo failed ({}):\n{said}", output.status);
    for line in said.lines() {
        println!("cargo::warning={line}");
    }
    Ok(())
}
