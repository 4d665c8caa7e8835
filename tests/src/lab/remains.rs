//! Taking a lab away: the same steps for one that ends in order and for what a dead one left.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::addresses::Addresses;
use super::node::NAMESPACES;

/// Ends the processes in the lab's namespaces, then removes link, namespaces, pins and, last, the directory: as long
/// as that is there, another start finds the rest.
pub(crate) fn tear_down(name: &str, directory: &Path, network: Option<Addresses>) -> Result<()> {
    let namespaces = namespaces_of(name)?;
    end_processes(&namespaces)?;
    // A namespace is taken apart some time after its name is gone; the link to the machine's own network must not be
    // there any longer when the next lab makes one of that name.
    if let Some(addresses) = network {
        let link = host_interface(addresses);
        if Path::new("/sys/class/net").join(&link).exists() {
            ip(&["link", "delete", &link])?;
        }
    }
    for namespace in &namespaces {
        ip(&["netns", "delete", namespace])?;
    }
    super::remove_pins(name)?;
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", directory.display()))
        }
        _ => Ok(()),
    }
}

/// The name of the interface that joins the machine's own network with a lab.
pub(crate) fn host_interface(addresses: Addresses) -> String {
    format!("bl{}", addresses.network())
}

/// Runs `ip` in the calling thread's namespace.
pub(crate) fn ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).output().context("start `ip`: is iproute2 installed?")?;
    if !output.status.success() {
        bail!("`ip {}`: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The namespaces `<name>-<role>`. No role holds a `-`, so one lab's name is never the beginning of another's.
fn namespaces_of(name: &str) -> Result<Vec<String>> {
    let entries = match fs::read_dir(NAMESPACES) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("list {NAMESPACES}"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry?.file_name().to_string_lossy().into_owned();
        if file.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')) {
            found.push(file);
        }
    }
    Ok(found)
}

/// Kills each process that lives in one of these namespaces, which only this lab's own can, until none is left.
fn end_processes(namespaces: &[String]) -> Result<()> {
    let identities: Vec<(u64, u64)> = namespaces
        .iter()
        .filter_map(|namespace| fs::metadata(Path::new(NAMESPACES).join(namespace)).ok())
        .map(|file| (file.dev(), file.ino()))
        .collect();
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let inside = processes_in(&identities)?;
        if inside.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("processes {inside:?} do not end");
        }
        for pid in inside {
            // One that has ended since it was listed is what we want.
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn processes_in(identities: &[(u64, u64)]) -> Result<Vec<Pid>> {
    let mut inside = Vec::new();
    for entry in fs::read_dir("/proc").context("list /proc")? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        // A process may end between listing and looking; a zombie has no namespace any longer.
        let Ok(namespace) = fs::metadata(entry.path().join("ns/net")) else {
            continue;
        };
        if identities.contains(&(namespace.dev(), namespace.ino())) && pid != rustix::process::getpid() {
            inside.push(pid);
        }
    }
    Ok(inside)
}

/// Removes the directories of bpffs that carry the lab's name: the balancer names its pins after its configuration.
pub(super) fn remove_pins(directory: &Path, name: &str, depth: usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Ok(());
    };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        if entry.file_name().to_string_lossy() == name {
            fs::remove_dir_all(entry.path()).with_context(|| format!("remove the pins {}", entry.path().display()))?;
        } else if depth > 0 {
            remove_pins(&entry.path(), name, depth - 1)?;
        }
    }
    Ok(())
}
