//! Builds bpf-linker against an LLVM that can read what the compiler writes.

use std::{env, ops::RangeInclusive, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{apt, packages, progress, workspace};

const VERSION: &str = "0.13.0";
/// The LLVMs for which this version has a feature.
const SUPPORTED: RangeInclusive<u32> = 21..=23;

/// Where the LLVM comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Present(u32),
    Package(u32),
}

/// An LLVM for a compiler that has LLVM `compiler`: its own or a later one, and rather one that is there.
pub(crate) fn source(compiler: u32) -> Option<Source> {
    choose(compiler, |llvm| prefix(llvm).is_some(), |llvm| apt::is_available(&package(llvm)))
}

fn choose(compiler: u32, is_present: impl Fn(u32) -> bool, is_available: impl Fn(u32) -> bool) -> Option<Source> {
    let fitting = || SUPPORTED.filter(|llvm| *llvm >= compiler);
    let present = fitting().find(|llvm| is_present(*llvm)).map(Source::Present);
    present.or_else(|| fitting().find(|llvm| is_available(*llvm)).map(Source::Package))
}

/// Installs the LLVM if it is a package, and the linker into cargo's bin folder.
pub(crate) fn install(source: Source) -> Result<()> {
    let llvm = match source {
        Source::Present(llvm) => llvm,
        Source::Package(llvm) => {
            packages::ensure(&[Box::leak(package(llvm).into_boxed_str())])?;
            llvm
        }
    };
    let prefix = prefix(llvm).with_context(|| format!("LLVM {llvm} is installed, but where?"))?;
    let mut install = workspace::cargo(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"]);
    install
        .args(["--no-default-features", "--features", &format!("llvm-{llvm}")])
        .env("LLVM_PREFIX", prefix)
        // Its build is none of this workspace's, and would not be thrown away there.
        .env_remove("CARGO_TARGET_DIR");
    progress::run(&format!("build bpf-linker {VERSION} with LLVM {llvm} (a minute or two)"), &mut install)
}

fn package(llvm: u32) -> String {
    format!("llvm-{llvm}-dev")
}

/// Where this LLVM's library to link with is: as Debian lays it out, or where `LLVM_PREFIX` says.
fn prefix(llvm: u32) -> Option<PathBuf> {
    let named = env::var_os("LLVM_PREFIX").map(PathBuf::from);
    let debian = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    let has_library = |prefix: &PathBuf| {
        // `libLLVM.so` alone does not tell its version.
        let library = format!("libLLVM.so.{llvm}.");
        let files =
            ["lib64", "lib"].iter().filter_map(|folder| prefix.join(folder).read_dir().ok()).flatten().flatten();
        let names: Vec<_> = files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
        names.iter().any(|name| name == "libLLVM.so") && names.iter().any(|name| name.starts_with(&library))
    };
    named.into_iter().chain([debian]).find(has_library)
}

#[cfg(test)]
mod tests {
    use super::{Source::*, *};

    #[test]
    fn the_linker_gets_an_llvm_that_reads_the_compilers() {
        for (compiler, present, available, expected) in [
            (22, &[22][..], &[][..], Some(Present(22))),
            (22, &[], &[22], Some(Package(22))),
            (22, &[], &[21], None),
            (21, &[22], &[21], Some(Present(22))),
            (22, &[14], &[19, 22], Some(Package(22))),
            (23, &[22], &[22], None),
            (20, &[19], &[21, 22], Some(Package(21))),
        ] {
            let chosen = choose(compiler, |llvm| present.contains(&llvm), |llvm| available.contains(&llvm));
            assert_eq!(chosen, expected, "LLVM {compiler}, {present:?} there, {available:?} to be had");
        }
    }
}
