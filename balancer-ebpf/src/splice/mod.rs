//! The splice: what happens to a packet, from its arrival to the verdict.
//!
//! [`direct`] is the whole data path. A packet is parsed, its flow found and locked; a step decides what is to be done
//! ([`Next`]) and changes the flow; [`send`] does it to the frame. Steps never touch the frame but to read from it, so
//! that there is one place that writes packets.
//!
//! | file | what |
//! |---|---|
//! | `begin` | SYNs and the segments that begin a flow |
//! | `client` | segments of a client: whose flow they are, and whether they can be |
//! | `seek` | which slot a client's flow is in |
//! | `joined` | those of flows that have a leg: what is known, what is new, what waits |
//! | `alone` | those of flows that have none: the director answers itself |
//! | `request` | a request: scanned, decided, or held |
//! | `accept` | the one that was decided: counted, and sent where it belongs |
//! | `body` | bodies of both directions: to where the next head begins |
//! | `choose` | which of its listener's services it is for |
//! | `lookup` | which session it belongs to |
//! | `open` | legs: opening, trying the next backend |
//! | `pool` | legs that wait for other flows' requests |
//! | `join` | the differences between a leg's numbers and its flow's |
//! | `idle` | what idle legs say, and are told |
//! | `stash` | what waits for a leg |
//! | `backend` | segments of a backend: handshake, ends, data |
//! | `gateway` | legs that start at the client's own address |
//! | `response` | response heads and framing |
//! | `learn` | what responses say of sessions |
//! | `outcome` | what became of requests, for who judges versions by it |
//! | `reject` | answers in the backend's place |
//! | `last` | how connections end that cannot be followed |
//! | `outside` | how an operator ends flows |
//! | `short` | most packets: those about which there is nothing to ask |
//! | `verify` | whether a segment came as it was sent, if that matters |
//! | `storm` | acknowledgements without end |
//! | `too_big` | routers that say that packets have to be smaller |
//! | `extended` | extension headers of IPv6 |
//! | `end` | how flows end and slots are collected |
//! | `send` | translation and new packets |

mod accept;
mod alone;
mod backend;
mod begin;
mod body;
mod choose;
mod client;
mod end;
mod extended;
mod gateway;
mod idle;
mod join;
mod joined;
mod last;
mod learn;
mod lookup;
mod open;
mod outcome;
mod outside;
mod pool;
mod reject;
mod request;
mod response;
mod seek;
mod send;
mod short;
mod stash;
mod storm;
#[cfg(test)]
mod tests;
mod too_big;
mod verify;

pub use accept::accept_step;
pub use backend::{backend_step, opening_step};
pub use begin::claim_slot;
pub use body::{Stretch, follow};
pub use choose::choose;
pub use client::{arrival, client_step};
pub use extended::extended;
pub use gateway::leave_gateway;
pub use idle::idle_step;
pub use join::join;
pub use learn::refresh;
pub use lookup::{Lookup, conclude, look_up};
pub use open::open_step;
pub use outcome::{Loss, answered, lost};
pub use outside::{close, release};
pub use pool::{claim_leg, park, take};
pub use reject::reject;
pub use request::{Extent, decide_step, hold_step, request_step, trace};
pub use seek::seek;
pub use send::{Emission, Quote, finish};
pub use short::short;
pub use stash::claim_stash;
pub use too_big::too_big;
pub use verify::verify;

use crate::host::{Cpu, Maps};
use crate::layout::{
    BACKEND_FIN, FLOW_FREE, Flow, Globals, MAX_VERSIONS, NONE, Policy, ROLE_BACKEND, ROLE_INDEX, ROLE_LISTENER,
    ROLE_SOURCE, ServiceWord, Traffic,
};
use crate::net::{Frame, Parsed, base, destination, is_tagged, parse, source};
use crate::verdict::Verdict;
use crate::work::Work;

