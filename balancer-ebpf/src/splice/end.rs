//! How flows end: by FINs, by a RST, or by silence; and how their slots come free without anybody's help.

use super::{Loss, count_flow, count_in_flight, count_leg, gateway, has_leg};
use crate::host::{Cpu, Maps};
use crate::layout::{
    BACKEND_FIN, CLIENT_FIN, FLOW_CLOSING, FLOW_FREE, FLOW_OPENING, FLOW_UNBOUND, Flow, Globals, LegSlot, NONE,
    STASH_HEAD, STASH_HELD, STASH_OWNED, STASH_RESPONSE, owned_by,
};
use crate::verdict::{Note, Verdict};

/// Milliseconds for which a closed flow still translates what is on its way. Longer silence frees the slot when a new
/// flow wants it.
const LINGER: u64 = 2_000;
/// Milliseconds after which a leg that never came up frees the slot, and a head that never came as a whole.
const OPENING_PATIENCE: u64 = 60_000;

/// Whether a slot may be given to a new flow.
#[inline(always)]
pub(super) fn collectable(flow: &Flow, globals: &Globals, now: u64) -> bool {
    let silent = now.saturating_sub(flow.seen);
    let patience = match flow.state {
        FLOW_FREE => 0,
        // Both ends have said their last, and the client has not all of it yet: it may have to be said again.
        FLOW_CLOSING
            if flow.flags & (CLIENT_FIN | BACKEND_FIN) == CLIENT_FIN | BACKEND_FIN && flow.acked != flow.sent =>
        {
            OPENING_PATIENCE
        }
        FLOW_CLOSING => LINGER,
        FLOW_OPENING => OPENING_PATIENCE,
        // It was taken for a flow that then did not begin, because another CPU had the slot in its hands.
        FLOW_UNBOUND if flow.key.client_port == [0; 2] => LINGER,
        FLOW_UNBOUND if flow.flags & STASH_HEAD != 0 => OPENING_PATIENCE,
        _ => u64::from(globals.flow_idle_seconds) * 1000,
    };
    flow.state == FLOW_FREE || silent > patience
}

/// Empties a slot, whatever is in it.
#[inline(always)]
pub(super) fn collect<M: Maps>(maps: &M, flow: &mut Flow, slot: u32) {
    if flow.state == FLOW_FREE {
        return;
    }
    if flow.state != FLOW_CLOSING {
        maps.note(Note::FlowCollected.counter());
        maps.lost(flow, Loss::Left);
        settle(maps, flow);
    }
    release_leg(maps, flow);
    // The client may have used the same port for a newer flow, which then owns the entry.
    maps.leave(&flow.key, slot);
    flow.state = FLOW_FREE;
}

/// Gives back what a flow holds besides its slot: its stash, its place in the counts.
#[inline(always)]
pub(super) fn settle<M: Maps>(maps: &M, flow: &mut Flow) {
    drop_stash(maps, flow);
    leave_leg(maps, flow);
}

/// Takes the flow out of the counts of its leg's version.
#[inline(always)]
pub(super) fn leave_leg<M: Maps>(maps: &M, flow: &mut Flow) {
    if has_leg(flow) {
        let (service, version) = (flow.leg.service, flow.leg.version);
        if flow.outstanding != 0 {
            count_in_flight(maps, service, version, u64::from(flow.outstanding).wrapping_neg());
        }
        count_flow(maps, service, version, u64::MAX);
        count_leg(maps, flow.leg.backend, u64::MAX);
    }
    flow.outstanding = 0;
}

/// Notes how many sequence numbers a leg has used up that ends.
#[inline(always)]
pub(super) fn reach<M: Maps>(slot: &LegSlot, used: u32) {
    // Its FIN has a number too; and a leg that never came up has none but its SYN's.
    let used = if used > i32::MAX as u32 { 2 } else { used + 2 };
    M::Cpu::store(&slot.reached, u64::from((M::Cpu::load(&slot.reached) as u32).wrapping_add(used)));
}

/// The same for the leg of a flow.
#[inline(always)]
pub(super) fn reach_with_flow<M: Maps>(maps: &M, flow: &Flow) {
    if let Some(slot) = maps.leg(flow.leg.slot) {
        reach::<M>(&slot, flow.received.plus(flow.leg.to_leg).since(flow.leg.isn));
    }
}

/// The flow has no leg any more, and the leg's slot is free: what its backend still sends is answered with a RST.
#[inline(always)]
pub(super) fn release_leg<M: Maps>(maps: &M, flow: &mut Flow) {
    if has_leg(flow) {
        gateway::leave(maps, flow);
        reach_with_flow(maps, flow);
        if let Some(owner) = maps.leg_owner(flow.leg.slot) {
            M::Cpu::compare_exchange(owner, owned_by(flow.slot), 0);
        }
    }
    flow.leg.backend = NONE;
    flow.leg.version = NONE;
}

/// Whether a flow has ended of whose leg nobody will hear again: each end has acknowledged the other's FIN, or the leg was reset.
#[inline(always)]
pub(super) fn is_over(flow: &Flow, verdict: Verdict) -> bool {
    flow.state == FLOW_CLOSING
        && has_leg(flow)
        && (matches!(verdict, Verdict::ClientReset | Verdict::BackendReset) || is_acknowledged(flow))
}

/// The leg of a flow that is over is free for the next one at once, rather than when the flow's slot is collected: at twenty thousand
/// connections a second, those of the last two seconds have as many legs as one source address has ports. Who has not heard the
/// last of it and asks again is answered by the director.
#[inline(always)]
pub(super) fn let_go<M: Maps>(maps: &M, flow: &mut Flow) {
    release_leg(maps, flow);
    if is_acknowledged(flow) {
        // And so may the flow's slot be, for whoever wants it.
        flow.seen = 0;
    }
}

/// Whether each end has acknowledged the other's FIN.
#[inline(always)]
fn is_acknowledged(flow: &Flow) -> bool {
    const BOTH: u32 = CLIENT_FIN | BACKEND_FIN;
    flow.flags & BOTH == BOTH && flow.acked == flow.sent && flow.upstream_acked.after(flow.received)
}

/// Both ends know that it is over. The flow still translates what comes late, until its slot is wanted.
#[inline(always)]
pub(super) fn close<M: Maps>(maps: &M, flow: &mut Flow) {
    if flow.state != FLOW_CLOSING {
        settle(maps, flow);
        flow.state = FLOW_CLOSING;
    }
}

/// Frees the flow's stash, if it has one.
#[inline(always)]
pub(super) fn drop_stash<M: Maps>(maps: &M, flow: &mut Flow) {
    if flow.stash != NONE {
        if let Some(stash) = maps.stash(flow.stash) {
            M::Cpu::store(&stash.owner, 0);
        }
        flow.stash = NONE;
    }
    flow.stash_len = 0;
    flow.flags &= !(STASH_OWNED | STASH_HEAD | STASH_RESPONSE | STASH_HELD);
}
