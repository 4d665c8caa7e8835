//! Flows: one client connection each, and the leg that it is spliced to.
//!
//! A flow is a slot of an array, and the slot's index *is* the source address and port of its leg: the way back from a
//! backend is an array load. One value holds both directions, so no half can be evicted without the other.

use core::cell::Cell;

use super::{FIRST_PORT, PORTS_PER_SOURCE, SessionHash};
use crate::http::ChunkState;
use crate::net::{Hop, Seq};

/// A client's connection, in *network order*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    pub client: [u8; 4],
    pub vip: [u8; 4],
    pub client_port: [u8; 2],
    pub port: [u8; 2],
}

/// A slot and its lock. `lock` is taken by whichever CPU works on the flow; it is held for one packet.
#[repr(C)]
pub struct FlowSlot {
    /// 0: nobody; 1: a CPU works on the flow.
    pub lock: Cell<u64>,
    pub flow: Flow,
}

/// The slot holds no flow.
pub const FLOW_FREE: u32 = 0;
/// The client is connected; there is no leg, and no complete request either.
pub const FLOW_UNBOUND: u32 = 1;
/// A request waits in the stash; a SYN is under way to a backend.
pub const FLOW_OPENING: u32 = 2;
/// Client and leg are joined.
pub const FLOW_SPLICED: u32 = 3;
/// Both ends have closed; late segments are still translated for a moment.
pub const FLOW_CLOSING: u32 = 4;

/// The client uses timestamps.
pub const CLIENT_TIMESTAMPS: u32 = 1;
/// The client permits SACK.
pub const CLIENT_SACK: u32 = 2;
/// The client closed its direction, and the FIN went to the leg.
pub const CLIENT_FIN: u32 = 4;
/// The backend closed its direction, and the FIN went to the client.
pub const BACKEND_FIN: u32 = 8;
/// Requests are no longer framed: nothing is decided any more.
pub const REQUESTS_UNFRAMED: u32 = 16;
/// The present response is not framed: it ends with the connection.
pub const RESPONSES_UNFRAMED: u32 = 32;
/// The last response head said that the connection ends behind it.
pub const LAST_RESPONSE: u32 = 64;
/// Part of the request in the stash was acknowledged to the client, so the stash answers for it.
pub const STASH_OWNED: u32 = 128;
/// The stash holds the beginning of a response head, not a request.
pub const STASH_RESPONSE: u32 = 256;
/// The stash holds the beginning of a request head that has not been decided.
pub const STASH_HEAD: u32 = 512;
/// `presented` holds the id of the last request.
pub const HAS_PRESENTED: u32 = 4096;
/// A final response head has passed; the response ends at `response_next`.
pub const RESPONSE_BODY: u32 = 8192;
/// The present response comes in chunks; what follows `response_next` belongs to their headers, as `chunk` says.
pub const RESPONSE_CHUNKED: u32 = 16384;
/// The backend reset the leg. The client was told, but may not believe a RST whose number its latest data have overtaken
/// (RFC 5961, section 3): whatever it still sends is answered with the number that it expects.
pub const LEG_RESET: u32 = 65536;

/// No leg, or no stash.
pub const NONE: u32 = u32::MAX;

/// The connection from the director to a backend.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Leg {
    /// Index of the backend, and of its version in the service's policy.
    pub backend: u32,
    pub version: u32,
    /// *Network order.*
    pub address: [u8; 4],
    pub port: [u8; 2],
    /// *Network order*: where the leg starts, address and port of the slot.
    pub source_port: [u8; 2],
    pub source: [u8; 4],
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
    pub zero: u32,
}

/// A flow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Flow {
    pub key: FlowKey,
    /// `FLOW_*`.
    pub state: u32,
    /// `CLIENT_*`, `REQUESTS_*`, … bits.
    pub flags: u32,
    pub service: u32,
    /// The flow's own slot.
    pub slot: u32,
    /// Requests without a complete response.
    pub outstanding: u32,
    /// Millisecond of the last packet.
    pub seen: u64,
    /// Millisecond of the last SYN to a backend.
    pub asked: u64,
    /// How segments reach the client.
    pub client_hop: Hop,
    /// What the client's SYN said: its window scale and MSS.
    pub client_scale: u32,
    pub client_mss: u32,
    /// The scale that was promised to the client.
    pub our_scale: u32,
    /// Where the last request began.
    pub request_first: Seq,
    /// The highest sequence number of the client's that went to the leg.
    pub received: Seq,
    /// What the backend has acknowledged, in the client's numbers.
    pub upstream_acked: Seq,
    /// Where the next request begins: everything before has been decided.
    pub request_next: Seq,
    /// Bytes of the present request's body beyond `request_next`, for bodies of more than a gigabyte.
    pub request_left: u64,
    /// The highest sequence number sent to the client.
    pub sent: Seq,
    /// Where the next response head begins, or what has not been read of a chunk header.
    pub response_next: Seq,
    pub response_left: u64,
    /// Where in the chunks of the present response `response_next` is.
    pub chunk: ChunkState,
    /// For each request without a complete response, oldest in bit 0, whether it was a HEAD.
    pub heads: u32,
    /// What the client has acknowledged.
    pub acked: Seq,
    /// The client's last window, unscaled, and its last timestamp.
    pub window: u32,
    pub tsval: u32,
    /// The latest timestamp that the client has seen from us: it must never go back (PAWS).
    pub clock: u32,
    /// Index of the stash, or [`NONE`].
    pub stash: u32,
    /// The sequence number of the stash's first byte (the client's, or the client-visible one of a response).
    pub stash_first: Seq,
    pub stash_len: u32,
    /// Backends of the version that were tried for the request in the stash, by position.
    pub tried: u32,
    pub tries: u32,
    pub leg: Leg,
    /// The id that the last request presented, for deletions.
    pub presented: SessionHash,
}

/// The flow's place: its slot, source address and port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index into [`super::Globals::sources`].
    pub source: u32,
    pub port: u16,
}

/// Where the leg of the flow in `slot` starts.
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
