//! Legs that start at the client's own address (`return = "gateway"`): backends see who asks, and answer through the director,
//! which is their way to the clients.
//!
//! The port of such a leg is its slot's, as of any leg, but the way back is a look-up: the address says nothing of the slot. Its
//! key lies among those of the clients' connections, with the backend in the place of the listener.

use super::{Found, From, policy_of, server_key};
use crate::host::{Entered, Maps};
use crate::layout::{Flow, FlowKey, POLICY_GATEWAY};
use crate::verdict::Verdict;
use crate::work::Work;

/// The flow of a backend's segment to an address that is not the director's.
#[inline(always)]
pub(super) fn find<M: Maps>(maps: &M, work: &mut Work) -> Found {
    server_key(work);
    match maps.flow_slot(&work.key) {
        Some(slot) => Ok((slot, From::Gateway)),
        // A backend may have business of its own with its clients: the director is its router then.
        None => Err(Verdict::NotOurs),
    }
}

/// Whether a flow's legs start at its client's address.
#[inline(always)]
pub(super) fn wanted<M: Maps>(maps: &M, flow: &Flow) -> bool {
    match policy_of(maps, flow) {
        Some(policy) => policy.flags & POLICY_GATEWAY != 0,
        None => false,
    }
}

/// Whether the answers on a flow's leg are found by a key.
#[inline(always)]
pub(super) fn is_key(flow: &Flow, key: &FlowKey) -> bool {
    let leg = &flow.leg;
    key.client == leg.source && key.vip == leg.address && key.client_port == leg.source_port && key.port == leg.port
}

/// That key.
#[inline(always)]
fn key(flow: &Flow) -> FlowKey {
    FlowKey { client: flow.leg.source, vip: flow.leg.address, client_port: flow.leg.source_port, port: flow.leg.port }
}

/// Makes the flow findable by the answers on its leg. False if another one is in the way, or the table refuses.
#[inline(always)]
pub(super) fn enter<M: Maps>(maps: &M, flow: &Flow) -> bool {
    matches!(maps.enter(&key(flow), flow.slot), Entered::Done)
}

/// The opposite, if the flow's leg is of this kind.
#[inline(always)]
pub(super) fn leave<M: Maps>(maps: &M, flow: &Flow) {
    if flow.leg.source == flow.key.client {
        maps.leave_gateway(flow);
    }
}

/// The part of that which makes the key.
#[inline(always)]
pub fn leave_gateway<M: Maps>(maps: &M, flow: &Flow) {
    maps.leave(&key(flow), flow.slot);
}
