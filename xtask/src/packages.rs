//! Debian packages that tests and benchmarks need: what is missing is installed.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::{apt, machine::has_program};

/// For the lab and the commands it tells people to try.
pub(crate) const LAB: &[&str] = &["iproute2", "curl", "ethtool"];
/// For the tests in the kernel and the benchmarks.
pub(crate) const TESTS: &[&str] = &[
    "iproute2",
    "curl",
    "ethtool",
    "tcpdump",
    "wrk",
    "apache2-utils",
    "haproxy",
    "nginx-light",
    "nftables",
    "bpftool",
];
/// For the guests of `cargo xtask test --kernel`, which run this machine's programs.
pub(crate) const GUEST: &[&str] = &["iproute2", "ethtool", "curl", "wrk"];
/// The real clients that have no other use here. `java` runs a program of one source file with the development kit only.
pub(crate) const CLIENTS: &[&str] =
    &["python3-requests", "python3-aiohttp", "default-jdk-headless", "chromium-headless-shell"];
/// The real application server; it brings a Java runtime along.
pub(crate) const TOMCAT: &[&str] = &["tomcat10"];

/// A package counts as present if the program that it is for is, whoever put it there: somebody with `nginx-full` shall
/// not have it replaced by `nginx-light`, and on other distributions there is nothing else to ask.
const PROGRAMS: [(&str, &str); 12] = [
    ("apache2-utils", "ab"),
    ("bpftool", "bpftool"),
    ("chromium-headless-shell", "chromium-headless-shell"),
    ("curl", "curl"),
    ("default-jdk-headless", "javac"),
    ("ethtool", "ethtool"),
    ("haproxy", "haproxy"),
    ("iproute2", "ip"),
    ("nftables", "nft"),
    ("nginx-light", "nginx"),
    ("tcpdump", "tcpdump"),
    ("wrk", "wrk"),
];

/// Installs those of `packages` that are missing. Their services are not started, now or with the machine.
pub(crate) fn ensure(packages: &[&'static str]) -> Result<()> {
    let absent: Vec<_> = packages.iter().copied().filter(|package| !has_its_program(package, has_program)).collect();
    let missing = if absent.is_empty() { absent } else { not_listed(&absent, &dpkg_status(&absent)) };
    if missing.is_empty() {
        return Ok(());
    }
    apt::install(&missing).with_context(|| format!("missing packages: {}", missing.join(" ")))
}

fn dpkg_status(packages: &[&str]) -> String {
    // It fails if it does not know one of them, but still tells about the others.
    let output =
        Command::new("dpkg-query").args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(packages).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}

fn has_its_program(package: &str, has: impl Fn(&str) -> bool) -> bool {
    PROGRAMS.iter().any(|(name, program)| *name == package && has(program))
}

/// Those of `packages` that dpkg's list does not call installed.
fn not_listed<'p>(packages: &[&'p str], status: &str) -> Vec<&'p str> {
    let installed = |package: &str| status.lines().any(|line| line.split_once(' ') == Some((package, "installed")));
    packages.iter().copied().filter(|package| !installed(package)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_there_if_its_program_is_or_dpkg_says_so() {
        assert!(has_its_program("nginx-light", |program| program == "nginx"));
        assert!(!has_its_program("nginx-light", |_| false));
        assert!(!has_its_program("tomcat10", |_| true), "no program stands for it");

        let status = "curl installed\ntomcat10 config-files\nwrk not-installed\n";
        assert_eq!(not_listed(&["curl", "tomcat10", "wrk", "unheard-of"], status), ["tomcat10", "wrk", "unheard-of"]);
    }

    #[test]
    fn every_service_and_program_belongs_to_a_package_we_install() {
        for (package, _) in PROGRAMS {
            assert!([TESTS, CLIENTS].concat().contains(&package), "{package}");
        }
    }
}