/// What a step wants done with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Next {
    /// Nothing more: the verdict says it all.
    Done,
    /// Translate it and send it to the leg.
    ToLeg,
    /// Translate it and send it to the client.
    ToClient,
    /// The same, and with it the end of the connection.
    ToClientFin,
    /// Replace it by the header in the work's draft.
    Draft,
    /// The same, after the farewell went out.
    FarewellAndDraft,
    /// Replace it by segments made of the emission.
    Emit,
    /// Read the request that begins or goes on in the segment.
    Request,
    /// Find out which service the request that was read is for.
    Choose,
    /// Decide the request that was read.
    Decide,
    /// Send the request to where it was decided that it goes.
    Accept,
    /// It goes to the leg at hand, and so may the next one, which begins in the same segment.
    More,
    /// Open a leg to the backend of the work's choice, for the request in the stash.
    Open,
    /// The same, and reset the leg that there is.
    OpenRebind,
    /// The client sent again what waits for the leg: so must the SYN be, and at last to somebody else.
    OpenAgain,
    /// The backend refused: the next one gets the SYN at once.
    Refused,
    /// The leg was closed by a backend that has not worked on the request, all of which is in the stash: it goes to another one.
    Reopen,
    /// Both ends are reset: no answer will come to what waits.
    GiveUp,
    /// The director answers with a 503, and the connection ends.
    Reject,
    /// Keep a copy of the request until it is released.
    Hold,
}

impl Next {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            1 => Self::ToLeg,
            2 => Self::ToClient,
            3 => Self::ToClientFin,
            4 => Self::Draft,
            5 => Self::FarewellAndDraft,
            6 => Self::Emit,
            7 => Self::Request,
            8 => Self::Choose,
            9 => Self::Decide,
            10 => Self::Accept,
            11 => Self::More,
            12 => Self::Open,
            13 => Self::OpenRebind,
            14 => Self::OpenAgain,
            15 => Self::Refused,
            16 => Self::Reopen,
            17 => Self::GiveUp,
            18 => Self::Reject,
            19 => Self::Hold,
            _ => Self::Done,
        }
    }
}

impl Next {
    /// Whether it is something for [`open_step`].
    #[inline(always)]
    const fn opens(self) -> bool {
        self as u32 >= Self::Open as u32 && (self as u32) < Self::Reject as u32
    }
}

/// Requests of one segment that are decided in one go; more are cut off and come again.
const PIPELINED: u32 = 6;

/// The request that begins or goes on in a segment, and those behind it for as long as they go to the same leg.
#[inline(always)]
fn requests<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    work.accepted = 0;
    let mut step = (Next::More, Verdict::RequestSame);
    for _ in 0..PIPELINED {
        step = frame.request_step(maps, work, globals, flow, now);
        if step.0 as u32 == Next::Choose as u32 {
            step = maps.choose(work, flow, now);
        }
        if step.0 as u32 == Next::Decide as u32 {
            step = maps.decide_step(work, flow, now, frame.can_grow());
        }
        if step.0 as u32 == Next::Accept as u32 {
            step = frame.accept_step(maps, work, globals, flow, now);
        }
        // Of a body in many chunks the segment may hold more headers than are followed at once.
        if step.0 as u32 != Next::More as u32 || flow.request.chunked != 0 {
            break;
        }
    }
    if work.accepted == 0 && step.0 as u32 == Next::Hold as u32 {
        return if frame.can_grow() {
            frame.hold_step(maps, work, globals, flow)
        } else {
            (Next::Done, Verdict::NeedsGrowth)
        };
    }
    if work.accepted == 0 || step.0 as u32 == Next::ToLeg as u32 {
        return step;
    }
    // What was decided goes. What follows it has to wait for its turn, or for its rest.
    let len = work.accepted;
    send::trimmed(maps, frame, work, flow, len)
}

/// How far ahead of all that was seen of a side its next segment may be. More was never lost in one go; and whoever moved a flow's
/// numbers by half of their circle would make it take a new connection on the same port for a part of itself.
const AHEAD: u32 = 1 << 24;

/// Carries out what the step of a packet wants done with its flow.
#[inline(always)]
fn carry_out<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
    step: Step,
) -> Verdict {
    let step =
        if step.0 as u32 == Next::Request as u32 { requests(maps, frame, work, globals, flow, now) } else { step };
    let over = flow.flags & BACKEND_FIN != 0 && flow.acked == flow.sent && has_leg(flow);
    let step = if matches!(step.1, Verdict::RebindWaits) && over {
        // It waits for an answer behind the last one.
        if frame.can_grow() { (Next::GiveUp, Verdict::BehindLast) } else { (Next::Done, Verdict::NeedsGrowth) }
    } else if matches!(step.1, Verdict::BeyondHead | Verdict::RebindWaits | Verdict::Held) && client::wants_ack(flow) {
        send::ack_alone(work, flow)
    } else {
        step
    };
    let step = if step.0.opens() { frame.open_step(maps, work, globals, flow, now, step.0) } else { step };
    let step = if step.0 as u32 != Next::Reject as u32 {
        step
    } else if frame.can_grow() {
        maps.reject(work, flow, now)
    } else {
        (Next::Done, Verdict::NeedsGrowth)
    };
    frame.finish(maps, work, flow, step)
}

