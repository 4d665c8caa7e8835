//! What is done to a flow from outside, not because of a packet: it is closed, because a drain has come to its deadline, or its
//! request is released, because a hold has ended.
//!
//! The daemon asks for it through the kernel. So a flow ends as it would by itself: under its lock, with a RST to both ends, and
//! out of all counts. And a request that was held is decided as it would be if its client sent it again now: that is what comes
//! in, and the client's own copy, some time later, is one that comes twice.

use super::{Emission, Next, Now, Step, begin_window, end, has_leg};
use crate::host::Maps;
use crate::layout::{CLIENT_TIMESTAMPS, EGRESS_COMES_IN, FLOW_OPENING, FLOW_SPLICED, Flow, NONE, STASH_HELD};
use crate::net::{ACK, Draft, Egress, Frame, IPV6_BASE, PSH};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Closes the flow that the work's request names. The frame is only the paper on which the two RSTs are written.
#[inline(always)]
pub fn close<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    let Some(globals) = maps.globals() else { return Verdict::NoConfig };
    let Some(mut flow) = maps.flow(work.errand.slot) else { return Verdict::Busy };
    // It may have ended since, or its slot been given to another, or its next request have gone elsewhere.
    let meant = flow.key == work.errand.key
        && matches!(flow.state, FLOW_OPENING | FLOW_SPLICED)
        && has_leg(&flow)
        && flow.leg.service == work.errand.service
        && flow.leg.version == work.errand.version;
    if !meant {
        return Verdict::NotOurs;
    }
    if !paper::<M, F>(frame, work) {
        return Verdict::Unwritable;
    }
    // By the function that gives up as well, whose stack is free again when the packets are made.
    let (next, _) = frame.open_step(maps, work, globals, &mut flow, Now::at(maps.now()), Next::GiveUp);
    finish(maps, frame, work, &mut flow, (next, Verdict::ClosedOutside))
}

/// Lets the request come in again that the errand's flow holds. The frame is the paper that it is written on.
#[inline(always)]
pub fn release<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    let Some(mut flow) = maps.flow(work.errand.slot) else { return Verdict::Busy };
    let meant = flow.key == work.errand.key && flow.service == work.errand.service;
    if !meant || flow.flags & STASH_HELD == 0 || flow.stash == NONE {
        return Verdict::NotOurs;
    }
    if !paper::<M, F>(frame, work) {
        return Verdict::Unwritable;
    }
    from_client(&mut work.draft, &flow);
    work.egress = Egress { interface: flow.client_hop.egress.interface, flags: EGRESS_COMES_IN };
    work.emission = Emission::of_stash(flow.stash_len, SEGMENT);
    let verdict = finish(maps, frame, work, &mut flow, (Next::Emit, Verdict::Released));
    // If it gets lost on its short way, the client's own copy is the next one.
    end::drop_stash(maps, &mut flow);
    verdict
}

/// Makes the frame one of the family of the errand's flow.
#[inline(always)]
fn paper<M: Maps, F: Frame>(frame: &mut F, work: &Work) -> bool {
    begin_window::<M, F>(frame, work, if work.errand.key.client.is_v4() { 0 } else { IPV6_BASE })
}

/// The programs are run by themselves, and nobody carries their packet out: all of them leave as copies.
#[inline(always)]
fn finish<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, step: Step) -> Verdict {
    let verdict = frame.finish(maps, work, flow, step);
    if verdict as u32 == step.1 as u32 && !frame.send_copy(work.egress) {
        maps.note(Note::CopyFailed.counter());
    }
    verdict
}

/// Bytes of a released segment at most: what fits into any Ethernet frame with all options.
const SEGMENT: u32 = 1400;

/// Drafts what the client sent, and would send again.
#[inline(always)]
fn from_client(draft: &mut Draft, flow: &Flow) {
    draft.clear();
    let [a, b, c, d, e, f, g, h, i, j, k, l] = flow.client_hop.macs;
    draft.macs = [g, h, i, j, k, l, a, b, c, d, e, f];
    draft.source = flow.key.client;
    draft.destination = flow.key.vip;
    draft.source_port = flow.key.client_port;
    draft.destination_port = flow.key.port;
    draft.seq = flow.stash_first;
    draft.ack = flow.acked;
    draft.flags = u32::from(ACK | PSH);
    draft.window = flow.window;
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = flow.tsval;
    draft.tsecr = flow.clock;
}
