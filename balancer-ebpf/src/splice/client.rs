//! Segments of a client: whose flow they are, whether they can belong to it, and who deals with them.

use super::{
    AHEAD, Found, From, Loss, Next, Now, Step, alone, begin, client_key, end, has_leg, joined, reject, send, steady,
    storm,
};
use crate::cookie::Proof;
use crate::host::Maps;
use crate::layout::{
    ANSWERED_LAST, FLOW_CLOSING, FLOW_OPENING, FLOW_SPLICED, FLOW_UNBOUND, Flow, Globals, LEG_RESET, LEG_REUSED,
    REJECTED, REQUESTS_UNFRAMED, STASH_HEAD, STASH_OWNED,
};
use crate::net::{ACK, FIN, Frame, RST, SYN, Segment, read_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// How far behind the last acknowledgement one of the same connection may come: late ones, not a new connection's.
const LATE_ACKS: u32 = 1 << 20;
/// How far a RST's number may lie from what is expected.
const RESET_WINDOW: u32 = 1 << 20;

/// The flow of a packet to a listener's address. [`Verdict::NotOurs`] if there is no listener on the port.
#[inline(always)]
pub(super) fn find<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, globals: &Globals, now: Now) -> Found {
    client_key(work);
    let known = maps.flow_slot(&work.key);
    let opening = work.segment.has(SYN) && !work.segment.has(ACK);
    let slot = match known {
        Some(slot) if !opening => slot,
        _ => frame.arrival(maps, work, globals, now)?,
    };
    Ok((slot, From::Client))
}

/// A SYN, or a segment of a connection that is not known: its flow's slot if it begins one, else what became of it.
#[inline(always)]
pub fn arrival<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    now: Now,
) -> Result<u32, Verdict> {
    let Some(listener) = begin::listener(maps, work) else { return Err(Verdict::NotOurs) };
    if !frame.is_sound(work) {
        return Err(Verdict::BadChecksum);
    }
    let step = if work.segment.has(SYN) && !work.segment.has(ACK) {
        // A live flow of the same port keeps its state: whoever forged the SYN gains nothing by it, and a client that
        // really begins anew proves it by its next segment. One that has ended gives its entry away.
        if let Some(slot) = maps.flow_slot(&work.key)
            && let Some(mut flow) = maps.flow(slot)
            && flow.state == FLOW_CLOSING
            && flow.key == work.key
        {
            give_way(maps, &mut flow);
        }
        begin::syn::<M, F>(frame, work, globals, listener, now)
    } else {
        if !read_timestamp::<M::Cpu, F>(frame, &mut work.segment, &mut work.options) {
            return Err(Verdict::Unwritable);
        }
        match begin::begin(maps, frame, work, globals, listener, now) {
            Ok(slot) => return Ok(slot),
            Err(step) => step,
        }
    };
    Err(send::finish_stateless(maps, frame, work, step))
}

/// What is to be done with a segment of a client's flow, which is locked.
#[inline(always)]
pub fn client_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    match renewed(maps, work, globals, flow, now) {
        Proof::First(_) => {
            // The client has used the port for a new connection.
            give_way(maps, flow);
            return (Next::Done, Verdict::EarlySegment);
        }
        // The same, and its first segment is still to come.
        Proof::Later => return (Next::Done, Verdict::EarlySegment),
        Proof::None => {}
    }
    segment(maps, frame, work, flow, now)
}

/// Whether a segment is more than new bytes of a body whose length is known, which go on as they are: whether it says besides what was
/// not known.
#[inline(always)]
pub(super) fn acted_on(work: &Work, flow: &Flow) -> bool {
    let segment = &work.segment;
    let body = segment.payload != 0
        && !segment.has(FIN | SYN | RST)
        && flow.state == FLOW_SPLICED
        && flow.flags & (ANSWERED_LAST | STASH_HEAD | STASH_OWNED | LEG_REUSED) == 0
        && flow.request.chunked == 0
        && !segment.seq.before(flow.received)
        && segment.ack == flow.acked
        && segment.window == flow.window
        && steady(segment.tsval, flow.tsval);
    !body || flow.flags & REQUESTS_UNFRAMED == 0 && segment.end().after(flow.request.next)
}

/// Whether the backend of a flow has use for the acknowledgement in a segment whose data has to come again. Without it, a
/// client whose next request waits for the end of a response would keep the rest of that response from coming.
#[inline(always)]
pub(super) fn wants_ack(flow: &Flow) -> bool {
    flow.state == FLOW_SPLICED && has_leg(flow) && flow.outstanding != 0 && !flow.acked.before(flow.leg.begins)
}

