//! Joining a leg and a flow: the differences between their numbers, clocks and windows.

use super::{Now, body, count_flow, count_leg};
use crate::decide::Choice;
use crate::host::{Cpu, Maps};
use crate::layout::{FLOW_SPLICED, Flow, LAST_RESPONSE, LEG_REUSED, Leg, RESPONSE_BODY};
use crate::net::{NO_SCALE, Seq};

/// Joins a flow and a leg that was taken for its request, which begins at `flow.request_first`.
#[inline(always)]
pub fn join<M: Maps>(maps: &M, flow: &mut Flow, slot: u32, choice: &Choice, now: Now) {
    if let Some(parked) = maps.leg(slot) {
        M::Cpu::copy(&mut flow.leg, &parked.leg);
    }
    let first = flow.request_first;
    let sent = flow.sent;
    let leg = &mut flow.leg;
    leg.service = flow.service;
    leg.version = choice.version;
    leg.generation = choice.generation;
    leg.position = choice.position;
    leg.first = first;
    leg.begins = sent;
    leg.to_leg = leg.next.since(first);
    leg.to_client = sent.since(leg.expected);
    // Neither end sees a clock go back, whoever was joined to the leg before (PAWS, RFC 7323, section 5).
    leg.clock = Seq(now.clock()).max(Seq(leg.clock)).0;
    leg.clock_to_leg = leg.clock.wrapping_sub(flow.tsval);
    let clock = Seq(now.clock()).max(Seq(flow.clock)).0;
    leg.clock_to_client = clock.wrapping_sub(leg.tsval);
    shifts(leg, flow.client_scale, flow.our_scale);
    flow.clock = clock;
    flow.upstream_acked = first;
    flow.tried = 0;
    flow.tries = 0;
    flow.asked = now.clock();
    flow.state = FLOW_SPLICED;
    flow.flags |= LEG_REUSED;
    spliced(flow);
    count_flow(maps, flow.service, choice.version, 1);
    count_leg(maps, choice.backend, 1);
}

/// How far a leg's beginnings may lie behind what is under way. Half of the circle of sequence numbers is twice as long: what lies
/// further behind than that would seem to lie ahead.
const FAR: u32 = 1 << 30;

/// Has the beginnings of a flow's leg follow what is under way. Segments of an older leg are late by seconds, not by hundreds of megabytes.
#[inline(always)]
pub(super) fn keep_up(flow: &mut Flow) {
    let leg = &mut flow.leg;
    if flow.received.after(leg.first.plus(FAR)) {
        leg.first = flow.received.minus(FAR / 2);
    }
    if flow.sent.after(leg.begins.plus(FAR)) {
        leg.begins = flow.sent.minus(FAR / 2);
    }
}

/// Sets the window shifts between a client and a leg. A side that does not scale has windows of 64 KiB at most.
#[inline(always)]
pub(super) fn shifts(leg: &mut Leg, client_scale: u32, our_scale: u32) {
    let scale = |of: u32| if of == NO_SCALE { 0 } else { of & 15 };
    // Both scale or neither (RFC 7323, section 1.3).
    let both = leg.scale != NO_SCALE && leg.backend_scale != NO_SCALE;
    let backend = if both { scale(leg.backend_scale) } else { 0 };
    let ours = if both { scale(leg.scale) } else { 0 };
    leg.shift_to_client = (16 + backend).wrapping_sub(scale(our_scale));
    leg.shift_to_leg = (16 + scale(client_scale)).wrapping_sub(ours);
}

/// What every flow forgets that gets another leg: where it was in the responses of the last one.
#[inline(always)]
pub(super) fn spliced(flow: &mut Flow) {
    body::known(&mut flow.response, flow.sent, 0);
    flow.flags &= !(RESPONSE_BODY | LAST_RESPONSE);
}
