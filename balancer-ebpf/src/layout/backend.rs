//! Backends: one address and port that serve one version.

use core::cell::Cell;

use super::Address;

/// Takes new work: the daemon's health checks say so.
pub const BACKEND_UP: u32 = 1;
/// Belongs to a version; an entry without it is free.
pub const BACKEND_USED: u32 = 2;

/// Backends at most, over all services.
pub const MAX_BACKENDS: u32 = 1024;

/// One backend. `flags` is changed by a single store, so that health needs no policy change.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Backend {
    pub address: Address,
    /// *Network order.*
    pub port: [u8; 2],
    pub zero: [u8; 6],
    /// `BACKEND_*` bits.
    pub flags: u32,
    /// Of 100: a share of new sessions relative to the other backends of the version.
    pub weight: u32,
    /// Written by the programs: the millisecond ([`crate::splice`]'s clock) until which this backend is passed over,
    /// because it refused or did not answer; 0 for never.
    pub shunned_until: Cell<u64>,
    /// Flows that have a leg to this backend now.
    pub legs: Cell<u64>,
    /// Written by the programs: attempts in a row that it refused or did not answer. Each doubles the time for which it is
    /// passed over.
    pub failures: Cell<u64>,
}

impl Backend {
    /// One that takes work, with its whole weight, of which nothing is known yet.
    pub const fn up(address: Address, port: u16) -> Self {
        Self {
            address,
            port: port.to_be_bytes(),
            zero: [0; 6],
            flags: BACKEND_UP | BACKEND_USED,
            weight: 100,
            shunned_until: Cell::new(0),
            legs: Cell::new(0),
            failures: Cell::new(0),
        }
    }
}
