//! Builds the kernel program inside a plain `cargo build`, so that the daemon carries it.
//!
//! aya-build does nearly this, but leaves no way to name the kind of processor, and the kernel's is one on which 32-bit
//! jumps and atomic operations that return a value exist (`v3`, Linux 5.12).

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, ensure};

#[path = "build/toolchain.rs"]
mod toolchain;

/// The package and its program; the daemon finds it in `OUT_DIR` under this name.
const PROGRAM: &str = "balancer-ebpf";

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
    let target = match env::var("CARGO_CFG_TARGET_ENDIAN").as_deref() {
        Ok("big") => "bpfeb-unknown-none",
        _ => "bpfel-unknown-none",
    };
    build(&toolchain, &linker, target, &out.join("kernel"))
        .with_context(|| format!("build the kernel program by {} and {}", toolchain.name, linker.path.display()))?;
    let built = out.join("kernel").join(target).join("release").join(PROGRAM);
    fs::copy(&built, out.join(PROGRAM)).with_context(|| format!("copy {}", built.display()))?;
    Ok(())
}

fn build(toolchain: &toolchain::Toolchain, linker: &toolchain::Linker, target: &str, folder: &Path) -> Result<()> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?;
    let flags = [
        // aya-ebpf reads the registers of the machine that the program will run on.
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Ctarget-cpu=v3",
        // The kernel wants types (BTF), and they are made from full debug information.
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
    ];
    // rustc looks for its linker on PATH, where cargo's bin folder may be missing.
    let path = env::var_os("PATH").unwrap_or_default();
    let beside = linker.path.parent().map(PathBuf::from);
    let path = env::join_paths(env::split_paths(&path).chain(beside)).context("add bpf-linker's folder to PATH")?;

    let mut cargo = toolchain::probe::cargo(toolchain);
    cargo
        .args(["build", "--quiet", "--release", "--package", PROGRAM, "--bins"])
        .args(["--target", target, "-Z", "build-std=core", "--target-dir"])
        .arg(folder)
        .env("PATH", path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        // A compiler that is not a nightly builds core from source only if told so.
        .env("RUSTC_BOOTSTRAP", "1");
    // The outer cargo's compiler is not the one wanted here.
    for inherited in ["RUSTC", "RUSTDOC", "RUSTC_WORKSPACE_WRAPPER"] {
        cargo.env_remove(inherited);
    }
    run(&mut cargo)
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
