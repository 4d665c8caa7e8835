//! Which labs exist on this machine, who owns them, and which of them are only remains.
//!
//! Every lab has a directory under [`ROOT`] with an `owner` file: process id, that process's start time, the boot and
//! the /16. A process id alone may have come to mean another process; with the start time it cannot.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::addresses::Addresses;
use super::remains;

/// The directory of all labs.
pub const ROOT: &str = "/run/balancer-lab";

#[derive(Serialize, Deserialize)]
struct Owner {
    pid: u32,
    started: u64,
    boot: String,
    network: u8,
}

/// A lab's name, directory and network, taken until it is torn down.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) addresses: Addresses,
}

/// Clears away the remains of dead labs, then takes a name and a free network for a new one.
pub(crate) fn claim(label: &str) -> Result<Claim> {
    if label.is_empty() || !label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) {
        bail!("a lab's label is made of a-z and 0-9, not {label:?}: it becomes part of names that are split at `-`");
    }
    let _lock = lock()?;
    let live = clear_remains()?;
    let addresses = free_network(&live)?;
    let pid = std::process::id();
    let owner = Owner {
        pid,
        started: start_time(pid).context("read this process's start time")?,
        boot: boot()?,
        network: addresses.network(),
    };
    // One process may have several labs of one label at a time, such as tests on several threads.
    for count in 1.. {
        let suffix = if count == 1 { String::new() } else { format!("x{count}") };
        let name = format!("bl-{label}{suffix}-{pid}");
        let directory = Path::new(ROOT).join(&name);
        match fs::create_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            result => result.with_context(|| format!("create {}", directory.display()))?,
        }
        fs::write(directory.join("owner"), serde_json::to_vec(&owner)?).context("write the lab's owner file")?;
        return Ok(Claim { name, directory, addresses });
    }
    unreachable!("some suffix is free")
}

/// Clears away what labs whose process has died left behind; returns how many there were.
pub fn clean() -> Result<usize> {
    let _lock = lock()?;
    let before = labs()?.len();
    Ok(before - clear_remains()?.len())
}

/// The directory of the lab of that label that runs, and the process that owns it.
pub fn running(label: &str) -> Result<(PathBuf, Pid)> {
    let mut found = Vec::new();
    for (name, directory) in labs()? {
        let owner = fs::read(directory.join("owner")).ok().and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
        let Some(owner) = owner.filter(|_| name.starts_with(&format!("bl-{label}-"))) else { continue };
        if is_alive(&owner)? {
            found.extend(Pid::from_raw(owner.pid.cast_signed()).map(|pid| (directory, pid)));
        }
    }
    match found.len() {
        0 => bail!("no lab runs: start one with `cargo xtask run`"),
        1 => Ok(found.remove(0)),
        _ => bail!("several labs run; their directories are in {ROOT}"),
    }
}

/// Serialises starting and cleaning over all processes. The kernel lets go of the lock when its owner ends.
fn lock() -> Result<File> {
    ensure!(rustix::process::geteuid().is_root(), "a lab makes network namespaces: run this as root");
    fs::create_dir_all(ROOT).with_context(|| format!("create {ROOT}"))?;
    let path = Path::new(ROOT).join(".lock");
    let file = File::create(&path).with_context(|| format!("open {}", path.display()))?;
    file.lock().with_context(|| format!("lock {}", path.display()))?;
    Ok(file)
}

/// Tears dead labs down and returns the owners of the live ones.
fn clear_remains() -> Result<Vec<Owner>> {
    let mut live = Vec::new();
    for (name, directory) in labs()? {
        // Without an owner file it died while it was being claimed: the lock, which we hold, guards that moment.
        let owner = fs::read(directory.join("owner")).ok().and_then(|text| serde_json::from_slice::<Owner>(&text).ok());
        match owner {
            Some(owner) if is_alive(&owner)? => live.push(owner),
            owner => {
                let network = owner.map(|owner| Addresses::new(owner.network));
                remains::tear_down(&name, &directory, network)
                    .with_context(|| format!("clean up the dead lab {name}"))?;
            }
        }
    }
    Ok(live)
}

fn labs() -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(ROOT).with_context(|| format!("list {ROOT}"))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("bl-") {
            found.push((name, entry.path()));
        }
    }
    Ok(found)
}

fn is_alive(owner: &Owner) -> Result<bool> {
    Ok(owner.boot == boot()? && start_time(owner.pid).is_ok_and(|started| started == owner.started))
}

fn boot() -> Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").context("read the boot's id")?;
    Ok(id.trim().to_owned())
}

/// Field 22 of proc_pid_stat(5). The second, the name, may hold blanks and brackets: count from its end.
fn start_time(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let state_is_first = fields.split_whitespace().nth(19).context("no start time in /proc/PID/stat")?;
    Ok(state_is_first.parse()?)
}

/// The first network that neither a live lab nor a route of this machine has.
fn free_network(live: &[Owner]) -> Result<Addresses> {
    let routes = remains::ip(&["-4", "-o", "route", "show", "table", "all"])?;
    Addresses::NETWORKS
        .filter(|network| live.iter().all(|owner| owner.network != *network))
        .find(|network| !routes.contains(&format!("10.{network}.")))
        .map(Addresses::new)
        .context("every network from 10.60 to 10.123 is taken: see `ip route` and the labs in /run/balancer-lab")
}
