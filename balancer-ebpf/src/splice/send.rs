//! The one place that writes packets: translation, headers made anew, and segments out of a buffer.

mod emit;
mod quote;
mod translate;

pub use emit::Emission;
pub use quote::Quote;
pub(super) use quote::send_on;
pub(super) use translate::{plain_to_client, plain_to_leg};

use super::{Next, Step, end};
use crate::host::Maps;
use crate::layout::{CLIENT_TIMESTAMPS, Flow, LEG_OWN};
use crate::net::{ACK, Frame, PSH, Seq, craft};
use crate::verdict::{Note, Verdict};
use crate::work::Work;
use emit::emit;
use translate::{room, shifted, to_client, to_leg, translate};

/// Does what a step wants for a packet of no flow.
#[inline(always)]
pub(super) fn finish_stateless<F: Frame>(frame: &mut F, work: &mut Work, (next, verdict): Step) -> Verdict {
    match next {
        Next::Draft => {}
        _ => return verdict,
    }
    // Not by the maps' function: a SYN, of which there may be a flood, pays for each.
    craft(&work.draft, &mut work.crafted);
    if !frame.can_grow() && work.crafted.len > frame.len() {
        return Verdict::NeedsGrowth;
    }
    if !frame.rebuild(&work.crafted, None) {
        return Verdict::Unwritable;
    }
    verdict
}

/// Does what a step wants, and has a flow that is over by it let go of its leg.
#[inline(always)]
pub fn finish<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, step: Step) -> Verdict {
    let verdict = write(maps, frame, work, flow, step);
    if end::is_over(flow, step.1) {
        end::let_go(maps, flow);
    }
    verdict
}

/// Does what a step wants.
#[inline(always)]
fn write<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    flow: &mut Flow,
    (next, verdict): Step,
) -> Verdict {
    match next {
        // Whatever decides or opens has been turned into one of the others.
        Next::Done
        | Next::Request
        | Next::Choose
        | Next::Decide
        | Next::Accept
        | Next::More
        | Next::Open
        | Next::OpenRebind
        | Next::OpenAgain
        | Next::Refused
        | Next::Reopen
        | Next::GiveUp
        | Next::Reject
        | Next::Hold => verdict,
        Next::ToLeg | Next::ToClient | Next::ToClientFin => {
            let mut translation = if next as u32 == Next::ToLeg as u32 { to_leg(flow) } else { to_client(flow) };
            translation.fin = next as u32 == Next::ToClientFin as u32;
            work.egress = translation.hop.egress;
            if translate::<F, true>(frame, &work.segment, &translation) { verdict } else { Verdict::Unwritable }
        }
        Next::Draft | Next::FarewellAndDraft => {
            if next as u32 == Next::FarewellAndDraft as u32 {
                maps.craft(&work.farewell, &mut work.crafted);
                let made = frame.rebuild(&work.crafted, None);
                if !made || !frame.send_copy(work.farewell_egress) {
                    maps.note(Note::CopyFailed.counter());
                }
            }
            maps.craft(&work.draft, &mut work.crafted);
            if frame.rebuild(&work.crafted, None) { verdict } else { Verdict::Unwritable }
        }
        Next::Emit => emit(maps, frame, work, flow, verdict),
    }
}

/// What all segments made for the leg have in common.
#[inline(always)]
fn draft_to_leg(work: &mut Work, flow: &Flow, first: Seq) {
    let leg = &flow.leg;
    let draft = &mut work.draft;
    draft.on_leg(leg);
    draft.seq = first.plus(leg.to_leg);
    draft.ack = flow.acked.minus(leg.to_client);
    draft.flags = u32::from(ACK | PSH);
    draft.window = shifted(flow.window, leg.shift_to_leg);
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = flow.tsval.wrapping_add(leg.clock_to_leg);
    draft.tsecr = leg.tsval;
    work.egress = leg.hop.egress;
}

/// The stash's first `len` bytes go to the leg; they begin at `first` in the client's numbers.
#[inline(always)]
pub(super) fn from_stash(work: &mut Work, flow: &Flow, first: Seq, len: u32, verdict: Verdict) -> Step {
    draft_to_leg(work, flow, first);
    work.emission = Emission::of_stash(len, flow.leg.mss);
    (Next::Emit, verdict)
}

/// The same from the work's buffer.
#[inline(always)]
pub(super) fn from_buffer(work: &mut Work, flow: &Flow, first: Seq, len: u32, verdict: Verdict) -> Step {
    draft_to_leg(work, flow, first);
    work.emission = Emission::of_buffer(len, flow.leg.mss);
    (Next::Emit, verdict)
}

/// Only the acknowledgement of the client's segment goes to the leg.
#[inline(always)]
pub(super) fn ack_alone(work: &mut Work, flow: &Flow) -> Step {
    draft_to_leg(work, flow, flow.received);
    work.draft.flags = u32::from(ACK);
    (Next::Draft, Verdict::AckAlone)
}

/// Only the first `len` bytes of the client's segment go to the leg.
#[inline(always)]
pub(super) fn trimmed<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, len: u32) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if len > crate::layout::BUFFER_BYTES as u32 {
        // What is cut off was framed, and comes again unread.
        flow.flags |= LEG_OWN;
    }
    let len = len.min(crate::layout::BUFFER_BYTES as u32);
    if !frame.load(work.segment.payload_at(), len, &mut work.buffer, 0) {
        return (Next::Done, Verdict::Unwritable);
    }
    maps.note(Note::Trimmed.counter());
    let first = work.segment.seq;
    flow.received = flow.received.max(first.plus(len));
    from_buffer(work, flow, first, len, Verdict::ToBackend)
}

/// Only the first `len` bytes of the backend's segment go to the client.
#[inline(always)]
pub(super) fn trimmed_to_client<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow, len: u32) -> Step {
    let len = len.min(crate::layout::BUFFER_BYTES as u32);
    if len == 0 || !frame.load(work.segment.payload_at(), len, &mut work.buffer, 0) {
        return (Next::Done, Verdict::BeyondResponseHead);
    }
    let segment = &work.segment;
    let leg = &flow.leg;
    let clock = Seq(segment.tsval.wrapping_add(leg.clock_to_client)).max(Seq(flow.clock)).0;
    let draft = &mut work.draft;
    draft.clear();
    draft.macs = flow.client_hop.macs;
    draft.source = flow.key.vip;
    draft.destination = flow.key.client;
    draft.source_port = flow.key.port;
    draft.destination_port = flow.key.client_port;
    draft.seq = segment.seq.plus(leg.to_client);
    draft.ack = segment.ack.minus(leg.to_leg);
    draft.flags = u32::from(ACK | PSH);
    draft.window = shifted(segment.window, leg.shift_to_client).min(room(flow));
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = clock;
    draft.tsecr = segment.tsecr.wrapping_sub(leg.clock_to_leg);
    flow.clock = clock;
    work.egress = flow.client_hop.egress;
    work.emission = Emission::of_buffer(len, flow.client_mss.saturating_sub(12).max(512));
    (Next::Emit, Verdict::ToClient)
}

#[cfg(test)]
mod tests;
