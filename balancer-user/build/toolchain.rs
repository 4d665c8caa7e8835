//! Finds the compiler and the linker that build the kernel program; xtask and the daemon's build script share this file.
//!
//! The kernel's target has no prebuilt `core`, so the compiler has to come with core's source (rustup's `rust-src`,
//! Debian's `rust-web-src`). bpf-linker reads the compiler's LLVM bitcode, so its LLVM may not be older than the compiler's.
//! Only the standard library is used: a build script's dependencies are what everybody waits for.

use std::{env, fmt, path::PathBuf};

pub(crate) mod probe;

/// Names the toolchain to use, for those who want another than the one found.
pub(crate) const OVERRIDE: &str = "BALANCER_BPF_TOOLCHAIN";

/// Major and minor version of a compiler.
pub(crate) type Release = (u32, u32);

/// A toolchain that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    /// As rustup calls it; without rustup it is the one on `PATH`, and the name only serves messages.
    pub(crate) name: String,
    pub(crate) root: PathBuf,
    /// What `rustc -vV` says; `None` where core's source is missing, since then nobody needs to ask.
    pub(crate) compiler: Option<Compiler>,
}

/// The two facts about a compiler that decide whether it can build the kernel program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    pub(crate) release: Release,
    pub(crate) llvm: u32,
}

/// The bpf-linker that is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// Major version of its LLVM; `None` if it is linked statically and does not tell.
    pub(crate) llvm: Option<u32>,
}

/// Why no kernel program can be built. Each says what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The toolchain that [`OVERRIDE`] names is not there, or has no core source.
    Named(String),
    /// No toolchain has core's source.
    CoreSource,
    /// Toolchains have core's source, but the newest of them is older than the workspace asks for.
    TooOld {
        newest: Release,
        minimum: Release,
    },
    Linker,
    /// The linker cannot read what the compiler writes.
    LinkerTooOld {
        path: PathBuf,
        linker: u32,
        compiler: u32,
    },
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => write!(
                f,
                "{OVERRIDE} names the toolchain `{name}`, which is not installed or has no source of core: \
                 `rustup toolchain install {name} --component rust-src`, or unset {OVERRIDE}"
            ),
            Self::CoreSource => {
                write!(f, "no Rust toolchain here has the source of core, which the kernel program needs")
            }
            Self::TooOld { newest, minimum } => write!(
                f,
                "the newest toolchain with core's source is Rust {}.{}, and {}.{} is needed",
                newest.0, newest.1, minimum.0, minimum.1
            ),
            Self::Linker => write!(f, "bpf-linker is neither on PATH nor in cargo's bin folder"),
            Self::LinkerTooOld { path, linker, compiler } => write!(
                f,
                "{} was built with LLVM {linker} and cannot read what the compiler's LLVM {compiler} writes",
                path.display()
            ),
        }
    }
}

impl std::error::Error for Missing {}

/// Both tools, fitting each other, as they are now.
pub(crate) fn find(minimum: Release) -> Result<(Toolchain, Linker), Missing> {
    let linker = probe::linker();
    let toolchain = choose(probe::toolchains(), wanted().as_deref(), linker.as_ref().and_then(|l| l.llvm), minimum)?;
    let linker = linker.ok_or(Missing::Linker)?;
    match (linker.llvm, toolchain.compiler) {
        (Some(llvm), Some(compiler)) if llvm < compiler.llvm => {
            Err(Missing::LinkerTooOld { path: linker.path, linker: llvm, compiler: compiler.llvm })
        }
        _ => Ok((toolchain, linker)),
    }
}

/// What [`OVERRIDE`] asks for.
pub(crate) fn wanted() -> Option<String> {
    env::var(OVERRIDE).ok().filter(|name| !name.is_empty())
}

/// The best of `toolchains`: one that the linker can read, of the linker's own LLVM if possible, nightly before others
/// (build-std is its feature; others are told to allow it), then the newest.
pub(crate) fn choose(
    toolchains: Vec<Toolchain>,
    wanted: Option<&str>,
    linker_llvm: Option<u32>,
    minimum: Release,
) -> Result<Toolchain, Missing> {
    let usable =
        toolchains.into_iter().filter_map(|toolchain| toolchain.compiler.map(|compiler| (compiler, toolchain)));
    if let Some(wanted) = wanted {
        // rustup lets one leave out the host's triple, and so does this.
        return usable
            .map(|(_, toolchain)| toolchain)
            .find(|toolchain| toolchain.name == wanted || toolchain.name.starts_with(&format!("{wanted}-")))
            .ok_or_else(|| Missing::Named(wanted.to_owned()));
    }
    let (compiler, best) = usable
        .max_by_key(|(compiler, toolchain)| {
            let new_enough = compiler.release >= minimum;
            let readable = linker_llvm.is_none_or(|llvm| compiler.llvm <= llvm);
            let same = linker_llvm.is_none_or(|llvm| compiler.llvm == llvm);
            (new_enough, readable, same, toolchain.name.starts_with("nightly"), compiler.release)
        })
        .ok_or(Missing::CoreSource)?;
    if compiler.release < minimum {
        return Err(Missing::TooOld { newest: compiler.release, minimum });
    }
    Ok(best)
}
