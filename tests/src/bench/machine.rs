//! What a benchmark ran on.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The machine, as far as a figure depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub processor: String,
    pub cpus: usize,
    /// Seconds since 1970.
    pub when: u64,
    /// Whether the program that measures was optimised; what it measures always is, but for a daemon's start.
    pub optimised: bool,
}

impl Machine {
    pub fn here() -> Result<Self> {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").context("read the kernel's release")?;
        let text = std::fs::read_to_string("/proc/cpuinfo").context("read /proc/cpuinfo")?;
        let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Ok(Self {
            kernel: kernel.trim().to_owned(),
            processor: model.map_or("unknown", |(_, name)| name).to_owned(),
            cpus: std::thread::available_parallelism().context("count CPUs")?.get(),
            when: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            optimised: !cfg!(debug_assertions),
        })
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Linux {}, {} CPUs, {}", self.kernel, self.cpus, self.processor)
    }
}
