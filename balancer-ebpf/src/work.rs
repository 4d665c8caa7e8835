//! Scratch memory: one per CPU, for whatever would crowd the stack.

use core::cell::Cell;

use crate::http::{Chunk, Scan};
use crate::layout::{Buffer, Errand, FlowKey, PinEvent, REMEMBERED, Remembered};
use crate::net::{Crafted, Draft, Egress, Options, Segment, Sum};
use crate::sessions::Shelf;
use crate::splice::{Emission, Extent, Quote, Stretch};

/// The time (`Maps::now`), and the tick of the kernel's clock in which it was last asked for. The edge's own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Clock {
    pub tick: u64,
    pub now: u64,
}

/// What one packet needs. But for what its edge remembers, nothing in it outlives the packet.
#[repr(C)]
pub struct Work {
    pub segment: Segment,
    /// The client's connection, of a client's segment. Here rather than on the stack, as all keys of its size.
    pub key: FlowKey,
    /// A copy of a key, for a helper that takes none from where it lies. The edge's own.
    pub aside: FlowKey,
    /// The flow that is to be closed or released from outside.
    pub errand: Errand,
    pub options: Options,
    pub draft: Draft,
    /// A RST to a leg that is given up while another one is opened.
    pub farewell: Draft,
    pub farewell_egress: Egress,
    pub crafted: Crafted,
    pub sum: Sum,
    pub scan: Scan,
    pub chunk: Chunk,
    /// The part of a chunked body at hand.
    pub stretch: Stretch,
    /// A packet that is said to be too big.
    pub quote: Quote,
    /// Where the frame's window begins ([`crate::net::Frame::base`]). A cell, to be read from memory: of what is kept in a register the
    /// verifier would know which of the two it is, and walk everything behind it twice.
    pub base: Cell<u64>,
    pub clock: Clock,
    /// Of the present epoch's cookies.
    pub secret: crate::cookie::Secret,
    /// What some addresses are to the director. The edge's own.
    pub known: [Remembered; REMEMBERED],
    /// Where the packet leaves.
    pub egress: Egress,
    pub shelf: Shelf,
    /// The request at hand.
    pub extent: Extent,
    /// Bytes of the segment that belong to requests that were decided for the leg at hand, while the next one is looked at.
    pub accepted: u32,
    /// How many idle legs the pool takes that the leg at hand may go to.
    pub room: u32,
    /// Which of the presented ids is known.
    pub lookup: crate::splice::Lookup,
    /// Which service the rules lead to.
    pub rules: crate::rules::Scratch,
    /// What is told of that.
    pub event: PinEvent,
    /// What was decided.
    pub choice: crate::decide::Choice,
    /// The service's word by which that was done.
    pub word: u64,
    /// The request goes to the leg at hand.
    pub same: u32,
    pub search: crate::decide::Search,
    /// What leaves a buffer as segments.
    pub emission: Emission,
    /// Payload for scanning.
    pub buffer: Buffer,
}
