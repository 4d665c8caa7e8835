//! The guest's file system: one archive that the kernel unpacks into memory, with what the tests need and nothing else.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{binaries::Binaries, debian::Kernel, steps::Step};
use crate::{machine, progress};

/// The guest's first process.
const INIT: &str = include_str!("init.sh");
/// Programs that the lab starts, and must be of this machine: busybox has other ones by these names.
const TOOLS: [&str; 2] = ["ip", "ethtool"];
/// Programs that single tests start.
const MORE_TOOLS: [&str; 5] = ["wrk", "curl", "nft", "setpriv", "unshare"];
/// Where they are.
const BIN: &str = "usr/local/bin";

/// Builds the archive in `folder`, anew each time.
pub(super) fn build(
    folder: &Path,
    kernel: &Kernel,
    busybox: &Path,
    binaries: &Binaries,
    steps: &[Step],
) -> Result<PathBuf> {
    let root = folder.join("root");
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    for empty in ["bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "t/deps", BIN] {
        fs::create_dir_all(root.join(empty)).with_context(|| format!("create {empty} in {}", root.display()))?;
    }

    copy(busybox, &root.join("bin/busybox"))?;
    symlink("/bin/busybox", root.join("sbin/modprobe")).context("link modprobe to busybox")?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/:/bin/sh\n").context("write /etc/passwd")?;
    write_program(&root.join("init"), INIT)?;
    write_program(&root.join("steps"), &script(steps))?;
    copy_tree(&kernel.modules, &root.join("lib/modules").join(&kernel.release))?;

    let mut linked = Vec::new();
    for tool in TOOLS {
        let path = machine::program(tool).with_context(|| format!("`{tool}` is missing"))?;
        copy(&path, &root.join(BIN).join(tool))?;
        linked.push(path);
    }
    for (tool, path) in MORE_TOOLS.iter().filter_map(|tool| Some((tool, machine::program(tool)?))) {
        copy(&path, &root.join(BIN).join(tool))?;
        linked.push(path);
    }
    let mut programs: Vec<_> = binaries.tests.iter().map(|(name, path)| (format!("deps/{name}"), path)).collect();
    let release =
        [("balancer", &binaries.programs.balancer), ("lab", &binaries.programs.lab), ("demo", &binaries.demo)];
    programs.extend(release.map(|(name, path)| (name.to_owned(), path)));
    for (name, path) in programs {
        copy_stripped(path, &root.join("t").join(name))?;
        linked.push(path.clone());
    }
    for library in libraries(&linked)? {
        copy(&library, &root.join(library.strip_prefix("/").unwrap_or(&library)))?;
    }

    let archive = folder.join("initramfs.cpio");
    let mut pack = Command::new(busybox);
    pack.args(["sh", "-c", r#"find . | "$0" cpio -o -H newc >"$1""#]).arg(busybox).arg(&archive).current_dir(&root);
    progress::run(&format!("pack the guest of Linux {}", kernel.release), &mut pack)?;
    fs::remove_dir_all(&root).with_context(|| format!("remove {}", root.display()))?;
    Ok(archive)
}

/// A shell script that runs the steps, each between two lines that name it.
fn script(steps: &[Step]) -> String {
    let mut script = "#!/bin/sh\n".to_owned();
    for (index, Step { program, filter, .. }) in steps.iter().enumerate() {
        let filter: String = filter.iter().map(|name| format!(" '{}'", name.replace('\'', r"'\''"))).collect();
        // Namespaces and programs are the whole machine's, so tests take turns.
        let test = format!("/t/deps/{program} --test-threads=1 --show-output{filter}");
        let _ = writeln!(script, "echo 'xtask: begin {index}'\n{test}\necho \"xtask: end {index} $?\"");
    }
    script
}

/// The libraries of all `programs`, and the loader.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for program in programs {
        let output = Command::new("ldd").arg(program).output().context("start ldd")?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(!text.contains("not found"), "{} lacks libraries:\n{text}", program.display());
        all.extend(libraries_in(&text));
    }
    Ok(all)
}

/// The paths in what `ldd` prints: `name => /path (address)`, or `/path (address)` for the loader.
fn libraries_in(text: &str) -> impl Iterator<Item = PathBuf> {
    text.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/'))).map(PathBuf::from)
}

/// Copies what a link leads to, with the rights.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    }
    fs::copy(from, to).map(drop).with_context(|| format!("copy {} to {}", from.display(), to.display()))
}

/// Copies a program without its debug information, which would be most of the archive.
fn copy_stripped(from: &Path, to: &Path) -> Result<()> {
    let stripped = Command::new("strip").arg("--strip-debug").arg("-o").arg(to).arg(from).output();
    if stripped.is_ok_and(|output| output.status.success()) { Ok(()) } else { copy(from, to) }
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() { copy_tree(&entry.path(), &target)? } else { copy(&entry.path(), &target)? }
    }
    Ok(())
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("mark {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_between_lines_that_name_them() {
        let step = Step { title: "stories", program: "e2e", filter: vec!["flips::".to_owned(), "it's".to_owned()] };
        let script = script(&[step]);
        let lines: Vec<_> = script.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "echo 'xtask: begin 0'",
                r"/t/deps/e2e --test-threads=1 --show-output 'flips::' 'it'\''s'",
                "echo \"xtask: end 0 $?\""
            ]
        );
    }

    #[test]
    fn libraries_are_what_ldd_has_a_path_for() {
        let text = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x2)\n\t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert!(libraries_in(text).eq(expected.map(PathBuf::from)));
        assert_eq!(libraries_in("\tstatically linked\n").count(), 0);
    }
}
