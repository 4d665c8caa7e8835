//! Debian's packages, unpacked below the target folder instead of installed: kernels, busybox, and the emulator where the
//! machine has none. (Installing it would take away other versions of its parts.)

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::series::Series;
use crate::{apt, machine::has_program, progress};

/// What modules the guest can load: the network's, and what those need. The rest of a kernel's would only take time.
const MODULES: [&str; 4] = ["net", "lib", "crypto", "drivers/net/veth.ko*"];

/// QEMU, and how it finds its files.
pub(super) struct Emulator {
    program: PathBuf,
    /// Where it is unpacked, if it is not the machine's own.
    root: Option<PathBuf>,
}

/// An unpacked kernel.
pub(super) struct Kernel {
    /// As `uname -r` will say it.
    pub(super) release: String,
    pub(super) image: PathBuf,
    /// The folder of this release's modules, with the lists that `modprobe` wants.
    pub(super) modules: PathBuf,
}

impl Emulator {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(root) = &self.root {
            let libraries = ["usr/lib", "lib"].map(|folder| root.join(folder).join("x86_64-linux-gnu"));
            let libraries: Vec<_> = libraries.iter().map(|folder| folder.to_string_lossy()).collect();
            command.env("LD_LIBRARY_PATH", libraries.join(":"));
            for data in ["qemu", "seabios"] {
                command.arg("-L").arg(root.join("usr/share").join(data));
            }
        }
        command
    }
}

/// This machine's emulator, or Debian's.
pub(super) fn emulator() -> Result<Emulator> {
    const NAME: &str = "qemu-system-x86_64";
    if has_program(NAME) {
        return Ok(Emulator { program: NAME.into(), root: None });
    }
    let root = unpacked("qemu", "qemu-system-x86", apt::download_with_dependencies, |_| Ok(()))?;
    Ok(Emulator { program: root.join("usr/bin").join(NAME), root: Some(root) })
}

/// A shell and the small programs of a system, in one file that needs no library.
pub(super) fn busybox() -> Result<PathBuf> {
    let root = unpacked("busybox", "busybox-static", apt::download, |_| Ok(()))?;
    Ok(root.join("bin/busybox"))
}

/// The newest kernel of a series: the one that is unpacked already, or the archive's.
pub(super) fn kernel(series: Series, busybox: &Path) -> Result<Kernel> {
    let name = format!("linux-{series}");
    let root = if super::folder()?.join(&name).exists() {
        super::folder()?.join(&name)
    } else {
        unpacked(&name, &newest(series)?, apt::download, |root| prepare_modules(root, busybox))?
    };
    let modules = only_entry(&root.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Kernel { image: root.join("boot").join(format!("vmlinuz-{release}")), release, modules })
}

/// The package of the newest kernel of a series. Those for clouds are the same kernels with fewer drivers.
fn newest(series: Series) -> Result<String> {
    let prefix = format!("linux-image-{series}.");
    let names = apt::names(&prefix)?;
    newest_of(&names, apt::is_available).with_context(|| {
        format!(
            "Debian's archives that this machine uses have no kernel {series}: Debian 12 has 6.1, and 6.12 among its security \
             updates (`apt-cache pkgnames {prefix}`)"
        )
    })
}

fn newest_of(names: &[String], available: impl Fn(&str) -> bool) -> Option<String> {
    let mut names: Vec<_> = names.iter().filter(|name| name.ends_with("-cloud-amd64")).collect();
    names.sort_by_key(|name| {
        let digits = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
        digits.map(|digits| digits.parse::<u64>().unwrap_or(0)).collect::<Vec<_>>()
    });
    names.into_iter().rev().find(|name| available(name)).cloned()
}

/// Keeps the modules that guests may want, as the plain files that busybox loads, and lists what each depends on.
fn prepare_modules(root: &Path, busybox: &Path) -> Result<()> {
    let modules = only_entry(&root.join("lib/modules"))?;
    let release = modules.file_name().unwrap_or_default();
    let script = r#"
        set -e
        cd "$1"
        mv kernel all
        for part in $2; do
            for from in all/$part; do
                to=kernel/${from#all/}
                mkdir -p "${to%/*}"
                mv "$from" "$to"
            done
        done
        rm -r all
        find kernel -name '*.xz' -exec "$0" unxz {} +
        "$0" depmod -b "$3" "$4"
    "#;
    let mut shell = Command::new(busybox);
    shell.args(["sh", "-c", script]).arg(busybox).arg(&modules).arg(MODULES.join(" ")).arg(root).arg(release);
    progress::run(&format!("prepare the modules of {}", release.to_string_lossy()), &mut shell)
}

/// The folder `name`, into which a package is unpacked if it was not before. It gets its name last, so that what was
/// interrupted is begun again.
fn unpacked(
    name: &str,
    package: &str,
    download: fn(&str, &Path) -> Result<()>,
    prepare: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let folder = super::folder()?;
    let (done, half) = (folder.join(name), folder.join(format!("{name}.half")));
    if done.exists() {
        return Ok(done);
    }
    if half.exists() {
        fs::remove_dir_all(&half).with_context(|| format!("remove {}", half.display()))?;
    }
    let archives = half.join("archives");
    fs::create_dir_all(&archives).with_context(|| format!("create {}", archives.display()))?;
    download(package, &archives)?;
    let mut count = 0;
    for entry in fs::read_dir(&archives).context("list what was downloaded")? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let output =
                Command::new("dpkg-deb").arg("--extract").arg(&path).arg(&half).output().context("start dpkg-deb")?;
            ensure!(output.status.success(), "unpack {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
            count += 1;
        }
    }
    ensure!(count > 0, "apt-get downloaded no package for {package}");
    fs::remove_dir_all(&archives).context("remove what was unpacked")?;
    prepare(&half)?;
    fs::rename(&half, &done).with_context(|| format!("rename to {}", done.display()))?;
    Ok(done)
}

fn only_entry(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    match <[PathBuf; 1]>::try_from(paths) {
        Ok([path]) => Ok(path),
        Err(paths) => bail!("{} should have one entry, and has {}", folder.display(), paths.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_kernel_counts_by_numbers() {
        let names = [
            "linux-image-6.1.0-9-cloud-amd64",
            "linux-image-6.1.0-56-cloud-amd64",
            "linux-image-6.1.0-100-cloud-amd64",
            "linux-image-6.1.0-200-amd64",
            "linux-image-6.1.0-200-cloud-amd64-unsigned",
        ]
        .map(str::to_owned);
        assert_eq!(newest_of(&names, |_| true).as_deref(), Some("linux-image-6.1.0-100-cloud-amd64"));
        let gone = |name: &str| !name.contains("-100-");
        assert_eq!(newest_of(&names, gone).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest_of(&[], |_| true), None);
    }
}
