//! Segments of a client whose flow has a leg: what was decided before, what is new, and what has to wait.

use super::{Loss, Next, Now, Step, alone, backend, body, end, has_leg, idle, join, last, open, pool, request, send};
use crate::host::Maps;
use crate::http::Scanned;
use crate::layout::{
    ANSWERED_LAST, BACKEND_FIN, BACKEND_UP, CLIENT_FIN, FLOW_CLOSING, FLOW_SPLICED, Flow, LEG_OWN, LEG_REUSED, NONE,
    REQUESTS_UNFRAMED, SAFE_REQUEST, STASH_HEAD, STASH_OWNED, STASH_RESPONSE,
};
use crate::net::{ACK, FIN, Frame, Seq};
use crate::verdict::Verdict;
use crate::work::Work;

/// Milliseconds for which the answer to a leg's SYN is newer than what health checks say.
const RECENT: u32 = 1_000;
/// How often a client sends a request that went out on a leg from the pool again before the leg is given up: as often as a SYN.
const REUSED_TRIES: u32 = 2;

/// A segment of a flow that has its leg.
#[inline(always)]
pub(super) fn joined<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    if flow.flags & ANSWERED_LAST != 0
        && flow.state == FLOW_SPLICED
        && let Some(step) = last::client_step(maps, frame, work, flow, now)
    {
        return step;
    }
    let segment = &work.segment;
    if segment.payload == 0 {
        if segment.has(FIN) {
            if head_in_stash(flow) && segment.seq == expected(flow) {
                // The rest of the head will never come, and the backend has not a byte of it.
                if !frame.can_grow() {
                    return (Next::Done, Verdict::NeedsGrowth);
                }
                return open::give_up(maps, work, flow, now, Verdict::HeadCut);
            }
            if flow.flags & REQUESTS_UNFRAMED == 0 && segment.seq.after(flow.request.next) {
                return beyond_head(frame);
            }
            return leaves(maps, frame, work, flow, now);
        }
        if segment.ack.before(flow.leg.begins) {
            // A late acknowledgement of what an earlier leg sent: the present backend knows nothing of it.
            return (Next::Done, Verdict::BeforeLeg);
        }
        return (Next::ToLeg, Verdict::ToBackend);
    }
    if flow.flags & REQUESTS_UNFRAMED != 0 || flow.state == FLOW_CLOSING {
        return known(maps, frame, work, flow, now);
    }
    if segment.seq.before(flow.leg.first) {
        return (Next::Done, Verdict::BeforeLeg);
    }
    if flow.flags & CLIENT_FIN != 0 && !segment.seq.before(flow.request.next) {
        // Its FIN stands where the next request would. A byte there is one of those with which some ask whether the other end is
        // still there (RFC 9293, section 3.8.4), and that end answers.
        return (Next::ToLeg, Verdict::ToBackend);
    }
    body::advance(&mut flow.request, segment.end());
    if silent(maps, work, flow, now) {
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        if flow.flags & SAFE_REQUEST == 0 {
            // Its host may have done it before it died. The client has to know that nobody can tell.
            maps.lost(flow, Loss::Refused);
            return open::give_up(maps, work, flow, now, Verdict::NoBackend);
        }
        if owned(flow) {
            return (Next::Reopen, Verdict::LegLost);
        }
        // The client's next attempt finds a flow without a leg, and is decided anew.
        backend::restart(maps, flow);
        return (Next::Done, Verdict::NoLeg);
    }
    if flow.request.chunked != 0 && !head_in_stash(flow) && !chunks(maps, frame, work, flow) {
        return beyond_head(frame);
    }
    let segment = &work.segment;
    if flow.flags & REQUESTS_UNFRAMED != 0 || !segment.end().after(flow.request.next) && !head_in_stash(flow) {
        return known(maps, frame, work, flow, now);
    }
    head(maps, frame, work, flow, now)
}

/// Whether the client sends its request again to a leg on which the backend has not acknowledged a byte of it, and the health
/// checks say that the backend is down: the leg leads to a host that is dead. Silence alone says nothing, for the
/// acknowledgements may be what is lost, and the request must not be worked on twice.
#[inline(always)]
fn silent<M: Maps>(maps: &M, work: &Work, flow: &Flow, now: Now) -> bool {
    let segment = &work.segment;
    let again =
        segment.seq == flow.request_first || owned(flow) && segment.seq.before(flow.stash_first.plus(flow.stash_len));
    // A leg that came up a moment ago proves that the backend lives, whatever the health checks have yet to find out.
    let recent = now.since(flow.asked) < RECENT;
    if recent || !again || !segment.seq.before(flow.request.next) || !backend::unheard(flow) {
        return false;
    }
    !matches!(maps.backend(flow.leg.backend), Some(backend) if backend.flags & BACKEND_UP != 0)
}

/// Data that was decided before: the leg's.
#[inline(always)]
fn known<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let again = segment.payload != 0 && segment.seq.before(flow.received);
    flow.received = flow.received.max(segment.end());
    join::keep_up(flow);
    if owned(flow) && segment.seq.before(flow.stash_first.plus(flow.stash_len)) {
        if flow.flags & LEG_REUSED != 0 && again {
            return reused_again(maps, frame, work, flow, now);
        }
        // Not if it is the last of both FINs, which would end the flow and free the stash.
        let closes =
            segment.has(FIN) && flow.flags & BACKEND_FIN == 0 && segment.end() == flow.stash_first.plus(flow.stash_len);
        let step = again_from_stash(frame, work, flow);
        if closes && step.0 as u32 == Next::Emit as u32 {
            work.emission.fin = 1;
            client_fin(maps, flow);
        }
        return step;
    }
    if again {
        // Nobody compares these bytes with those that were framed.
        flow.flags |= LEG_OWN;
    }
    if segment.has(FIN) {
        return client_fin(maps, flow);
    }
    (Next::ToLeg, Verdict::ToBackend)
}

