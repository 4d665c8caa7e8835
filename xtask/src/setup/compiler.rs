//! Installs Debian's Rust for the web browsers: recent, and whole with core's source and the LLVM that it was built with.

use std::process::Command;

use anyhow::Result;

use crate::{apt, machine::has_program, packages, progress, toolchain::probe};

/// rustup's name for it.
pub(crate) const NAME: &str = "debian-web";
const PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// The LLVM that Debian 12 builds it with.
pub(crate) const LLVM: u32 = 22;

/// Installs the packages, and makes them a toolchain of rustup if there is one.
pub(crate) fn install() -> Result<()> {
    apt::need()?;
    packages::ensure(PACKAGES)?;
    if has_program("rustup") && !probe::toolchains().iter().any(|toolchain| toolchain.name == NAME) {
        let mut link = Command::new("rustup");
        progress::run("make Debian's Rust a toolchain of rustup", link.args(["toolchain", "link", NAME, "/usr"]))?;
    }
    Ok(())
}
