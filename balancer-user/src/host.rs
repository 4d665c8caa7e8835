//! What the host is: kernel, privileges, sysctls.

#![forbid(unsafe_code)]

use std::{fs, net::IpAddr};

use anyhow::Context as _;

use crate::{exit::Failure, family::Family};

/// The oldest kernel that the programs are made for. They ask for no more than 5.18 has (`bpf_loop` is of 5.17,
/// `bpf_xdp_load_bytes` of 5.18), but this is the oldest long-term kernel above it, and the oldest whose verifier takes them:
/// `cargo xtask test --kernel 6.1`.
pub const OLDEST_KERNEL: (u32, u32) = (6, 1);

// include/uapi/linux/capability.h.
const CAP_NET_ADMIN: u32 = 12;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// The running kernel's release, as `uname -r` says it.
pub fn kernel_release() -> anyhow::Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
    Ok(release.trim().to_owned())
}

/// Refuses a kernel that is too old.
pub fn check_kernel(release: &str) -> Result<(), Failure> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let version = match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor),
        // An unreadable release is no reason not to try.
        _ => return Ok(()),
    };
    if version >= OLDEST_KERNEL {
        return Ok(());
    }
    let (major, minor) = OLDEST_KERNEL;
    Err(Failure::refused(
        format!("the kernel {release} is too old: the balancer needs Linux {major}.{minor} or newer"),
        "boot a newer kernel (Debian 12, Ubuntu 24.04 and RHEL 10 have one)",
    ))
}

/// Refuses to go on without the right to load programs and attach them.
pub fn check_privileges() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status").context("read /proc/self/status")?;
    if may_load(&status) {
        return Ok(());
    }
    Err(Failure::refused(
        "this needs root: loading programs into the kernel takes CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON",
        "run it as root (sudo balancer run …), or give the service these capabilities",
    ))
}

/// Whether the effective capabilities in `/proc/self/status` suffice.
fn may_load(status: &str) -> bool {
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default();
    [CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF].iter().all(|cap| effective >> cap & 1 == 1)
}

/// Reads `net.ipv4.conf.<interface>.<key>`, or the same of `ipv6`.
pub fn sysctl(family: Family, interface: &str, key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/net/{}/conf/{interface}/{key}", family.sysctl())).ok()?;
    Some(text.trim().to_owned())
}

/// Whether the host itself has `address`: only then can a socket be bound to it.
pub fn is_local(address: IpAddr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// The user that calls itself `uid`.
pub fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels() {
        for good in ["6.1.0-18-amd64", "6.18.44-fc-v595", "7.0-rc1", "10.2", "unreadable"] {
            assert!(check_kernel(good).is_ok(), "{good}");
        }
        for old in ["5.15.0-91-generic", "6.0.12", "4.19"] {
            let error = check_kernel(old).unwrap_err();
            assert!(error.error.contains(old) && error.error.contains("6.1 or newer"), "{error}");
        }
    }

    #[test]
    fn capabilities() {
        assert!(may_load("Name:\tx\nCapEff:\t000001ffffffffff\n"));
        assert!(!may_load("Name:\tx\nCapEff:\t0000000000000000\n"));
        // All but CAP_BPF.
        assert!(!may_load("CapEff:\t0000017fffffffff\n"));
        assert!(!may_load(""));
    }

    #[test]
    fn users() {
        assert_eq!(user_name(0).as_deref(), Some("root"));
    }
}
