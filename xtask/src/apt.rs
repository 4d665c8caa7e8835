//! Debian's installer.

use std::{path::Path, process::Command, sync::Once};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    machine::{has_program, is_root},
    policy::{self, NoServices},
    progress,
};

/// Fails unless this is a machine whose packages we can install.
pub(crate) fn need() -> Result<()> {
    match (has_program("apt-get"), is_root()) {
        (true, true) => Ok(()),
        (true, false) => bail!("only root can install Debian's packages"),
        (false, _) => bail!("xtask knows how to install packages on Debian, and this is another system"),
    }
}

/// Installs all of `packages`. Their services are not started, now or with the machine.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    need()?;
    update();
    let policy = NoServices::declare()?;
    let mut command = apt_get(&["install", "--yes", "--no-install-recommends", "--no-remove"]);
    let result = progress::run(&format!("install {}", shortened(packages)), policy.bind(command.args(packages)));
    policy::disable_services(packages);
    result
}

/// Whether apt knows the package.
pub(crate) fn is_available(package: &str) -> bool {
    if !has_program("apt-get") || !is_root() {
        return false;
    }
    update();
    let output = Command::new("apt-cache").args(["policy", package]).env("LC_ALL", "C").output();
    output.is_ok_and(|output| has_candidate(&String::from_utf8_lossy(&output.stdout)))
}

/// The names of all packages that begin so.
pub(crate) fn names(prefix: &str) -> Result<Vec<String>> {
    need()?;
    update();
    let output = Command::new("apt-cache").args(["pkgnames", prefix]).output().context("start apt-cache")?;
    ensure!(output.status.success(), "apt-cache failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// Puts a package's file into a folder, and installs nothing.
pub(crate) fn download(package: &str, folder: &Path) -> Result<()> {
    need()?;
    update();
    progress::run(&format!("download {package}"), apt_get(&["download", package]).current_dir(folder))
}

/// The same, and the files of all that it needs and that is not installed.
pub(crate) fn download_with_dependencies(package: &str, folder: &Path) -> Result<()> {
    need()?;
    update();
    // apt-get keeps here what has not come down as a whole.
    let partial = folder.join("partial");
    std::fs::create_dir_all(&partial).with_context(|| format!("create {}", partial.display()))?;
    let cache = format!("Dir::Cache::archives={}", folder.display());
    let mut command = apt_get(&["install", "--download-only", "--yes", "--no-install-recommends", "-o", &cache]);
    progress::run(&format!("download {package}"), command.arg(package))
}

/// Asks for the present lists of packages, once. Third parties' archives often fail; what counts is whether the
/// installation works, and that speaks for itself.
fn update() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if let Err(error) = progress::run("update the lists of packages", &mut apt_get(&["update"])) {
            crate::machine::say(&format!("xtask: going on with the lists as they are: {error:#}"));
        }
    });
}

/// apt-get, which waits for another one instead of failing, and asks no questions.
fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(["-o", "DPkg::Lock::Timeout=600"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

fn has_candidate(policy: &str) -> bool {
    policy.lines().any(|line| line.trim_start().strip_prefix("Candidate: ").is_some_and(|version| version != "(none)"))
}

fn shortened(packages: &[&str]) -> String {
    match packages {
        [first, second, third, _, rest @ ..] => format!("{first} {second} {third} and {} more", rest.len() + 1),
        few => few.join(" "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_has_a_candidate_or_not() {
        for (policy, expected) in [
            ("", false),
            ("llvm-23-dev:\n  Installed: (none)\n  Candidate: (none)\n", false),
            ("llvm-22-dev:\n  Installed: (none)\n  Candidate: 1:22.1.8-1\n", true),
        ] {
            assert_eq!(has_candidate(policy), expected, "{policy}");
        }
    }

    #[test]
    fn many_packages_make_a_short_title() {
        assert_eq!(shortened(&["a", "b"]), "a b");
        assert_eq!(shortened(&["a", "b", "c", "d", "e"]), "a b c and 2 more");
    }
}
