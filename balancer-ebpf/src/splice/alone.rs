//! Segments of a client whose flow has no leg: not yet, or not any more. The director answers in the backend's place.

use super::{Next, Now, Step, end, has_leg, joined, stash};
use crate::host::Maps;
use crate::layout::{BACKEND_FIN, CLIENT_FIN, CLIENT_TIMESTAMPS, FLOW_OPENING, Flow};
use crate::net::{ACK, FIN, Frame, RST, Seq};
use crate::verdict::Verdict;
use crate::work::Work;

/// A segment of a flow without a leg.
#[inline(always)]
pub(super) fn unbound<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let expected = joined::expected(flow);
    if segment.payload != 0 {
        return joined::head(maps, frame, work, flow, now);
    }
    if segment.has(FIN) {
        if segment.seq.after(expected) {
            return joined::beyond_head(frame);
        }
        end::close(maps, flow);
        flow.flags |= CLIENT_FIN;
        return closed(work, flow, now);
    }
    if segment.seq.before(expected) {
        // A keep-alive probe (RFC 9293, section 3.8.4).
        return acknowledge(frame, work, flow, now, Verdict::ProbeAnswered);
    }
    (Next::Done, Verdict::FlowBegun)
}

/// A segment while the leg is being opened.
#[inline(always)]
pub(super) fn waiting<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
    let segment = &work.segment;
    let have = flow.stash_first.plus(flow.stash_len);
    if segment.payload == 0 {
        return (Next::Done, Verdict::NoLeg);
    }
    if !segment.end().after(have) || segment.seq.before(have) {
        // What waits came again: the client's retransmission is the timer of the director's SYN.
        return (Next::OpenAgain, Verdict::SynAgain);
    }
    if segment.seq != have {
        return (Next::Done, Verdict::BeyondStash);
    }
    stash::append_body(maps, frame, work, flow)
}

/// A segment of a flow that ended without a leg: the director answers a FIN in the backend's place.
#[inline(always)]
pub(super) fn closed(work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let ack = work.segment.end().plus(1);
    let told = flow.flags & BACKEND_FIN != 0;
    let both = told && flow.flags & CLIENT_FIN != 0;
    if !work.segment.has(FIN) {
        if both && flow.acked == flow.sent {
            // Each end has said its last to the other's face. A client that is in TIME_WAIT wants nothing more, and whoever wants
            // the slot may have it. Until then the flow is remembered: a late copy of its first request brings a good cookie.
            flow.seen = 0;
            return (Next::Done, Verdict::FlowEnded);
        }
        if work.segment.payload == 0 || flow.flags & CLIENT_FIN != 0 {
            return (Next::Done, Verdict::NoLeg);
        }
        return reset_again(work, flow, now);
    }
    to_client(work, flow, now, FIN | ACK, ack);
    flow.flags |= CLIENT_FIN;
    if told {
        // The director's own FIN is among what was sent.
        work.draft.seq = flow.sent.minus(1);
    }
    (Next::Draft, Verdict::FinAnswered)
}

/// The client was reset, and does not know it.
#[inline(always)]
pub(super) fn reset_again(work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let seq = work.segment.ack;
    let ack = work.segment.end();
    to_client(work, flow, now, RST, ack);
    work.draft.seq = seq;
    work.draft.timestamps = 0;
    (Next::Draft, Verdict::UnknownReset)
}

/// Answers with an acknowledgement of all that the director answers for.
#[inline(always)]
pub(super) fn acknowledge<F: Frame>(
    frame: &mut F,
    work: &mut Work,
    flow: &mut Flow,
    now: Now,
    verdict: Verdict,
) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    let ack = joined::expected(flow);
    to_client(work, flow, now, ACK, ack);
    (Next::Draft, verdict)
}

/// Drafts a segment of the director's own to the client.
#[inline(always)]
pub(super) fn to_client(work: &mut Work, flow: &mut Flow, now: Now, flags: u8, ack: Seq) {
    // Behind a leg the client sees the backend's clock, which may be slower than the director's: were it overtaken, the
    // client would drop what the backend sends next (PAWS). The last one that the client has seen is never wrong.
    if !has_leg(flow) || flow.state == FLOW_OPENING {
        flow.clock = Seq(now.clock()).max(Seq(flow.clock)).0;
    }
    let clock = flow.clock;
    let room = (crate::layout::BUFFER_BYTES as u32).saturating_sub(flow.stash_len);
    let scale = flow.our_scale & 15;
    let draft = &mut work.draft;
    draft.clear();
    draft.macs = flow.client_hop.macs;
    draft.source = flow.key.vip;
    draft.destination = flow.key.client;
    draft.source_port = flow.key.port;
    draft.destination_port = flow.key.client_port;
    draft.seq = flow.sent;
    draft.ack = ack;
    draft.flags = u32::from(flags);
    draft.window = room >> scale;
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = clock;
    draft.tsecr = flow.tsval;
    work.egress = flow.client_hop.egress;
}

/// Drafts a RST to the client.
#[inline(always)]
pub(super) fn reset_client<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now, verdict: Verdict) -> Step {
    // What has come from the client: the segment at hand may be the backend's, whose numbers mean nothing there.
    let ack = if joined::head_in_stash(flow) { joined::expected(flow) } else { flow.received };
    end::close(maps, flow);
    // Whoever sends on, on either side, has not heard of it yet and gets another RST.
    end::release_leg(maps, flow);
    to_client(work, flow, now, RST | ACK, ack);
    work.draft.timestamps = 0;
    (Next::Draft, verdict)
}