/// A step's answer.
pub type Step = (Next, Verdict);

/// The present moment, in the units that are needed. Everything here counts milliseconds since boot.
#[derive(Clone, Copy)]
pub struct Now {
    pub ns: u64,
    pub ms: u64,
}

impl Now {
    /// From nanoseconds since boot.
    #[inline(always)]
    pub const fn at(ns: u64) -> Self {
        Self { ns, ms: ns / 1_000_000 }
    }
    /// The director's timestamp clock: milliseconds, as Linux has it.
    #[inline(always)]
    pub const fn clock(self) -> u32 {
        self.ms as u32
    }
    /// Milliseconds since that clock was at `then`, on whichever CPU: another one's may be some ahead. In 49 days it comes around.
    #[inline(always)]
    pub const fn since(self, then: u32) -> u32 {
        let ms = self.clock().wrapping_sub(then);
        if ms < u32::MAX - 1000 { ms } else { 0 }
    }
    #[inline(always)]
    pub const fn seconds(self) -> u32 {
        (self.ms / 1000) as u32
    }
}

/// Ticks of an end's clock, most often milliseconds, that pass between two segments that follow each other.
const STEADY: u32 = 64;

/// The whole data path of one packet.
#[inline(always)]
pub fn direct<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    if frame.tagged() {
        return Verdict::Tagged;
    }
    let Some(headers) = frame.headers() else { return Verdict::NotOurs };
    if is_tagged(headers) {
        return Verdict::Tagged;
    }
    let begins = base(headers);
    let may_be_said = too_big::may_be_said(headers);
    if !destination(frame, &mut work.segment) {
        let said = may_be_said && begin_window::<M, F>(frame, work, begins);
        return if said { frame.too_big(maps, work) } else { Verdict::NotOurs };
    }
    let role =
        maps.role(&mut work.known, &work.segment.destination).unwrap_or(0) & (ROLE_LISTENER | ROLE_SOURCE | ROLE_INDEX);
    // Or perhaps a backend answers a client's own address.
    let answers = role == 0
        && source(frame, &mut work.segment)
        && maps.role(&mut work.known, &work.segment.source).unwrap_or(0) & ROLE_BACKEND != 0;
    if role == 0 && !answers {
        return Verdict::NotOurs;
    }
    if !begin_window::<M, F>(frame, work, begins) {
        return Verdict::Unwritable;
    }
    match parse(frame, &mut work.segment) {
        Parsed::Segment => {}
        Parsed::Other => return Verdict::NotOurs,
        Parsed::IpOptions => return Verdict::IpOptions,
        Parsed::Fragment => return Verdict::Fragment,
        Parsed::Extended => return frame.extended(),
        Parsed::Malformed => return Verdict::Malformed,
    }
    let Some(globals) = maps.globals() else { return Verdict::NoConfig };
    let now = Now::at(maps.now());
    let found = if answers {
        gateway::find(maps, work)
    } else if role & ROLE_LISTENER != 0 {
        match client::find(maps, frame, work, globals, now) {
            // An address may be both, with no listener on this port.
            Err(Verdict::NotOurs) if role & ROLE_SOURCE != 0 => {
                backend::find(maps, frame, work, globals, role & ROLE_INDEX)
            }
            found => found,
        }
    } else {
        backend::find(maps, frame, work, globals, role & ROLE_INDEX)
    };
    let (slot, from) = match found {
        Ok(found) => found,
        Err(verdict) => return verdict,
    };
    let Some(mut flow) = maps.flow(slot) else { return Verdict::Busy };
    // The slot may have been collected, or the leg have changed hands, between the look-up and the lock. What is lost by that
    // comes again.
    let theirs = match from {
        From::Client => flow.state != FLOW_FREE && flow.key == work.key,
        From::Leg(leg) => flow.leg.slot == leg,
        From::Gateway => has_leg(&flow) && gateway::is_key(&flow, &work.key),
    };
    if !theirs {
        return if matches!(from, From::Client) { Verdict::Unknown } else { Verdict::Busy };
    }
    let of_leg = !matches!(from, From::Client);
    if !short::is_long(work, &flow, of_leg)
        && let Some(verdict) = frame.short(maps, work, &mut flow, of_leg, now)
    {
        return verdict;
    }
    if let Err(verdict) = frame.verify(maps, work, &mut flow, of_leg) {
        return verdict;
    }
    let step = match from {
        From::Client => frame.client_step(maps, work, globals, &mut flow, now),
        From::Leg(_) | From::Gateway if backend::is_joined(work, &flow) => {
            frame.backend_step(maps, work, globals, &mut flow, now)
        }
        From::Leg(_) | From::Gateway if frame.can_grow() => frame.opening_step(maps, work, globals, &mut flow, now),
        From::Leg(_) | From::Gateway => backend::opening_elsewhere(frame, work, &flow),
    };
    carry_out(maps, frame, work, globals, &mut flow, now, step)
}

