//! Segments of a client: whose flow they are, whether they can belong to it, and who deals with them.

use super::{
    AHEAD, Found, From, Loss, Next, Now, Step, alone, begin, client_key, end, has_leg, joined, reject, seek, send,
    steady, storm,
};
use crate::host::Maps;
use crate::layout::{
    ANSWERED_LAST, FLOW_CLOSING, FLOW_FREE, FLOW_OPENING, FLOW_SPLICED, FLOW_UNBOUND, Flow, Globals, LEG_RESET,
    LEG_REUSED, NONE, REJECTED, REQUESTS_UNFRAMED, STASH_HEAD, STASH_OWNED,
};
use crate::net::{ACK, FIN, Frame, RST, SYN, Segment, is_bare_sound, read_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// How far a RST's number may lie from what is expected.
const RESET_WINDOW: u32 = 1 << 20;
/// Milliseconds between two answers to SYNs for a flow that lives (RFC 5961, section 7). Three in a row are what a client takes for a sign
/// that a segment of its own was lost, and anybody may forge SYNs. By flow and not for all of them: what answers others get tells nobody whether
/// there is a flow. One that has begun anew sends its SYN again after a second.
const CHALLENGES_APART: u32 = 500;

/// The flow of a packet to a listener's address. [`Verdict::NotOurs`] if there is no listener on the port.
#[inline(always)]
pub(super) fn find<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, globals: &Globals, now: Now) -> Found {
    client_key(work);
    if work.segment.has(SYN) && !work.segment.has(ACK) {
        // Hardly ever of a flow that there is, of which alone there are hints.
        let known = maps.flow_slot(&work.key).unwrap_or(NONE);
        return Ok((frame.arrival(maps, work, globals, now, known)?, From::Client));
    }
    if let Some(slot) = seek::hinted(maps, globals, &work.key) {
        return Ok((slot, From::Client));
    }
    let known = maps.seek(globals, &work.key);
    let slot = if known != NONE { known } else { frame.arrival(maps, work, globals, now, NONE)? };
    Ok((slot, From::Client))
}

/// A SYN, of a connection whose flow is in slot `known` ([`NONE`]: in none), or a segment of a connection that is not known: its flow's slot if
/// it begins one, else what became of it.
#[inline(always)]
pub fn arrival<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    now: Now,
    known: u32,
) -> Result<u32, Verdict> {
    let Some(listener) = begin::listener(maps, work) else { return Err(Verdict::NotOurs) };
    if !is_bare_sound(frame, &work.segment) && !frame.is_sound(work) {
        return Err(Verdict::BadChecksum);
    }
    let step = if work.segment.has(SYN) && !work.segment.has(ACK) {
        // A live flow of the same port is not given up for a SYN, which anybody may forge. One that has ended gives its entry away.
        if known != NONE {
            let Some(mut flow) = maps.flow(known) else { return Err(Verdict::Busy) };
            let theirs = flow.state != FLOW_FREE && flow.key == work.key;
            if theirs && flow.state != FLOW_CLOSING {
                return Ok(known);
            }
            if theirs {
                give_way(maps, &mut flow);
            }
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
    Err(send::finish_stateless(frame, work, step))
}

/// What is to be done with a segment of a client's flow, which is locked.
#[inline(always)]
pub fn client_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    _: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    let segment = &work.segment;
    if segment.has(SYN) && !segment.has(ACK) {
        return challenge(frame, work, flow, now);
    }
    if segment.has(RST) {
        flow.seen = now.ms;
        return reset(maps, work, flow);
    }
    if segment.has(SYN) || !segment.has(ACK) {
        flow.seen = now.ms;
        return (Next::Done, Verdict::Malformed);
    }
    if is_ahead(segment, flow) {
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

/// Whether a segment lies further ahead than any can.
#[inline(always)]
pub(super) fn is_ahead(segment: &Segment, flow: &Flow) -> bool {
    segment.seq.after(flow.received.plus(AHEAD))
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

/// A SYN for a flow that lives (RFC 5961, section 4): it changes nothing, and is answered with the flow's own numbers. A client that has
/// begun anew on the same port finds them wrong, and its RST, whose number is then exactly the one expected, ends the flow; its SYN, when it
/// comes again, is answered with a cookie. To whoever the flow is really of, the answer says what it knows. So nobody ends a flow who does
/// not see its numbers: a cookie alone, of which one in 16 million can be guessed, ends none.
#[inline(always)]
fn challenge<F: Frame>(frame: &F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    if now.since(flow.challenged) < CHALLENGES_APART {
        return (Next::Done, Verdict::SynIgnored);
    }
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    flow.challenged = now.clock();
    // Not more than the backend has acknowledged: of a body, the cursor is far ahead.
    let ack = flow.upstream_acked;
    alone::to_client(work, flow, now, ACK, ack);
    (Next::Draft, Verdict::SynChallenged)
}

/// A RST is believed if its number is exactly one that is expected next (RFC 5961, section 3). Of one that is only near, the backend is to
/// judge: it challenges the client, and one that has really gone answers with the number exactly. Where there is no backend yet, a
/// client that has gone is found out by its silence.
#[inline(always)]
fn reset<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) -> Step {
    let (seq, expected) = (work.segment.seq, flow.received);
    let joined = has_leg(flow) && flow.state != FLOW_OPENING;
    // Behind a FIN, one more. What the backend has acknowledged may be megabytes behind what is under way.
    let exact = seq.since(expected) <= 1 || seq == flow.upstream_acked || seq == joined::expected(flow);
    if !exact {
        // Near to what went to the leg, not to where the next request begins: the cursor of a long body is far ahead.
        let near = seq.since(expected).wrapping_add(RESET_WINDOW) <= 2 * RESET_WINDOW;
        return if near && joined { (Next::ToLeg, Verdict::ToBackend) } else { (Next::Done, Verdict::ForgedReset) };
    }
    maps.lost(flow, Loss::Left);
    end::close(maps, flow);
    if joined { (Next::ToLeg, Verdict::ClientReset) } else { (Next::Done, Verdict::ClientResetAlone) }
}
