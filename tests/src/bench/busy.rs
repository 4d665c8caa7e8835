//! CPU time that a benchmark takes: all of the machine's, the kernel's own included, but for what processes took that are not its own.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Of all CPUs, since boot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Busy {
    all: Duration,
    others: Duration,
}

impl Busy {
    pub(super) fn now() -> Result<Self> {
        let all = whole_machine(&fs::read_to_string("/proc/stat").context("read /proc/stat")?)?;
        let processes: Vec<Process> = fs::read_dir("/proc")
            .context("read /proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            // Whoever ends meanwhile is counted by its parent.
            .filter_map(|pid| Process::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
            .collect();
        Ok(Self { all, others: others(&processes, std::process::id()) })
    }

    /// The benchmark's own since then.
    pub(super) fn own_since(self, before: Self) -> Duration {
        self.all.saturating_sub(before.all).saturating_sub(self.others_since(before))
    }

    /// What others took since then.
    pub(super) fn others_since(self, before: Self) -> Duration {
        self.others.saturating_sub(before.others)
    }
}

/// A stretch of time, and what others took in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    start: Instant,
    before: Busy,
}

impl Stretch {
    pub(super) fn begin() -> Result<Self> {
        Ok(Self { start: Instant::now(), before: Busy::now()? })
    }

    /// How many CPUs others took so far.
    pub(super) fn others(&self) -> Result<f64> {
        let taken = Busy::now()?.others_since(self.before);
        Ok(taken.as_secs_f64() / self.start.elapsed().as_secs_f64().max(0.01))
    }
}

/// proc_pid_stat(5), in hundredths of a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: u32,
    parent: u32,
    /// Its own and that of its children that have ended.
    ticks: u64,
}

/// The parent of all of the kernel's threads, whose work is everybody's.
const KTHREADD: u32 = 2;

impl Process {
    fn parse(text: &str) -> Option<Self> {
        let pid = text.split(' ').next()?.parse().ok()?;
        // Its name may have anything in it.
        let rest: Vec<&str> = text.rsplit_once(") ")?.1.split(' ').collect();
        let number = |index: usize| rest.get(index)?.parse::<u64>().ok();
        let ticks = [11, 12, 13, 14].into_iter().map(number).sum::<Option<u64>>()?;
        Some(Self { pid, parent: number(1)? as u32, ticks })
    }
}

/// What all processes took but `own`, its descendants and the kernel's threads.
fn others(processes: &[Process], own: u32) -> Duration {
    let parents: BTreeMap<u32, u32> = processes.iter().map(|process| (process.pid, process.parent)).collect();
    let ours = |pid: u32| {
        let line = std::iter::successors(Some(pid), |pid| parents.get(pid).copied()).take(64);
        line.into_iter().any(|ancestor| ancestor == own || ancestor == KTHREADD)
    };
    let foreign = processes.iter().filter(|process| !ours(process.pid));
    Duration::from_millis(10 * foreign.map(|process| process.ticks).sum::<u64>())
}

/// What all CPUs have spent on anything but idling: proc_stat(5), in hundredths of a second.
fn whole_machine(text: &str) -> Result<Duration> {
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq.
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else {
        bail!("/proc/stat has too few numbers: {line}")
    };
    Ok(Duration::from_millis(10 * (user + nice + system + irq + softirq)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let text = "7 (a) b (c) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 5 7 20 0 1";
        assert_eq!(Process::parse(text), Some(Process { pid: 7, parent: 3, ticks: 42 }));
        assert_eq!(Process::parse("7 (a"), None);
    }

    #[test]
    fn the_benchmark_its_descendants_and_the_kernel_are_no_others() {
        let process = |pid, parent, ticks| Process { pid, parent, ticks };
        let table = [process(1, 0, 1), process(2, 0, 10), process(3, 2, 10), process(7, 1, 100), process(8, 7, 100)];
        assert_eq!(others(&table, 7), Duration::from_millis(10));
        assert_eq!(others(&table, 99), Duration::from_millis(2010));
    }

    #[test]
    fn idling_is_not_being_busy() -> Result<()> {
        assert_eq!(whole_machine("cpu  1 2 3 1000 1000 4 5 0\ncpu0 1")?, Duration::from_millis(150));
        assert!(whole_machine("cpu 1").is_err());
        Ok(())
    }
}
