//! The pool: legs that no request needs wait for other flows' requests.
//!
//! Each backend has a stack of idle legs for every class of options, last in, first out: so a quiet hour lets the lowest ones
//! grow cold until the backend closes them, and the topmost stay warm. The stacks are lists through the slots of the legs, with
//! one word for the top that is changed by compare-and-swap. A leg that its backend closes stays where it is, marked dead,
//! until somebody comes upon it.
//!
//! What goes in: legs whose last response was complete by its own framing and acknowledged by the client, whose backend has
//! acknowledged the request, and on which every byte went out as it was framed. Never those of flows that are not framed, that
//! changed protocols, whose client closed in mid-request, or with authentication bound to the connection.
//!
//! What comes out serves a request of a safe method that is there as a whole, with a copy in the stash until the first byte of
//! the response: if the backend closed the leg at that very moment, the copy goes out on a new one.

use super::{end, framed, has_leg, policy_of};
use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::layout::{
    BACKEND_FIN, CLASS_MSS, CLIENT_FIN, CLIENT_SACK, CLIENT_TIMESTAMPS, FLOW_SPLICED, Flow, Globals, LAST_RESPONSE,
    LEG_IDLE, LEG_OWN, LEG_REUSED, NONE, POLICY_GATEWAY, POLICY_POOL, Policy, PoolWord, RESPONSE_BODY, owned_by, pool,
};
use crate::net::{NO_SCALE, Seq};
use crate::verdict::Note;

/// Legs looked at for one that is alive.
const TAKES: u32 = 64;
/// Attempts to put one in while other CPUs do the same.
const PUSHES: u32 = 16;

/// Slots looked at for a free leg.
const PROBES: u32 = 64;

/// The class of the legs that a flow may use.
#[inline(always)]
pub(super) fn class(flow: &Flow) -> u32 {
    let mut mss = 0;
    for (index, limit) in CLASS_MSS.iter().enumerate() {
        if flow.client_mss >= *limit {
            mss = index as u32;
        }
    }
    u32::from(flow.flags & CLIENT_TIMESTAMPS != 0)
        | u32::from(flow.flags & CLIENT_SACK != 0) << 1
        | u32::from(flow.client_scale != NO_SCALE) << 2
        | mss << 3
}

/// How many idle legs a service keeps for each backend; 0 if none.
#[inline(always)]
pub(super) fn limit(policy: &Policy) -> u32 {
    if policy.flags & (POLICY_POOL | POLICY_GATEWAY) == POLICY_POOL { policy.pool_limit } else { 0 }
}

/// The same, of a flow's service.
#[inline(always)]
pub(super) fn limit_of<M: Maps>(maps: &M, flow: &Flow) -> u32 {
    match policy_of(maps, flow) {
        Some(policy) => limit(policy),
        None => 0,
    }
}

/// Whether a flow's leg may go to the pool at this moment.
#[inline(always)]
pub(super) fn parkable(flow: &Flow) -> bool {
    const NEVER: u32 = CLIENT_FIN | BACKEND_FIN | LAST_RESPONSE | LEG_OWN | LEG_REUSED | RESPONSE_BODY;
    flow.state == FLOW_SPLICED
        && has_leg(flow)
        && framed(flow)
        && flow.outstanding == 0
        && flow.flags & NEVER == 0
        && flow.acked == flow.sent
        && flow.response.next == flow.sent
        && flow.response.chunked == 0
        && flow.request.chunked == 0
        && flow.received == flow.request.next
        && flow.upstream_acked == flow.request.next
}

/// Gives a leg to another owner, by whoever owns it.
#[inline(always)]
fn own<M: Maps>(maps: &M, slot: u32, owner: u64) {
    if let Some(present) = maps.leg_owner(slot) {
        M::Cpu::store(present, owner);
    }
}

/// Gives back the slot of a leg that was claimed and is not needed after all.
#[inline(always)]
pub(super) fn free<M: Maps>(maps: &M, slot: u32) {
    own(maps, slot, 0);
}

struct Push<'a, M: Maps> {
    maps: &'a M,
    index: u32,
    slot: u32,
    limit: u32,
    done: bool,
}

struct OnePush;
impl<M: Maps> LoopStep<Push<'_, M>> for OnePush {
    #[inline(always)]
    fn step(push: &mut Push<'_, M>) -> bool {
        let Some(word) = push.maps.pool(push.index) else { return false };
        let old = PoolWord(M::Cpu::load(word));
        if old.count() >= push.limit {
            return false;
        }
        {
            let Some(leg) = push.maps.leg(push.slot) else { return false };
            M::Cpu::store(&leg.below, u64::from(old.top()));
        }
        push.done = M::Cpu::compare_exchange(word, old.0, old.with(push.slot + 1, old.count() + 1).0);
        !push.done
    }
}

/// Puts an idle leg on top of a pool; false if that is full.
#[inline(always)]
fn push<M: Maps>(maps: &M, index: u32, slot: u32, limit: u32) -> bool {
    let mut push = Push { maps, index, slot, limit, done: false };
    M::Cpu::repeat::<_, OnePush>(&mut push, PUSHES);
    push.done
}

