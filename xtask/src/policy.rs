//! Keeps the packages that we install from starting their services: a test machine's nginx is ours to start.
//!
//! Debian asks `/usr/sbin/policy-rc.d` before a package starts its service. Ours says no only to installations that carry
//! our mark in their environment, so that it stands in nobody else's way, not even if we are killed and it is left behind.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

const FILE: &str = "/usr/sbin/policy-rc.d";
const MARK: &str = "BALANCER_XTASK_INSTALLS";
const SCRIPT: &str = "#!/bin/sh
# From the balancer's `cargo xtask`, and gone when it has installed its packages: those shall not start services.
[ -z \"$BALANCER_XTASK_INSTALLS\" ] || exit 101
exit 0
";

/// Packages whose service Debian enables, so that it would start with the machine.
const SERVICES: [(&str, &str); 3] =
    [("haproxy", "haproxy.service"), ("nginx-light", "nginx.service"), ("tomcat10", "tomcat10.service")];

/// The policy is in force while this lives.
pub(crate) struct NoServices {
    ours: bool,
}

impl NoServices {
    /// A policy that is there already stays: whoever runs one (containers do) has decided.
    pub(crate) fn declare() -> Result<Self> {
        if fs::read_to_string(FILE).is_ok_and(|text| text == SCRIPT) {
            return Ok(Self { ours: true });
        }
        if Path::new(FILE).exists() {
            return Ok(Self { ours: false });
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(FILE)
            .with_context(|| format!("create {FILE}"))?;
        file.write_all(SCRIPT.as_bytes()).with_context(|| format!("write {FILE}"))?;
        Ok(Self { ours: true })
    }

    /// Puts the installing command under the policy.
    pub(crate) fn bind<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env(MARK, "1")
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours {
            // Left behind, it does no harm.
            let _ = fs::remove_file(FILE);
        }
    }
}

/// Also keeps the services of the packages just `installed` from starting with the machine. By Debian's own helper, since
/// a service is enabled even where systemd comes later.
pub(crate) fn disable_services(installed: &[&str]) {
    for (package, unit) in SERVICES.iter().filter(|(package, _)| installed.contains(package)) {
        let mut helper = Command::new("deb-systemd-helper");
        // It answers only to packages. If it is not there, no service was enabled.
        let _ = helper.args(["disable", unit]).env("DPKG_MAINTSCRIPT_PACKAGE", package).output();
    }
}