/// Moves the frame's window, for this step and those behind it.
#[inline(always)]
fn begin_window<M: Maps, F: Frame>(frame: &mut F, work: &Work, base: u32) -> bool {
    M::Cpu::store(&work.base, u64::from(base));
    frame.rebase(M::Cpu::load(&work.base) as u32)
}

/// Which side of a flow a segment came from, and so how it was found.
#[derive(Clone, Copy)]
enum From {
    Client,
    /// The slot of the leg.
    Leg(u32),
    /// A leg that starts at the client's own address.
    Gateway,
}

/// The flow that a segment belongs to, or what became of a segment of none.
type Found = Result<(u32, From), Verdict>;

/// Makes the work's key that of the client's side of a segment: who it is from.
#[inline(always)]
fn client_key(work: &mut Work) {
    let Work { segment, key, .. } = work;
    key.client = segment.source;
    key.vip = segment.destination;
    key.client_port = segment.source_port;
    key.port = segment.destination_port;
}

/// The opposite: who it is for.
#[inline(always)]
fn server_key(work: &mut Work) {
    let Work { segment, key, .. } = work;
    key.client = segment.destination;
    key.vip = segment.source;
    key.client_port = segment.destination_port;
    key.port = segment.source_port;
}

/// The live counts of the version that a flow's leg belongs to.
#[inline(always)]
fn traffic<M: Maps>(maps: &M, service: u32, version: u32) -> Option<&Traffic> {
    maps.traffic(place_of_version(service, version))
}

/// Where a version's counts lie in the maps that have them.
#[inline(always)]
const fn place_of_version(service: u32, version: u32) -> u32 {
    service * MAX_VERSIONS + (version & (MAX_VERSIONS - 1))
}

/// Adds `by` (two's complement) to the requests in flight on a version.
#[inline(always)]
fn count_in_flight<M: Maps>(maps: &M, service: u32, version: u32, by: u64) {
    if let Some(traffic) = traffic(maps, service, version) {
        M::Cpu::fetch_add(&traffic.in_flight, by);
    }
}

/// Adds `by` to the flows of a version.
#[inline(always)]
fn count_flow<M: Maps>(maps: &M, service: u32, version: u32, by: u64) {
    if let Some(traffic) = traffic(maps, service, version) {
        M::Cpu::fetch_add(&traffic.flows, by);
    }
}

/// Adds `by` to the flows that have a leg to a backend.
#[inline(always)]
fn count_leg<M: Maps>(maps: &M, backend: u32, by: u64) {
    if let Some(backend) = maps.backend(backend) {
        M::Cpu::fetch_add(&backend.legs, by);
    }
}

/// The present policy of a service.
#[inline(always)]
fn policy_of_service<M: Maps>(maps: &M, service: u32) -> Option<&Policy> {
    maps.policy(ServiceWord(maps.service_word(service)).block())
}

/// The present policy of the service that a flow's leg is of; without a leg, of the flow's service.
#[inline(always)]
fn policy_of<'a, M: Maps>(maps: &'a M, flow: &Flow) -> Option<&'a Policy> {
    policy_of_service(maps, if has_leg(flow) { flow.leg.service } else { flow.service })
}

/// Whether an end's clock went on by so little that nobody is harmed if the segment was damaged that says so: whoever is shown a
/// later time than the true one drops what comes until then (PAWS).
#[inline(always)]
fn steady(tsval: u32, before: u32) -> bool {
    tsval.wrapping_sub(before) <= STEADY
}

/// Whether a flow has a leg.
#[inline(always)]
fn has_leg(flow: &Flow) -> bool {
    flow.leg.backend != NONE
}

/// Whether the flow's requests and responses are both framed.
#[inline(always)]
fn framed(flow: &Flow) -> bool {
    flow.flags & (crate::layout::REQUESTS_UNFRAMED | crate::layout::RESPONSES_UNFRAMED) == 0
}
