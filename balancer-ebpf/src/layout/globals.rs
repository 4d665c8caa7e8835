//! What there is one of: keys and addresses, written by the daemon before the programs are attached.

use core::cell::Cell;

use super::Address;

/// SNAT source addresses at most, of each family.
pub const MAX_SOURCES: usize = 32;
/// The first source port of a leg; below it are the ports that a host keeps for itself.
pub const FIRST_PORT: u32 = 1024;
/// Legs per source address: a leg's port is 16 bits, from [`FIRST_PORT`] on.
pub const PORTS_PER_SOURCE: u32 = 65536 - FIRST_PORT;

/// Address families: IPv4, then IPv6.
pub const FAMILIES: usize = 2;

/// A 128-bit key for SipHash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Key {
    pub k0: u64,
    pub k1: u64,
}

/// Constants of a running director.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Globals {
    /// For session ids.
    pub session_key: Key,
    /// For SYN cookies: not their secret, but what that of each epoch is derived from ([`crate::cookie`]).
    pub cookie_key: Key,
    /// For the legs' initial sequence numbers (RFC 6528).
    pub isn_key: Key,
    /// Slots of the tables of flows and of legs that may be used: at most [`PORTS_PER_SOURCE`] × the sources of whichever
    /// family has any and fewer of them, since a slot may get a leg of either.
    pub flows: u32,
    /// Stashes.
    pub stashes: u32,
    /// Buckets of the session table − 1; their number is a power of two.
    pub bucket_mask: u32,
    /// Sources of IPv4 and of IPv6.
    pub source_count: [u32; FAMILIES],
    /// Seconds without a packet after which a spliced flow may be collected.
    pub flow_idle_seconds: u32,
    /// Source addresses of legs, of each family. The leg in slot `s` has address `s / PORTS_PER_SOURCE` of its family's and
    /// port `FIRST_PORT + s % PORTS_PER_SOURCE`.
    pub sources: [[Address; MAX_SOURCES]; FAMILIES],
}

impl Globals {
    /// The source address of this index that a leg to `backend` starts at: of its family.
    #[inline(always)]
    pub fn source(&self, index: u32, backend: &Address) -> Address {
        let index = index as usize & (MAX_SOURCES - 1);
        if backend.is_v4() { self.sources[0][index] } else { self.sources[1][index] }
    }
}

/// Clock hands: where the search for a free slot, stash or leg goes on.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Hands {
    pub flow: Cell<u64>,
    pub stash: Cell<u64>,
    pub reset_budget: Cell<u64>,
    pub leg: Cell<u64>,
}

/// The interface is a veth whose peer is reached by `bpf_redirect_peer`.
pub const INTERFACE_PEER: u32 = 1;
/// Not of an interface but of a way out: the neighbour is not resolved, and the kernel is to do that (`bpf_redirect_neigh`,
/// Linux 5.10).
pub const EGRESS_RESOLVES: u32 = 2;
/// Not of an interface but of a copy: it is to come in by the interface, instead of leaving by it.
pub const EGRESS_COMES_IN: u32 = 4;

/// The address is one of a listener.
pub const ROLE_LISTENER: u32 = 1 << 31;
/// The address is a source of legs; its index stands in the low half.
pub const ROLE_SOURCE: u32 = 1 << 30;
/// The address is one of a backend that answers through the director ([`super::POLICY_GATEWAY`]).
pub const ROLE_BACKEND: u32 = 1 << 29;
/// The part of a role that is an index of [`Globals::sources`].
pub const ROLE_INDEX: u32 = 0xffff;