/// Ends a flow and gives its entry away. Its leg is forgotten too: what the backend still sends belongs to nobody now, and
/// is answered with a RST.
#[inline(always)]
fn give_way<M: Maps>(maps: &M, flow: &mut Flow) {
    maps.lost(flow, Loss::Left);
    end::close(maps, flow);
    end::release_leg(maps, flow);
    maps.leave(&flow.key, flow.slot);
}

/// Whether a segment's numbers may be those of this connection.
#[inline(always)]
pub(super) fn is_plausible(segment: &Segment, flow: &Flow) -> bool {
    // Cookies of one client's port differ little within an epoch, so the acknowledgement alone does not tell.
    // From what the backend has acknowledged, which may be megabytes behind what is under way, to a little beyond that.
    let behind = flow.upstream_acked.minus(RESET_WINDOW);
    let near = segment.seq.since(behind) <= flow.received.plus(RESET_WINDOW).since(behind);
    near && !segment.ack.after(flow.sent) && !segment.ack.before(flow.acked.minus(LATE_ACKS))
}

/// What a segment proves whose numbers cannot be this flow's: that the client's port was used again, or nothing.
#[inline(always)]
fn renewed<M: Maps>(maps: &M, work: &Work, globals: &Globals, flow: &Flow, now: Now) -> Proof {
    let segment = &work.segment;
    if !segment.has(ACK) || is_plausible(segment, flow) {
        return Proof::None;
    }
    maps.check_cookie(globals, &flow.key, segment.seq, segment.ack, now.ms)
}

/// What every segment with an acknowledgement tells of its client. Whether it is one too many ([`storm`]).
#[inline(always)]
pub(super) fn take(segment: &Segment, flow: &mut Flow, now: Now) -> bool {
    let (seen, acked) = (flow.seen, flow.acked);
    flow.seen = now.ms;
    if !segment.ack.after(flow.sent) && segment.ack.after(flow.acked) {
        flow.acked = segment.ack;
    }
    if !segment.ack.before(flow.acked) {
        // A late segment's window begins further left (RFC 9293, section 3.10.7.4: SND.WL2).
        flow.window = segment.window;
    }
    if segment.timestamp_at != 0 {
        flow.tsval = segment.tsval;
    }
    storm::is_storm(segment, flow, acked, seen, now)
}

/// A segment of a flow that is locked.
#[inline(always)]
fn segment<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    if segment.has(RST) {
        flow.seen = now.ms;
        return reset(maps, work, flow);
    }
    if segment.has(SYN) || !segment.has(ACK) {
        flow.seen = now.ms;
        return (Next::Done, Verdict::Malformed);
    }
    if segment.seq.after(flow.received.plus(AHEAD)) {
        flow.seen = now.ms;
        return (Next::Done, Verdict::BeyondStash);
    }
    if take(segment, flow, now) {
        return (Next::Done, Verdict::AckStorm);
    }
    match flow.state {
        FLOW_CLOSING if flow.flags & REJECTED != 0 => reject::again(frame, work, flow, now),
        FLOW_CLOSING if flow.flags & LEG_RESET != 0 && frame.can_grow() => alone::reset_again(work, flow, now),
        FLOW_CLOSING if flow.flags & LEG_RESET != 0 => (Next::Done, Verdict::NeedsGrowth),
        FLOW_SPLICED | FLOW_CLOSING if has_leg(flow) => joined::joined(maps, frame, work, flow, now),
        _ if !frame.can_grow() => (Next::Done, Verdict::NeedsGrowth),
        FLOW_UNBOUND => alone::unbound(maps, frame, work, flow, now),
        FLOW_OPENING => alone::waiting(maps, frame, work, flow),
        _ => alone::closed(work, flow, now),
    }
}

/// A RST is believed if its number is exactly one that is expected next (RFC 5961, section 3). Of one that is only near, the backend is to
/// judge: it challenges the client, and one that has really gone answers with the number exactly. Where there is no backend yet, a
/// client that has gone is found out by its silence.
#[inline(always)]
fn reset<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) -> Step {
    // Not where the next request begins: the cursor of a long body, or of a flow that is not framed, is far ahead.
    let expected = flow.received;
    if work.segment.seq.since(expected).wrapping_add(RESET_WINDOW) > 2 * RESET_WINDOW {
        return (Next::Done, Verdict::ForgedReset);
    }
    let joined = has_leg(flow) && flow.state != FLOW_OPENING;
    let seq = work.segment.seq;
    // Behind a FIN, one more.
    let exact = seq.since(expected) <= 1 || seq == flow.upstream_acked || seq == joined::expected(flow);
    if !exact {
        return if joined { (Next::ToLeg, Verdict::ToBackend) } else { (Next::Done, Verdict::ForgedReset) };
    }
    maps.lost(flow, Loss::Left);
    end::close(maps, flow);
    if joined { (Next::ToLeg, Verdict::ClientReset) } else { (Next::Done, Verdict::ClientResetAlone) }
}
