//! What a benchmark ran on.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The machine, as far as a figure depends on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub processor: String,
    pub cpus: usize,
    /// CPUs that other work than the benchmark took while it ran.
    pub others: f64,
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
            // Not those that the calling thread may use: it may have chosen one.
            cpus: text.lines().filter(|line| line.starts_with("processor")).count(),
            others: 0.0,
            when: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            optimised: !cfg!(debug_assertions),
        })
    }

    /// The day, in UTC.
    pub(super) fn day(&self) -> String {
        date(self.when / 86_400)
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, processor, cpus, others, .. } = self;
        write!(f, "Linux {kernel}, {cpus} CPUs ({processor})")?;
        match *others {
            others if others < 0.05 => Ok(()),
            others => write!(f, ", of which other work took {others:.1}"),
        }
    }
}

/// Days since 1970 as a date (Howard Hinnant, *chrono-compatible low-level date algorithms*, `civil_from_days`).
fn date(days: u64) -> String {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn days_have_dates() {
        let dates = [0, 59, 10_956, 11_016, 19_782, 20_783].map(super::date);
        assert_eq!(dates, ["1970-01-01", "1970-03-01", "1999-12-31", "2000-02-29", "2024-02-29", "2026-11-26"]);
    }
}
