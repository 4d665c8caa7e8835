//! Segments of a client: what is known already, what begins something new, and what has to wait.

use super::{
    Found, From, Next, Now, Step, backend, begin, body, client_key, end, has_leg, last, open, pool, request, send,
};
use crate::cookie::Proof;
use crate::host::Maps;
use crate::http::Scanned;
use crate::layout::{
    ANSWERED_LAST, BACKEND_FIN, BACKEND_UP, CLIENT_FIN, CLIENT_TIMESTAMPS, FLOW_CLOSING, FLOW_OPENING, FLOW_SPLICED,
    FLOW_UNBOUND, Flow, Globals, LEG_OWN, LEG_RESET, LEG_REUSED, NONE, REQUESTS_UNFRAMED, SAFE_REQUEST, STASH_HEAD,
    STASH_OWNED, STASH_RESPONSE,
};
use crate::net::{ACK, FIN, Frame, RST, SYN, Seq, read_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// How far behind the last acknowledgement one of the same connection may come: late ones, not a new connection's.
const LATE_ACKS: u32 = 1 << 20;
/// Milliseconds for which the answer to a leg's SYN is newer than what health checks say.
const RECENT: u64 = 1_000;
/// How far a RST's number may lie from what is expected.
const RESET_WINDOW: u32 = 1 << 20;
/// How often a client sends a request that went out on a leg from the pool again before the leg is given up: as often as a SYN.
const REUSED_TRIES: u32 = 2;

/// The flow of a packet to a listener's address. [`Verdict::NotOurs`] if there is no listener on the port.
#[inline(always)]
pub(super) fn find<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, globals: &Globals, now: Now) -> Found {
    work.key = client_key(work);
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
    let key = work.key;
    let Some(listener) = begin::listener(maps, work) else { return Err(Verdict::NotOurs) };
    let step = if work.segment.has(SYN) && !work.segment.has(ACK) {
        // A live flow of the same port keeps its state: whoever forged the SYN gains nothing by it, and a client that
        // really begins anew proves it by its next segment. One that has ended gives its entry away.
        if let Some(slot) = maps.flow_slot(&key)
            && let Some(mut flow) = maps.flow(slot)
            && flow.state == FLOW_CLOSING
            && flow.key == key
        {
            give_way(maps, &mut flow);
        }
        begin::syn::<M, F>(frame, work, globals, listener, &key, now)
    } else {
        if !read_timestamp::<M::Cpu, F>(frame, &mut work.segment, &mut work.options) {
            return Err(Verdict::Unwritable);
        }
        match begin::begin(maps, frame, work, globals, listener, &key, now) {
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
    if !read_timestamp::<M::Cpu, F>(frame, &mut work.segment, &mut work.options) {
        return (Next::Done, Verdict::Unwritable);
    }
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
    end::close(maps, flow);
    end::release_leg(maps, flow);
    maps.leave(&flow.key);
}

/// What a segment proves whose numbers cannot be this flow's: that the client's port was used again, or nothing.
#[inline(always)]
fn renewed<M: Maps>(maps: &M, work: &Work, globals: &Globals, flow: &Flow, now: Now) -> Proof {
    let segment = &work.segment;
    if !segment.has(ACK) {
        return Proof::None;
    }
    // Cookies of one client's port differ little within an epoch, so the acknowledgement alone does not tell.
    // From what the backend has acknowledged, which may be megabytes behind what is under way, to a little beyond that.
    let behind = flow.upstream_acked.minus(RESET_WINDOW);
    let near = segment.seq.since(behind) <= flow.received.plus(RESET_WINDOW).since(behind);
    let plausible = near && !segment.ack.after(flow.sent) && !segment.ack.before(flow.acked.minus(LATE_ACKS));
    if plausible {
        return Proof::None;
    }
    maps.check_cookie(globals, &flow.key, segment.seq, segment.ack, now.ms)
}

/// A segment of a flow that is locked.
#[inline(always)]
fn segment<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    flow.seen = now.ms;
    if segment.has(RST) {
        return reset(maps, work, flow);
    }
    if segment.has(SYN) || !segment.has(ACK) {
        return (Next::Done, Verdict::Malformed);
    }
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
    match flow.state {
        FLOW_CLOSING if flow.flags & LEG_RESET != 0 && frame.can_grow() => reset_again(work, flow, now),
        FLOW_CLOSING if flow.flags & LEG_RESET != 0 => (Next::Done, Verdict::NeedsGrowth),
        FLOW_SPLICED | FLOW_CLOSING if has_leg(flow) => joined(maps, frame, work, flow, now),
        _ if !frame.can_grow() => (Next::Done, Verdict::NeedsGrowth),
        FLOW_UNBOUND => unbound(maps, frame, work, flow, now),
        FLOW_OPENING => waiting(maps, frame, work, flow),
        _ => closed(work, flow, now),
    }
}

/// A RST is believed if its number is near what is expected next; the backend checks it exactly (RFC 5961, section 3).
#[inline(always)]
fn reset<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) -> Step {
    // Not where the next request begins: the cursor of a long body, or of a flow that is not framed, is far ahead.
    let expected = flow.received;
    if work.segment.seq.since(expected).wrapping_add(RESET_WINDOW) > 2 * RESET_WINDOW {
        return (Next::Done, Verdict::ForgedReset);
    }
    let joined = has_leg(flow) && flow.state != FLOW_OPENING;
    end::close(maps, flow);
    if joined { (Next::ToLeg, Verdict::ClientReset) } else { (Next::Done, Verdict::ClientResetAlone) }
}

