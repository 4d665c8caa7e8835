//! Listeners: what clients connect to.

use super::Address;

/// Destination of a client's packet, in *network order*: how a listener is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct ListenerKey {
    pub address: Address,
    pub port: [u8; 2],
    pub zero: [u8; 2],
}

/// The backends all take timestamps (RFC 7323, section 3).
pub const OFFER_TIMESTAMPS: u32 = 1;
/// The backends all take selective acknowledgements (RFC 2018).
pub const OFFER_SACK: u32 = 2;
/// The backends all scale their windows (RFC 7323, section 2).
pub const OFFER_SCALE: u32 = 4;

/// A listener: its service, and what its SYN-ACKs promise in the backends' name (the daemon learns it from `TCP_INFO`
/// of its health checks).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Listener {
    /// Index into the service words.
    pub service: u32,
    /// `OFFER_*` bits.
    pub offers: u32,
    /// The maximum segment size that is announced, at most 1460 on Ethernet.
    pub mss: u32,
    /// The window scale that is announced.
    pub scale: u32,
}
