//! What this machine is and has: root or not, a program on its path or not.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};

/// Whether this process may do what only root may. `/proc/self` belongs to the effective user.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Fails with the command that would work, so that nobody waits for a build first.
pub(crate) fn need_root(what: &str, command: &str) -> Result<()> {
    ensure!(
        is_root(),
        "{what} needs root (network namespaces and BPF programs): `sudo -E env \"PATH=$PATH\" {command}`"
    );
    Ok(())
}

/// Whether a program can be started by its name.
pub(crate) fn has_program(name: &str) -> bool {
    program(name).is_some()
}

/// The program that is started by a name. Administrators' programs are not on everybody's `PATH`.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(Into::into);
    env::split_paths(&path).chain(administrators).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Whether this runs for a CI, where nothing may be left out silently.
pub(crate) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}

/// Mounts the file system that pinned programs and maps live in, if it is not there yet.
pub(crate) fn mount_bpffs() -> Result<()> {
    const POINT: &str = "/sys/fs/bpf";
    if has_bpffs(&fs::read_to_string("/proc/self/mounts")?, POINT) {
        return Ok(());
    }
    ensure!(Path::new(POINT).is_dir(), "{POINT} is missing: this kernel has no BPF, or sysfs is not mounted");
    ensure!(is_root(), "the BPF file system is not mounted: as root, `mount -t bpf bpf {POINT}`");
    crate::progress::run(
        "mount the BPF file system",
        std::process::Command::new("mount").args(["-t", "bpf", "bpf", POINT]),
    )
}

/// `mounts` is `/proc/self/mounts`: device, mount point, type, …
fn has_bpffs(mounts: &str, point: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ');
        (fields.nth(1), fields.next()) == (Some(point), Some("bpf"))
    })
}

/// Says something to the person at the terminal. Standard output belongs to what is run.
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bpf_file_system_counts_only_at_its_place() {
        for (mounts, expected) in [
            ("", false),
            ("bpf /sys/fs/bpf bpf rw,relatime 0 0\n", true),
            ("sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw 0 0\n", true),
            ("bpf /run/cilium/bpffs bpf rw 0 0\n", false),
            ("tmpfs /sys/fs/bpf tmpfs rw 0 0\n", false),
        ] {
            assert_eq!(has_bpffs(mounts, "/sys/fs/bpf"), expected, "{mounts}");
        }
    }

    #[test]
    fn a_program_is_found_by_name_only() {
        assert!(has_program("sh"));
        assert!(!has_program("no-such-program-anywhere"));
    }
}