/// A segment of a flow that has its leg.
#[inline(always)]
fn joined<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
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
    body::advance(&mut flow.request, segment.end());
    if silent(maps, work, flow, now) {
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        if flow.flags & SAFE_REQUEST == 0 {
            // Its host may have done it before it died. The client has to know that nobody can tell.
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
    let recent = now.ms.saturating_sub(flow.asked) < RECENT;
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
        return acknowledge(frame, work, flow, now, Verdict::ProbeAnswered);
    }
    if now.ms.saturating_sub(flow.asked) < open::PATIENCE {
        // A duplicate, or another segment of the same request: not the client's timer.
        return (Next::Done, Verdict::NoLeg);
    }
    flow.asked = now.ms;
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
    pool::last_word(work, flow);
    if !maps.park(flow, limit) {
        return client_fin(maps, flow);
    }
    end::close(maps, flow);
    flow.flags |= CLIENT_FIN | BACKEND_FIN;
    to_client(work, flow, now, FIN | ACK, ack);
    flow.sent = flow.sent.plus(1);
    (Next::FarewellAndDraft, Verdict::LegParked)
}

/// The client sends the end of its head again: what it had acknowledged by the director may be lost as well.
#[inline(always)]
fn again_from_stash<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
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
fn beyond_head<F: Frame>(frame: &F) -> Step {
    (Next::Done, if frame.can_grow() { Verdict::BeyondHead } else { Verdict::NeedsGrowth })
}

/// A segment that reaches beyond what was decided: somewhere in it a head begins or goes on.
#[inline(always)]
fn head<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let expected = expected(flow);
    if segment.seq.after(expected) {
        return beyond_head(frame);
    }
    if !segment.end().after(expected) {
        // Bytes of the stash again: the acknowledgement was lost.
        return acknowledge(frame, work, flow, now, Verdict::ProbeAnswered);
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

/// A segment of a flow without a leg.
#[inline(always)]
fn unbound<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let expected = expected(flow);
    if segment.payload != 0 {
        return head(maps, frame, work, flow, now);
    }
    if segment.has(FIN) {
        if segment.seq.after(expected) {
            return beyond_head(frame);
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
fn waiting<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
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
    request::append_body(maps, frame, work, flow)
}

/// A segment of a flow that ended without a leg: the director answers a FIN in the backend's place.
#[inline(always)]
fn closed(work: &mut Work, flow: &mut Flow, now: Now) -> Step {
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
fn reset_again(work: &mut Work, flow: &mut Flow, now: Now) -> Step {
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
    let ack = expected(flow);
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
    let ack = if head_in_stash(flow) { expected(flow) } else { flow.received };
    end::close(maps, flow);
    // Whoever sends on, on either side, has not heard of it yet and gets another RST.
    end::release_leg(maps, flow);
    to_client(work, flow, now, RST | ACK, ack);
    work.draft.timestamps = 0;
    (Next::Draft, verdict)
}