/// Puts the leg of a flow for which [`parkable`] holds into its pool. The flow has none then.
#[inline(always)]
pub fn park<M: Maps>(maps: &M, flow: &mut Flow, limit: u32) -> bool {
    let leg = &mut flow.leg;
    leg.next = flow.received.plus(leg.to_leg);
    leg.expected = flow.sent.minus(leg.to_client);
    leg.clock = Seq(leg.clock).max(Seq(flow.tsval.wrapping_add(leg.clock_to_leg))).0;
    let (slot, index) = (leg.slot, pool(leg.backend, leg.class));
    {
        let Some(mut parked) = maps.leg(slot) else { return false };
        M::Cpu::copy(&mut parked.leg, leg);
    }
    own(maps, slot, LEG_IDLE);
    if !push(maps, index, slot, limit) {
        own(maps, slot, owned_by(flow.slot));
        return false;
    }
    end::leave_leg(maps, flow);
    flow.leg.backend = NONE;
    flow.leg.version = NONE;
    maps.note(Note::LegParked.counter());
    true
}

struct Take<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    index: u32,
    backend: u32,
    owner: u64,
    slot: u32,
}

struct OneTake;
impl<M: Maps> LoopStep<Take<'_, M>> for OneTake {
    #[inline(always)]
    fn step(take: &mut Take<'_, M>) -> bool {
        let Some(word) = take.maps.pool(take.index) else { return false };
        let old = PoolWord(M::Cpu::load(word));
        let slot = old.top().wrapping_sub(1);
        if slot >= take.globals.flows {
            return false;
        }
        let Some(leg) = take.maps.leg(slot) else { return false };
        let below = M::Cpu::load(&leg.below) as u32;
        if !M::Cpu::compare_exchange(word, old.0, old.with(below, old.count().wrapping_sub(1)).0) {
            return true;
        }
        // The backend's number may have been given to another one since.
        let same = match take.maps.backend(take.backend) {
            Some(backend) => backend.address == leg.leg.address && backend.port == leg.leg.port,
            None => false,
        };
        let Some(owner) = take.maps.leg_owner(slot) else { return false };
        if same && M::Cpu::compare_exchange(owner, LEG_IDLE, take.owner) {
            take.slot = slot;
            return false;
        }
        end::reach::<M>(&leg, leg.leg.next.since(leg.leg.isn));
        M::Cpu::store(owner, 0);
        true
    }
}

/// Takes an idle leg to `backend` out of its pool; its slot, or [`NONE`]. It belongs to `owner` then.
#[inline(always)]
pub fn take<M: Maps>(maps: &M, globals: &Globals, backend: u32, class: u32, owner: u64) -> u32 {
    let mut take = Take { maps, globals, index: pool(backend, class), backend, owner, slot: NONE };
    M::Cpu::repeat::<_, OneTake>(&mut take, TAKES);
    take.slot
}

/// Puts back what was taken a moment ago and is not needed after all.
#[inline(always)]
pub(super) fn give_back<M: Maps>(maps: &M, backend: u32, class: u32, slot: u32) {
    own(maps, slot, LEG_IDLE);
    if !push(maps, pool(backend, class), slot, u32::MAX) {
        own(maps, slot, 0);
    }
}

struct Claim<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    owner: u64,
    slot: u32,
    /// A pool that has legs, for when nothing is free.
    backend: u32,
    class: u32,
}

struct Probe;
impl<M: Maps> LoopStep<Claim<'_, M>> for Probe {
    #[inline(always)]
    fn step(claim: &mut Claim<'_, M>) -> bool {
        let Some(hands) = claim.maps.hands() else { return false };
        let hand = M::Cpu::fetch_add(&hands.leg, 1) as u32;
        let Some(slot) = hand.checked_rem(claim.globals.flows) else { return false };
        let Some(owner) = claim.maps.leg_owner(slot) else { return true };
        if M::Cpu::compare_exchange(owner, 0, claim.owner) {
            claim.slot = slot;
            return false;
        }
        if M::Cpu::load(owner) >= LEG_IDLE
            && let Some(leg) = claim.maps.leg(slot)
        {
            claim.backend = leg.leg.backend;
            claim.class = leg.leg.class;
        }
        true
    }
}

/// Finds a slot for a new leg of the flow in `flow`: the one of the same number, if no other leg lies in it, else by the
/// clock hand, else that of an idle leg, which is forgotten: its backend is told so by a RST when it says something. [`NONE`] if
/// there is none.
#[inline(always)]
pub fn claim_leg<M: Maps>(maps: &M, globals: &Globals, flow: u32) -> u32 {
    let owner = owned_by(flow);
    {
        let Some(present) = maps.leg_owner(flow) else { return NONE };
        if M::Cpu::compare_exchange(present, 0, owner) {
            return flow;
        }
    }
    let mut claim = Claim { maps, globals, owner, slot: NONE, backend: NONE, class: 0 };
    M::Cpu::repeat::<_, Probe>(&mut claim, PROBES);
    if claim.slot == NONE && claim.backend != NONE {
        let idle = maps.take(globals, claim.backend, claim.class, owner);
        if idle != NONE {
            if let Some(leg) = maps.leg(idle) {
                end::reach::<M>(&leg, leg.leg.next.since(leg.leg.isn));
            }
            return idle;
        }
        // All that lay there was dead, and is free now.
        M::Cpu::repeat::<_, Probe>(&mut claim, PROBES);
    }
    claim.slot
}
