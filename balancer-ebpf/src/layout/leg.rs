//! Legs: connections from the director to backends, each with sequence numbers, a timestamp clock and options of its own.
//!
//! A leg is a slot of an array, and the slot's index *is* its source address and port: the way back from a backend is an
//! array load. It is joined to a flow for a request or longer, and lies in the pool of its backend in between.

use core::cell::Cell;

use super::{Address, FIRST_PORT, PORTS_PER_SOURCE};
use crate::net::{Hop, Seq};

/// A leg: its connection, and how it is joined to a flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Leg {
    /// Index of the backend, and of its version in the service's policy; [`super::NONE`] where a flow has no leg.
    pub backend: u32,
    pub version: u32,
    pub address: Address,
    /// *Network order.*
    pub port: [u8; 2],
    /// *Network order*: where the leg starts, address and port of the slot.
    pub source_port: [u8; 2],
    pub source: Address,
    pub hop: Hop,
    /// The initial sequence number of the director's SYN.
    pub isn: Seq,
    /// Leg's sequence number − client's, for what the client sends.
    pub to_leg: u32,
    /// Client-visible sequence number − backend's, for what the backend sends.
    pub to_client: u32,
    /// Leg's timestamp − client's.
    pub clock_to_leg: u32,
    /// Client-visible timestamp − backend's.
    pub clock_to_client: u32,
    /// The first client sequence number that belongs to this leg.
    pub first: Seq,
    /// The first client-visible sequence number that the backend sends.
    pub begins: Seq,
    /// Window shifts + 16, so that 16 leaves a window as it is: backend's windows on their way to the client, and the
    /// client's on their way to the backend.
    pub shift_to_client: u32,
    pub shift_to_leg: u32,
    /// The backend's last timestamp.
    pub tsval: u32,
    /// The largest payload that the backend takes.
    pub mss: u32,
    /// The version's generation when the leg was chosen: what a session that is born here is bound with.
    pub generation: u32,
    /// The backend's position in its version.
    pub position: u32,
    /// The leg's own slot.
    pub slot: u32,
    /// The options that both ends agreed on: an index of the backend's pools.
    pub class: u32,
    /// The window scales of the SYN and of its answer, or [`crate::net::NO_SCALE`].
    pub scale: u32,
    pub backend_scale: u32,
    /// While idle: the leg's next sequence number, the backend's next, and the latest timestamp that the backend has seen, which
    /// must never go back (PAWS).
    pub next: Seq,
    pub expected: Seq,
    pub clock: u32,
    /// The service that `version` is of. A request may be for another one than that of the leg at hand.
    pub service: u32,
    pub zero: u32,
}

/// A leg's slot. Whose it is says the word of the same index in [`super::map::LEG_OWNERS`].
#[derive(Clone, Debug)]
#[repr(C)]
pub struct LegSlot {
    /// In a pool: slot + 1 of the idle leg below, 0 for none.
    pub below: Cell<u64>,
    /// How far the initial sequence numbers' clock has to be for the next leg of this slot: a connection that sends faster than
    /// that clock runs leaves numbers behind that a new one on the same port must not use again (RFC 6528, section 3).
    pub reached: Cell<u64>,
    /// Of an idle leg. A busy one lies in its flow.
    pub leg: Leg,
}

/// The owner of a leg that the flow in slot `flow` has: the flow's slot and one. 0 is of a leg that is free; the others are [`LEG_IDLE`] and
/// [`LEG_DEAD`].
#[inline(always)]
pub const fn owned_by(flow: u32) -> u64 {
    flow as u64 + 1
}

/// The opposite: the slot of the flow that has the leg, if one has.
#[inline(always)]
pub const fn owner(word: u64) -> Option<u32> {
    if word == 0 || word >= LEG_IDLE { None } else { Some(word as u32 - 1) }
}

/// The leg lies in its pool, ready to be taken.
pub const LEG_IDLE: u64 = 1 << 32;
/// The leg lies in its pool, and its backend has closed it: whoever finds it frees it.
pub const LEG_DEAD: u64 = 2 << 32;

/// Classes of options that legs have: 1 for timestamps, 2 for SACK, 4 for window scaling, and 8 × an index of [`CLASS_MSS`].
/// A flow takes legs of its own class only, since its client was promised what the class says.
pub const LEG_CLASSES: u32 = 32;
/// The maximum segment sizes that pooled legs announce: those that a cookie can say of a client.
pub const CLASS_MSS: [u32; 4] = crate::cookie::SIZES;

/// Index into `POOLS`: the idle legs of one backend and class.
#[inline(always)]
pub const fn pool(backend: u32, class: u32) -> u32 {
    backend * LEG_CLASSES + (class & (LEG_CLASSES - 1))
}

/// The word of a pool: the topmost idle leg, how many there are, and a tag that changes with every use, so that a word that
/// was read is not taken for one that came back.
///
/// From the lowest bit: slot + 1 (32), count (16), tag (16). An empty pool's first two are 0. Whoever sets the lower half to 0
/// takes all of its legs out: that is how the daemon empties the pools of a backend that is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolWord(pub u64);

impl PoolWord {
    /// Slot + 1 of the topmost leg.
    #[inline(always)]
    pub const fn top(self) -> u32 {
        self.0 as u32
    }
    /// Legs in the pool.
    #[inline(always)]
    pub const fn count(self) -> u32 {
        (self.0 >> 32) as u32 & 0xffff
    }
    /// The next word, with this topmost leg and count.
    #[inline(always)]
    pub const fn with(self, top: u32, count: u32) -> Self {
        let tag = (self.0 >> 48).wrapping_add(1);
        Self(top as u64 | (count as u64 & 0xffff) << 32 | tag << 48)
    }
}

/// A leg's place: source address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into the [`super::Globals::sources`] of its family.
    pub source: u32,
    pub port: u16,
}

/// Where the leg in `slot` starts.
#[inline(always)]
pub const fn place(slot: u32) -> Place {
    Place { source: slot / PORTS_PER_SOURCE, port: (FIRST_PORT + slot % PORTS_PER_SOURCE) as u16 }
}

/// The slot whose leg starts at a source address and port; `None` for ports that no leg has.
#[inline(always)]
pub const fn slot(place: Place) -> Option<u32> {
    if (place.port as u32) < FIRST_PORT {
        return None;
    }
    Some(place.source * PORTS_PER_SOURCE + place.port as u32 - FIRST_PORT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// N14.
    #[test]
    fn a_slot_and_its_place_are_one() {
        for index in [0, 1, PORTS_PER_SOURCE - 1, PORTS_PER_SOURCE, 262_143] {
            assert_eq!(slot(place(index)), Some(index));
        }
        assert_eq!(slot(Place { source: 0, port: 1023 }), None);
        assert_eq!(place(0).port, 1024);
        assert_eq!(place(PORTS_PER_SOURCE - 1).port, 65535);
    }
}
