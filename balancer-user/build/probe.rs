//! What is installed: the facts that [`super::choose`] decides on, read from rustup, rustc and bpf-linker.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Compiler, Linker, Release, Toolchain};

/// Where a toolchain keeps core's source, below its root; `-Z build-std=core` looks there.
const CORE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// Every toolchain of rustup, or without rustup the one on `PATH`.
pub(crate) fn toolchains() -> Vec<Toolchain> {
    let roots = match output("rustup".as_ref(), &["toolchain", "list", "-v"]) {
        Some(list) => parse_list(&list),
        None => output("rustc".as_ref(), &["--print", "sysroot"])
            .map(|root| vec![("the Rust on PATH".to_owned(), PathBuf::from(root.trim()))])
            .unwrap_or_default(),
    };
    roots
        .into_iter()
        .map(|(name, root)| {
            let has_core = root.join(CORE).is_file();
            let version = has_core.then(|| output(&root.join("bin/rustc"), &["-vV"])).flatten();
            Toolchain { name, root, compiler: version.as_deref().and_then(parse_version) }
        })
        .collect()
}

/// The toolchain's cargo, to be given arguments.
pub(crate) fn cargo(toolchain: &Toolchain) -> Command {
    if output("rustup".as_ref(), &["--version"]).is_none() {
        return Command::new("cargo");
    }
    let mut cargo = Command::new("rustup");
    cargo.args(["run", &toolchain.name, "cargo"]);
    cargo
}

/// The bpf-linker on `PATH`, or where `cargo install` puts things, which need not be on it.
pub(crate) fn linker() -> Option<Linker> {
    let below = |variable| env::var_os(variable).map(|root| Path::new(&root).join("bin"));
    let home = || env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin"));
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .chain(below("CARGO_INSTALL_ROOT"))
        .chain(below("CARGO_HOME").or_else(home))
        .map(|folder| folder.join("bpf-linker"))
        .find(|candidate| candidate.is_file())
        .map(|path| Linker { llvm: fs::read(&path).ok().and_then(|program| linked_llvm(&program)), path })
}

/// The LLVM that a program says it needs: `libLLVM.so.22.1`, or `libLLVM-17.so.1` before LLVM 18.
pub(crate) fn linked_llvm(program: &[u8]) -> Option<u32> {
    const NAME: &[u8] = b"libLLVM";
    program.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME).find_map(|(at, _)| {
        let rest = &program[at + NAME.len()..];
        let version = rest.strip_prefix(b".so.").or_else(|| rest.strip_prefix(b"-"))?;
        let digits = version.iter().take_while(|byte| byte.is_ascii_digit()).count();
        std::str::from_utf8(&version[..digits]).ok()?.parse().ok()
    })
}

/// Lines like `stable-x86_64-unknown-linux-gnu (active, default) /root/.rustup/toolchains/…`: a name without blanks,
/// remarks in parentheses, and an absolute path.
pub(crate) fn parse_list(list: &str) -> Vec<(String, PathBuf)> {
    list.lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), PathBuf::from(rest[rest.find('/')?..].trim_end())))
        })
        .collect()
}

/// What `rustc -vV` says in its lines `release:` and `LLVM version:`.
pub(crate) fn parse_version(text: &str) -> Option<Compiler> {
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    let llvm = field("LLVM version: ")?.split('.').next()?.parse().ok()?;
    Some(Compiler { release: parse_release(field("release: ")?)?, llvm })
}

/// `1.96.0-nightly` and `1.95` alike.
pub(crate) fn parse_release(text: &str) -> Option<Release> {
    let mut parts = text.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn output(program: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
