//! `lab reboot`: a reboot of the director of the lab that runs, as far as it can be played on one machine.
//!
//! The lab's own process does it, since the daemon is its child; this one asks, and waits until there is another daemon.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rustix::process::{Signal, kill_process};

use balancer_tests::lab::registry;

/// The signal that asks for it.
pub(crate) const SIGNAL: Signal = Signal::USR1;

/// Longer than a daemon takes to load its programs.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn run() -> Result<()> {
    let (directory, owner) = registry::running("run")?;
    // A daemon writes its process id where it locks its state.
    let lock = directory.join("state/lock");
    let daemon = || fs::read_to_string(&lock).unwrap_or_default();
    let before = daemon();
    kill_process(owner, SIGNAL)?;
    let deadline = Instant::now() + PATIENCE;
    while daemon() == before || !balancer_tests::balancer::answers(&directory.join("balancer.sock")) {
        ensure!(Instant::now() < deadline, "the director is not back after {PATIENCE:?}; see {}", directory.display());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!(
        "rebooted: the kernel had nothing any more, the snapshot was there; `balancer status` says what came back"
    );
    Ok(())
}
