//! Finds or installs what the kernel program needs to be built: a compiler with core's source, and bpf-linker.

use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    machine::{is_root, mount_bpffs, say},
    toolchain::{self, Missing, Release, Toolchain, probe},
};

mod compiler;
mod linker;

/// Said wherever neither finding nor installing worked.
const REMEDY: &str = "\
To fix it, do one of these:
  on Debian 12:     run `cargo xtask setup` as root, which installs rustc-web, cargo-web, rust-web-src and llvm-22-dev
  with rustup:      rustup toolchain install nightly --component rust-src
                    and bpf-linker, built with that nightly's LLVM or a later one: cargo install bpf-linker";

/// `cargo xtask setup`.
pub(crate) fn command() -> Result<()> {
    ensure()?;
    // Only root runs what needs it, and only root can mount it.
    if is_root() { mount_bpffs() } else { Ok(()) }
}

/// The toolchain that builds the kernel program, installed if need be.
pub(crate) fn ensure() -> Result<Toolchain> {
    let started = Instant::now();
    let minimum = minimum()?;
    let (toolchain, linker) = match toolchain::find(minimum) {
        Ok(found) => found,
        Err(missing) => {
            say(&format!("xtask: {missing}"));
            // Found again afterwards: another bpf-linker on PATH may hide the new one.
            let installed = install(minimum, missing).and_then(|()| Ok(toolchain::find(minimum)?));
            installed.map_err(|error| anyhow!("{error:#}\n{REMEDY}"))?
        }
    };
    let compiler = toolchain.compiler.map(|c| format!("Rust {}.{}, LLVM {}", c.release.0, c.release.1, c.llvm));
    say(&format!(
        "xtask: kernel program by {} ({}) and {} ({:.1} s)",
        toolchain.name,
        compiler.unwrap_or_default(),
        linker.path.display(),
        started.elapsed().as_secs_f32()
    ));
    Ok(toolchain)
}

/// Gets what is `missing`: a compiler first, since the linker's LLVM has to suit it.
fn install(minimum: Release, missing: Missing) -> Result<()> {
    let wanted = toolchain::wanted();
    let llvm = probe::linker().and_then(|linker| linker.llvm);
    let choose = || toolchain::choose(probe::toolchains(), wanted.as_deref(), llvm, minimum);
    let chosen = match missing {
        Missing::Linker | Missing::LinkerTooOld { .. } => choose()?,
        // Whoever names a toolchain does not want another.
        Missing::Named(_) => bail!(missing),
        Missing::CoreSource | Missing::TooOld { .. } => {
            compiler::install()?;
            choose()?
        }
    };
    if toolchain::find(minimum).is_ok() {
        return Ok(());
    }
    let compiler = chosen.compiler.context("the chosen toolchain tells no version")?;
    match linker::source(compiler.llvm) {
        Some(source) => linker::install(source),
        // A nightly newer than any LLVM to be had: Debian's compiler is not, and the two then suit each other.
        None if wanted.is_none() && chosen.name != compiler::NAME => {
            compiler::install()?;
            linker::install(linker::source(compiler::LLVM).context("Debian's LLVM is not to be had")?)
        }
        None => {
            bail!("bpf-linker needs LLVM {} or later to read {}, and none is to be had", compiler.llvm, chosen.name)
        }
    }
}

/// The `rust-version` that the workspace asks for.
pub(crate) fn minimum() -> Result<Release> {
    probe::parse_release(env!("CARGO_PKG_RUST_VERSION")).context("read the workspace's rust-version")
}
