//! nginx as the application: a small file and large ones, and a page that issues sessions.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use super::filled;
use crate::applications::wait_until_healthy;
use crate::lab::Lab;
use crate::lab::config::APPLICATION_PORT;
use crate::lab::process::Process;

/// Bytes of the small file.
const FILE: usize = 128;
/// The large ones: name, and bytes.
pub(in crate::bench) const LARGE: [(&str, u64); 2] = [("1MB", 1_000_000), ("100MB", 100_000_000)];

/// Starts one on every backend host.
pub(in crate::bench) fn start_all(lab: &Lab) -> Result<Vec<Process>> {
    (1..=lab.backends().len())
        .map(|index| start(lab, index).with_context(|| format!("start nginx on backend host {index}")))
        .collect()
}

fn start(lab: &Lab, index: usize) -> Result<Process> {
    let node = lab.backend(index);
    let folder = lab.dir().join(format!("nginx-{}", node.role()));
    let pages = folder.join("pages");
    fs::create_dir_all(&pages).with_context(|| format!("create {}", pages.display()))?;
    fs::write(pages.join("index.html"), "x".repeat(FILE)).context("write the page")?;
    for (name, bytes) in LARGE {
        // Nothing is behind it: what is to be measured is not a disk.
        fs::File::create(pages.join(name)).and_then(|file| file.set_len(bytes)).context("make a large file")?;
    }
    let config = folder.join("nginx.conf");
    fs::write(&config, text(node.role(), &folder.display().to_string())).context("write nginx.conf")?;
    let mut command = node.command("nginx");
    command.args(["-e", "stderr", "-p"]).arg(&folder).arg("-c").arg(&config);
    let mut process = node.spawn("nginx", &mut command)?;
    wait_until_healthy(lab, index, &mut process, Duration::from_secs(5))?;
    Ok(process)
}

fn text(role: &str, folder: &str) -> String {
    let port = APPLICATION_PORT.to_string();
    filled(include_str!("application.conf"), &[("ROLE", role), ("FOLDER", folder), ("PORT", &port)])
}