/// The client sends a request again that went out on a leg from the pool, and has heard nothing of it.
#[inline(always)]
fn reused_again<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if !flow.upstream_acked.before(flow.stash_first.plus(flow.stash_len)) {
        // The backend has had the request for longer than a leg takes to die. From now on it is as on any other leg.
        flow.flags &= !LEG_REUSED;
        end::drop_stash(maps, flow);
        return alone::acknowledge(frame, work, flow, now, Verdict::ProbeAnswered);
    }
    if now.since(flow.asked) < open::PATIENCE {
        // A duplicate, or another segment of the same request: not the client's timer.
        return (Next::Done, Verdict::NoLeg);
    }
    flow.asked = now.clock();
    flow.tries += 1;
    if flow.tries >= REUSED_TRIES {
        // It went to nobody. A request of a safe method may go to somebody else.
        return (Next::Reopen, Verdict::LegLost);
    }
    again_from_stash(frame, work, flow)
}

/// The client closes its side, having sent all of its requests. If it has had all of its answers too, the leg has more to live
/// for than this flow.
#[inline(always)]
fn leaves<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let ack = work.segment.end().plus(1);
    if work.segment.seq != flow.request.next || !pool::parkable(flow) {
        return client_fin(maps, flow);
    }
    let limit = pool::limit_of(maps, flow);
    if limit == 0 {
        return client_fin(maps, flow);
    }
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    idle::last_word(work, flow);
    if !maps.park(flow, limit) {
        return client_fin(maps, flow);
    }
    end::close(maps, flow);
    flow.flags |= CLIENT_FIN | BACKEND_FIN;
    alone::to_client(work, flow, now, FIN | ACK, ack);
    flow.sent = flow.sent.plus(1);
    (Next::FarewellAndDraft, Verdict::LegParked)
}

/// The request in the stash again: the client sends the end of its head again, and what it had acknowledged by the director may be lost
/// as well; or the backend its SYN-ACK, and has heard nothing.
#[inline(always)]
pub(super) fn again_from_stash<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    let (first, len) = (flow.stash_first, flow.stash_len);
    send::from_stash(work, flow, first, len, Verdict::RequestFromStash)
}

/// Whether the stash answers for a request that went out: bytes of it were acknowledged to the client, or its leg may turn out
/// to be dead.
#[inline(always)]
fn owned(flow: &Flow) -> bool {
    flow.stash != NONE
        && flow.flags & (STASH_HEAD | STASH_RESPONSE) == 0
        && flow.flags & (STASH_OWNED | LEG_REUSED) != 0
}

/// The client's last segment goes to the leg.
#[inline(always)]
fn client_fin<M: Maps>(maps: &M, flow: &mut Flow) -> Step {
    ended(maps, flow);
    (Next::ToLeg, Verdict::ToBackend)
}

/// The client's FIN goes to the leg.
#[inline(always)]
pub(super) fn ended<M: Maps>(maps: &M, flow: &mut Flow) {
    flow.flags |= CLIENT_FIN;
    if flow.flags & BACKEND_FIN != 0 {
        end::close(maps, flow);
    }
}

/// Follows the chunks of the present request through the segment. False if it lies behind a chunk header that has not been
/// seen.
#[inline(always)]
fn chunks<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow) -> bool {
    let (from, until) = (work.segment.seq, work.segment.end());
    if !until.after(flow.request.next) {
        return true;
    }
    if from.after(flow.request.next) {
        return false;
    }
    let outcome = frame.follow(maps, work, &mut flow.request, from, until);
    if !matches!(outcome, Scanned::Complete | Scanned::Incomplete) {
        request::unframe(maps, flow, outcome);
    }
    true
}

/// Whether part of a request head that is not decided lies in the stash.
#[inline(always)]
pub(super) fn head_in_stash(flow: &Flow) -> bool {
    flow.stash != NONE && flow.flags & STASH_HEAD != 0
}

/// Where the next unseen byte of a request is expected.
#[inline(always)]
pub(super) fn expected(flow: &Flow) -> Seq {
    if head_in_stash(flow) { flow.stash_first.plus(flow.stash_len) } else { flow.request.next }
}

/// A segment beyond a head that has not been seen. To XDP that head may only seem unseen: it handed it up, and the stack
/// has not brought it to the TC program yet. What follows it goes the same way, and arrives behind it.
#[inline(always)]
pub(super) fn beyond_head<F: Frame>(frame: &F) -> Step {
    (Next::Done, if frame.can_grow() { Verdict::BeyondHead } else { Verdict::NeedsGrowth })
}

/// A segment that reaches beyond what was decided: somewhere in it a head begins or goes on.
#[inline(always)]
pub(super) fn head<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let expected = expected(flow);
    if segment.seq.after(expected) {
        return beyond_head(frame);
    }
    if !segment.end().after(expected) {
        // Bytes of the stash again: the acknowledgement was lost.
        return alone::acknowledge(frame, work, flow, now, Verdict::ProbeAnswered);
    }
    if has_leg(flow) && !head_in_stash(flow) && segment.seq.before(flow.request.next) {
        if owned(flow) && segment.seq.before(flow.stash_first.plus(flow.stash_len)) {
            return again_from_stash(frame, work, flow);
        }
        // A body's end and a new head in one segment. The body goes; the head comes again, at the front of a segment.
        let len = flow.request.next.since(segment.seq);
        if segment.seq.before(flow.received) {
            flow.flags |= LEG_OWN;
        }
        return send::trimmed(maps, frame, work, flow, len);
    }
    (Next::Request, Verdict::RequestSame)
}
