//! The boot clock, by which the programs keep time: it goes on while the machine sleeps, and begins anew with it. And the wall clock
//! beside it.

use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};

/// Time since the boot: what `bpf_ktime_get_boot_ns` says.
pub fn elapsed() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The same in whole milliseconds.
pub fn millis() -> u64 {
    whole_millis(elapsed())
}

/// Now, by the wall clock: unix milliseconds, as the state keeps what has to survive a daemon.
pub fn unix_millis() -> u64 {
    whole_millis(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// A time in whole milliseconds.
pub fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
