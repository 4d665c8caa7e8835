//! Times that mean something after a reboot.
//!
//! The table counts seconds of the boot clock, which begins anew with each boot. So a snapshot says what both clocks
//! showed, and which boot it was: within one boot the boot clock tells how long ago that is, whatever somebody set the wall
//! clock to meanwhile; over a reboot only the wall clock does.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// An instant on both clocks, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Which boot; zeroes where the kernel does not say.
    pub boot_id: [u8; 16],
    pub boot: u64,
    /// Since 1970.
    pub wall: u64,
}

impl Moment {
    pub fn now() -> Self {
        let seconds = |clock| u64::try_from(clock_gettime(clock).tv_sec).unwrap_or_default();
        Self {
            boot_id: boot_id().unwrap_or_default(),
            boot: seconds(ClockId::Boottime),
            wall: seconds(ClockId::Realtime),
        }
    }

    /// Seconds from `earlier` to this moment. A wall clock that went back over a reboot leaves no better answer than none.
    pub fn since(&self, earlier: &Self) -> u64 {
        if self.boot_id == earlier.boot_id && self.boot_id != [0; 16] {
            self.boot.saturating_sub(earlier.boot)
        } else {
            self.wall.saturating_sub(earlier.wall)
        }
    }

    /// The boot clock as the table keeps it.
    pub fn seconds(&self) -> u32 {
        self.boot as u32
    }
}

/// How old a time of the table is. One that lies ahead is of this very second, on another CPU; times of a table that was
/// filled after a reboot may lie before the boot, and wrap.
pub fn age(now: u32, then: u32) -> u32 {
    let age = now.wrapping_sub(then);
    if age <= i32::MAX as u32 { age } else { 0 }
}

/// `/proc/sys/kernel/random/boot_id` is a UUID.
fn boot_id() -> Option<[u8; 16]> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    Some(u128::from_str_radix(&digits, 16).ok()?.to_be_bytes())
}
