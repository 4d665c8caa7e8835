//! Pins: a tester's or an operator's choice of version, which comes before any session (D1, D15).

use super::{Address, NONE};

/// Pins at most, of all services and all kinds.
pub const MAX_PINS: u32 = 4096;

/// What a [`PinKey`]'s hash is of: the id of a session, which an operator sends somewhere else than its binding says.
pub const PIN_SESSION: u32 = 1;
/// The value of the service's pin cookie.
pub const PIN_COOKIE: u32 = 2;
/// The value of the service's pin header.
pub const PIN_HEADER: u32 = 3;
/// The value of the service's pin parameter in the query.
pub const PIN_QUERY: u32 = 4;

/// In place of a version: its bearer is never a canary's.
pub const PIN_NEVER: u32 = NONE;

/// Each decision is told ([`PinEvent`]).
pub const PIN_TRACED: u32 = 1;
/// [`Pin::until`] counts.
pub const PIN_EXPIRES: u32 = 2;

/// How a pin is found that a request carries. Values are kept as keyed hashes only, like session ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct PinKey {
    /// Both halves of the value's [`super::SessionHash`].
    pub tag: u64,
    pub bucket: u64,
    pub service: u32,
    /// `PIN_SESSION` to `PIN_QUERY`.
    pub kind: u32,
}

/// How a pin is found by where a request comes from: in a trie, whose prefix has the 32 bits of the service and those of the
/// network, which are 96 more than it says if it is one of IPv4. *Network order.*
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(C)]
pub struct SourceKey {
    pub service: [u8; 4],
    pub address: Address,
}

/// A pin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pin {
    /// Index of the version, or [`PIN_NEVER`].
    pub version: u32,
    /// [`super::VersionPolicy::birth`] of the version that is meant: another one at its index is not.
    pub birth: u32,
    /// With [`PIN_EXPIRES`]: the last second of the boot clock in which it counts.
    pub until: u32,
    /// `PIN_*` bits.
    pub flags: u32,
    /// Where a request has to come from for it; a mask of zeroes is everywhere.
    pub network: Address,
    pub mask: Address,
    /// The number by which operators know it.
    pub id: u32,
    pub zero: u32,
}

/// Values of the service's cookie, header and parameter are looked up; sources and sessions are.
pub const PINS_COOKIE: u32 = 1;
pub const PINS_HEADER: u32 = 2;
pub const PINS_QUERY: u32 = 4;
pub const PINS_SOURCE: u32 = 8;
pub const PINS_SESSION: u32 = 16;

/// A decision on a request with a pin that is traced, as it lies in the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PinEvent {
    /// Nanoseconds of the boot clock.
    pub at: u64,
    pub service: u32,
    /// Index of the version, and id of the backend; both [`NONE`] where the request was answered with a 503.
    pub version: u32,
    pub backend: u32,
    pub pin: u32,
    pub client: Address,
    /// *Network order.*
    pub client_port: [u8; 2],
    pub zero: [u8; 6],
}
