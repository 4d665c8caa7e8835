//! Flows: one client connection each, and the leg that it is spliced to.
//!
//! One value holds both directions, so no half can be evicted without the other.

use core::cell::Cell;

use super::{Address, Leg, SessionHash};
use crate::http::ChunkState;
use crate::net::{Hop, Seq};

/// A client's connection, in *network order*.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    pub client: Address,
    pub vip: Address,
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
/// A final response head has passed; the response ends at `response_next`.
pub const RESPONSE_BODY: u32 = 8192;
/// The backend reset the leg. The client was told, but may not believe a RST whose number its latest data have overtaken
/// (RFC 5961, section 3): whatever it still sends is answered with the number that it expects.
pub const LEG_RESET: u32 = 65536;
/// The leg served others before, and has not sent a byte of the present response: whether the backend closed it at this very
/// moment is not known yet. The stash has the whole request for as long.
pub const LEG_REUSED: u32 = 1 << 17;
/// The leg must not serve other flows: bytes went out on it that need not be those that were framed, or the backend takes
/// what comes on it for one user's.
pub const LEG_OWN: u32 = 1 << 18;

/// The last request's method is safe (RFC 9110, section 9.2.1): it may be done twice.
pub const SAFE_REQUEST: u32 = 1 << 19;
/// The last request asked for another protocol, and a 101 may answer it.
pub const UPGRADE_ASKED: u32 = 1 << 20;

/// The connection is not HTTP/1.x, or was made for another protocol: nobody waits for the end of an answer.
pub const TUNNEL: u32 = 1 << 21;
/// The director's FIN went to the client with the last byte of the last answer that could be followed.
pub const ANSWERED_LAST: u32 = 1 << 22;

/// The director has answered in the backend's place (`splice/reject.rs`), and its answer was the last.
pub const REJECTED: u32 = 1 << 23;

/// That answer was not a 503: no rule of the listener matches the request (a 404), or rules cannot be applied to it (a 400).
pub const REJECTED_UNMATCHED: u32 = 1 << 26;
pub const REJECTED_AMBIGUOUS: u32 = 1 << 27;

/// The last request moved its session, which is bound to wherever that request goes.
pub const SESSION_MOVED: u32 = 1 << 25;

/// The stash holds a copy of a request that is held: nobody has acknowledged it, and its client sends it again as well.
pub const STASH_HELD: u32 = 1 << 24;

/// The connection has moved from one backend to another, and may do so again at any request.
pub const MOVES: u32 = 1 << 28;

/// No leg, or no stash.
pub const NONE: u32 = u32::MAX;

/// How far one direction of a flow is framed.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Cursor {
    /// Bytes of the present body beyond `next`, for bodies of more than a gigabyte.
    pub left: u64,
    /// In a body in chunks: where in the chunk headers `next` is.
    pub chunk: ChunkState,
    /// Where the next head begins, or, in a body in chunks, what has not been read of the next chunk header.
    pub next: Seq,
    /// 1: the present body comes in chunks, and has not ended.
    pub chunked: u32,
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
    /// The service of the request that was decided last, or that is held; before the first one, the listener's.
    pub service: u32,
    /// The flow's own slot.
    pub slot: u32,
    /// Requests without a complete response.
    pub outstanding: u32,
    /// Millisecond of the last packet.
    pub seen: u64,
    /// When a SYN went to a backend last, in milliseconds of the director's clock.
    pub asked: u32,
    /// When a SYN of the client's was answered last with the flow's numbers, by the same clock.
    pub challenged: u32,
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
    /// The highest sequence number sent to the client.
    pub sent: Seq,
    /// How far the client's bytes are framed: everything before has been decided.
    pub request: Cursor,
    /// How far the backend's bytes are framed.
    pub response: Cursor,
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
    /// SYNs of the leg so far; of a request on a leg from the pool, how often the client has sent it again; of any other joined flow,
    /// acknowledgements of the client in a row that said nothing.
    pub tries: u32,
    pub leg: Leg,
    /// The last id that a request presented, for what its response says of it.
    pub presented: SessionHash,
    /// For each request without a complete response, oldest in bit 0, whether it presented that id.
    pub carried: u32,
    /// Second of the last request.
    pub presented_at: u32,
    /// Where the route of the last request's id leads ([`super::Route::target`]), or [`NONE`].
    pub route: u32,
    /// What the last request is pinned to: [`pinned_to`], or 0.
    pub pin: u32,
}

impl Flow {
    /// Whether the flow is that key's and has not ended. The kernel's maps, which read it without its lock, ask the same word by word.
    pub fn is_live_of(&self, key: &FlowKey) -> bool {
        self.key == *key && self.state != FLOW_FREE && self.state != FLOW_CLOSING
    }
}

/// A request's pin as a flow and a search keep it: the version's index and one, so that 0 is none.
#[inline(always)]
pub const fn pinned_to(version: u32) -> u32 {
    (version & 0xff) + 1
}

/// The pin is an operator's override of one session.
pub const PIN_OVERRIDES: u32 = 1 << 16;
/// The request is not to be a canary's.
pub const PIN_NO_CANARY: u32 = 1 << 17;

/// The version of a pin that is one.
#[inline(always)]
pub const fn pinned_version(pin: u32) -> u32 {
    (pin & 0xffff).wrapping_sub(1)
}
