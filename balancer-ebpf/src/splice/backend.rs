//! Segments of a backend: the leg's handshake, its end, and its data.

use super::{
    AHEAD, Found, From, Loss, Next, Now, Step, begin, body, end, framed, has_leg, join, joined, last, open, response,
    send, steady, storm,
};
use crate::host::{Cpu, Maps};
use crate::layout::{
    BACKEND_FIN, CLIENT_FIN, CLIENT_TIMESTAMPS, EGRESS_RESOLVES, FLOW_CLOSING, FLOW_FREE, FLOW_OPENING, FLOW_SPLICED,
    Flow, Globals, LAST_RESPONSE, LEG_RESET, LEG_REUSED, Leg, NONE, Place, RESPONSES_UNFRAMED, SAFE_REQUEST,
    STASH_HEAD, STASH_OWNED, STASH_RESPONSE, owner, slot,
};
use crate::net::{ACK, FIN, Frame, RST, SYN, Seq, read_options};
use crate::verdict::Verdict;
use crate::work::Work;

/// What Ethernet carries.
const MTU: u32 = 1500;
/// Bytes of the timestamp option.
const TIMESTAMP_OPTION: u32 = 12;

/// The flow of a packet to the director's source address of this index; a packet of a leg that has none is dealt with.
#[inline(always)]
pub(super) fn find<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    source: u32,
) -> Found {
    let port = u16::from_be_bytes(work.segment.destination_port);
    let slot = match slot(Place { source, port }) {
        Some(slot) if slot < globals.flows => slot,
        _ => return Err(Verdict::NotOurs),
    };
    // Most often it is that of the flow in the slot of its own number, which comes from memory while this is found out.
    maps.expect(slot);
    let Some(word) = maps.leg_owner(slot) else { return Err(Verdict::NotOurs) };
    match owner(M::Cpu::load(word)) {
        Some(flow) => Ok((flow, From::Leg(slot))),
        None => Err(frame.idle_step(maps, work, slot)),
    }
}

/// Whether a segment of a leg is of one that is joined with its client, so that [`backend_step`] is for it, or else [`opening_step`].
#[inline(always)]
pub(super) fn is_joined(work: &Work, flow: &Flow) -> bool {
    let ends = flow.state == FLOW_CLOSING && !work.segment.has(SYN);
    is_legs(work, flow) && (flow.state == FLOW_SPLICED || ends)
}

/// What is to be done with a segment of a leg whose handshake has not ended, or that is no more; its flow is locked. The frame
/// can grow. This is a step of its own, because it and [`backend_step`] have much on the stack.
#[inline(always)]
pub fn opening_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    _: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    if !is_legs(work, flow) {
        return stray(frame, work);
    }
    flow.seen = now.ms;
    // Where it is neither, the client went away while the leg was being opened: nothing else would free the backend of it.
    if flow.state == FLOW_OPENING { opening(maps, frame, work, flow, now) } else { stray(frame, work) }
}

/// The same where the frame cannot grow: what asks for no answer ends here.
#[inline(always)]
pub(super) fn opening_elsewhere<F: Frame>(frame: &mut F, work: &mut Work, flow: &Flow) -> Step {
    if is_legs(work, flow) && flow.state == FLOW_OPENING {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    stray(frame, work)
}

/// What is to be done with a segment of a flow's leg, which [`is_joined`]. The flow is locked.
#[inline(always)]
pub fn backend_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    if work.segment.has(SYN) {
        return again(frame, work, globals, flow, now);
    }
    flow.seen = now.ms;
    joined(maps, frame, work, globals, flow, now)
}

/// The SYN-ACK of a leg that is up: our answer to it was lost, and the request with it. It goes again at once; the client, who has
/// had to send it again for every loss before this one, may by now wait for long.
#[inline(always)]
fn again<F: Frame>(frame: &mut F, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step {
    if end::collectable(flow, globals, now.ms) {
        // The client is gone. Its backend must not keep the flow alive by asking.
        return stray(frame, work);
    }
    let segment = &work.segment;
    let answers = segment.has(ACK) && segment.ack == flow.leg.isn.plus(1) && flow.upstream_acked == flow.leg.first;
    if !answers || flow.stash == NONE || flow.flags & (STASH_HEAD | STASH_RESPONSE) != 0 {
        return (Next::Done, Verdict::StraySynAck);
    }
    joined::again_from_stash(frame, work, flow)
}

/// Whether a leg can have acknowledged that, in the client's numbers.
#[inline(always)]
pub(super) fn is_acked(acked: Seq, flow: &Flow) -> bool {
    !acked.before(flow.leg.first) && !acked.after(flow.received.plus(1))
}

/// Whether a segment that begins there, in the client's numbers, lies further ahead than any can.
#[inline(always)]
pub(super) fn is_ahead(from: Seq, flow: &Flow) -> bool {
    from.after(flow.sent.plus(AHEAD))
}

/// Whether a segment is of the flow's leg.
#[inline(always)]
pub(super) fn is_legs(work: &Work, flow: &Flow) -> bool {
    let segment = &work.segment;
    flow.state != FLOW_FREE
        && has_leg(flow)
        && flow.leg.address == segment.source
        && flow.leg.port == segment.source_port
}

/// Whether a segment is more than new bytes of a body whose length is known, as for clients.
#[inline(always)]
pub(super) fn acted_on(work: &Work, flow: &Flow) -> bool {
    let segment = &work.segment;
    let body = is_legs(work, flow)
        && segment.payload != 0
        && !segment.has(FIN | SYN | RST)
        && flow.state == FLOW_SPLICED
        && flow.flags & LEG_REUSED == 0
        && flow.response.chunked == 0
        && segment.ack.minus(flow.leg.to_leg) == flow.upstream_acked
        && steady(segment.tsval, flow.leg.tsval);
    let until = segment.end().plus(flow.leg.to_client);
    !body || flow.flags & RESPONSES_UNFRAMED == 0 && until.after(flow.response.next)
}

/// A segment of a leg that is no more: its sender is told so, also if an earlier RST was lost.
#[inline(always)]
pub(super) fn stray<F: Frame>(frame: &mut F, work: &mut Work) -> Step {
    if work.segment.has(RST) || !work.segment.has(ACK) {
        return (Next::Done, Verdict::OldLegReset);
    }
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    back(frame, work);
    (Next::Draft, Verdict::OldLeg)
}

/// Drafts a RST to the sender of the segment, with the number that it expects.
#[inline(always)]
pub(super) fn back<F: Frame>(frame: &mut F, work: &mut Work) {
    begin::answer(frame, work);
    work.draft.seq = work.segment.ack;
    work.draft.flags = u32::from(RST);
}

/// A segment while the SYN is under way.
#[inline(always)]
fn opening<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let answers = segment.ack == flow.leg.isn.plus(1);
    if segment.has(RST) {
        // A RST to a SYN has to acknowledge it (RFC 9293, section 3.10.7.3), or anybody could send it.
        if !segment.has(ACK) || !answers {
            return (Next::Done, Verdict::ForgedReset);
        }
        return (Next::Refused, Verdict::BackendRefused);
    }
    if !segment.has(SYN) {
        return if segment.has(ACK) {
            open::challenged(maps, work, flow, now)
        } else {
            (Next::Done, Verdict::StraySynAck)
        };
    }
    if !segment.has(ACK) || !answers {
        return (Next::Done, Verdict::StraySynAck);
    }
    if !read_options::<M::Cpu, F>(frame, segment.options, &mut work.options) {
        return (Next::Done, Verdict::Unwritable);
    }
    let timestamps = flow.flags & CLIENT_TIMESTAMPS != 0;
    if timestamps && work.options.timestamp_at == 0 {
        // The client puts a timestamp into every segment and wants one in each: without them the ends do not fit.
        return open::give_up(maps, work, flow, now, Verdict::OptionsMismatch);
    }
    if flow.leg.hop.egress.flags & EGRESS_RESOLVES != 0 {
        // The backend has answered, so its neighbour is known by now. If not, the way out stays what it is.
        let Leg { source, address, hop, .. } = &mut flow.leg;
        frame.route(source, address, hop);
    }
    up(work, flow, now, timestamps);
    if let Some(backend) = maps.backend(flow.leg.backend)
        && M::Cpu::load(&backend.shunned_until) != 0
    {
        // Who answers is passed over no longer: a session that is born here now has to be found here.
        M::Cpu::store(&backend.shunned_until, 0);
        M::Cpu::store(&backend.failures, 0);
    }
    let len = flow.stash_len;
    let first = flow.stash_first;
    flow.received = flow.received.max(first.plus(len));
    send::from_stash(work, flow, first, len, Verdict::LegUp)
}

/// Joins the leg and the client.
#[inline(always)]
fn up(work: &Work, flow: &mut Flow, now: Now, timestamps: bool) {
    let options = &work.options;
    let sent = flow.sent;
    let leg = &mut flow.leg;
    leg.backend_scale = options.scale;
    join::shifts(leg, flow.client_scale, flow.our_scale);
    let next = work.segment.seq.plus(1);
    leg.to_client = sent.since(next);
    leg.begins = sent;
    leg.tsval = options.tsval;
    let most = MTU - leg.address.headers();
    let mss = if options.mss == 0 { leg.address.default_mss() } else { options.mss.min(most) };
    leg.mss = mss - if timestamps && mss > 2 * TIMESTAMP_OPTION { TIMESTAMP_OPTION } else { 0 };
    if timestamps {
        // What the client sees never goes back, whoever the backend is (PAWS, RFC 7323, section 5).
        let clock = Seq(now.clock()).max(Seq(flow.clock)).0;
        leg.clock_to_client = clock.wrapping_sub(options.tsval);
        flow.clock = clock;
    }
    join::spliced(flow);
    flow.state = FLOW_SPLICED;
}

/// A segment of the leg.
#[inline(always)]
fn joined<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    let segment = &work.segment;
    if segment.has(ACK) {
        let acked = segment.ack.minus(flow.leg.to_leg);
        if !is_acked(acked, flow) {
            // A late segment of an earlier connection on the same ports: its numbers mean nothing here.
            return (Next::Done, Verdict::OldLegReset);
        }
        if acked.after(flow.upstream_acked) {
            flow.upstream_acked = acked;
            stash_acked(maps, flow);
        }
    }
    if segment.timestamp_at != 0 {
        flow.leg.tsval = segment.tsval;
    }
    let from = segment.seq.plus(flow.leg.to_client);
    if is_ahead(from, flow) && !segment.has(RST) {
        return (Next::Done, Verdict::BeyondResponseHead);
    }
    if segment.payload != 0 && from.before(flow.leg.begins) {
        // Of a response that another flow had from this leg: its client has it, and the next acknowledgement says so.
        return (Next::Done, Verdict::BeforeFlow);
    }
    if flow.flags & LEG_REUSED != 0 && !segment.has(RST) {
        // Of the first request on the leg: others may be pipelined behind it.
        if segment.payload != 0 && flow.upstream_acked == flow.leg.first {
            // Said before the request came, to nobody; and not by a leg that will live.
            if !frame.can_grow() {
                return (Next::Done, Verdict::NeedsGrowth);
            }
            return (Next::Reopen, Verdict::LegLost);
        }
        if segment.payload != 0 {
            // The leg lives, and works on the request.
            flow.flags &= !LEG_REUSED;
            stash_acked(maps, flow);
        } else if !segment.has(FIN) {
            // The client is to keep the request until then: it is the timer of whatever becomes of the leg.
            return (Next::Done, Verdict::AckHeld);
        }
    }
    if last::beyond(work, flow, from) && !segment.has(RST) {
        return (Next::Done, Verdict::EndWaits);
    }
    let overtakes = flow.state == FLOW_SPLICED && segment.has(FIN) && segment.payload == 0;
    if overtakes && flow.flags & RESPONSES_UNFRAMED == 0 && from.after(response::reach(flow)) {
        // The end has overtaken bytes that have not been seen. The flow would end, and their head not be learned from.
        return (Next::Done, Verdict::BeyondResponseHead);
    }
    let ends = segment.has(RST) && !forged(flow, from) || segment.has(FIN) && segment.payload == 0;
    let raced = flow.flags & LEG_REUSED != 0 && flow.state == FLOW_SPLICED;
    if ends && (raced || flow.flags & STASH_OWNED != 0 && unheard(flow) && unread(work, flow)) {
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        // The client would not send again what the stash answers for; and nobody has to wait for it to do so.
        return (Next::Reopen, Verdict::LegLost);
    }
    if segment.has(RST) {
        return reset(maps, work, flow, from);
    }
    if segment.payload != 0 && flow.flags & RESPONSES_UNFRAMED == 0 && flow.state == FLOW_SPLICED {
        return response::response(maps, frame, work, globals, flow, from, now);
    }
    passed(maps, frame, work, flow, from)
}

/// Frees a stash whose bytes the backend has.
#[inline(always)]
fn stash_acked<M: Maps>(maps: &M, flow: &mut Flow) {
    if flow.stash != NONE
        && flow.flags & (STASH_RESPONSE | STASH_HEAD | LEG_REUSED) == 0
        && !flow.upstream_acked.before(flow.stash_first.plus(flow.stash_len))
    {
        end::drop_stash(maps, flow);
    }
}

/// A segment that may go to the client as it is, `from` in the client's numbers.
#[inline(always)]
pub(super) fn passed<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, from: Seq) -> Step {
    let segment = &work.segment;
    let mut until = from.plus(segment.payload);
    let mut ends = false;
    if segment.has(FIN) {
        if segment.payload == 0 && from == flow.sent && idle(flow) {
            if flow.acked != flow.sent {
                // Until the client has acknowledged the response, only this backend could send it again; and its FIN too.
                return (Next::Done, Verdict::EndWaits);
            }
            // An idle backend closes its side: the client's connection has no need to know.
            if !frame.can_grow() {
                return (Next::Done, Verdict::NeedsGrowth);
            }
            back(frame, work);
            open::unjoin(maps, flow);
            return (Next::Draft, Verdict::LegLost);
        }
        if unheard(flow) && flow.flags & STASH_OWNED == 0 {
            if !frame.can_grow() {
                return (Next::Done, Verdict::NeedsGrowth);
            }
            back(frame, work);
            restart(maps, flow);
            return (Next::Draft, Verdict::LegLost);
        }
        until = until.plus(1);
        ends = flow.flags & BACKEND_FIN == 0;
        flow.flags |= BACKEND_FIN;
    }
    if until != from {
        storm::is_over(flow);
        // A bare acknowledgement may stand behind bytes that were lost on their way here.
        flow.sent = flow.sent.max(until);
        join::keep_up(flow);
    }
    if segment.timestamp_at != 0 {
        let clock = segment.tsval.wrapping_add(flow.leg.clock_to_client);
        flow.clock = Seq(clock).max(Seq(flow.clock)).0;
    }
    response::completed(maps, work, flow);
    if ends && flow.outstanding != 0 {
        maps.lost(flow, Loss::Reset);
    }
    if last::ends_with(maps, work, flow, until) {
        return (Next::ToClientFin, Verdict::ToClient);
    }
    if flow.flags & (BACKEND_FIN | CLIENT_FIN) == BACKEND_FIN | CLIENT_FIN {
        end::close(maps, flow);
    }
    (Next::ToClient, Verdict::ToClient)
}

/// Nothing is under way on the leg, and the last response did not announce the end.
#[inline(always)]
fn idle(flow: &Flow) -> bool {
    flow.state == FLOW_SPLICED
        && flow.outstanding == 0
        && framed(flow)
        && flow.flags & (LAST_RESPONSE | CLIENT_FIN | BACKEND_FIN) == 0
}

/// One request is under way, and the backend has not acknowledged a byte of it: it closed without having seen it. The client
/// has everything that was sent before.
#[inline(always)]
pub(super) fn unheard(flow: &Flow) -> bool {
    flow.state == FLOW_SPLICED
        && flow.outstanding == 1
        && framed(flow)
        && flow.upstream_acked == flow.request_first
        && flow.acked == flow.sent
        && flow.flags & BACKEND_FIN == 0
}

/// Whether the request of which no byte was acknowledged may be sent to somebody else. Only a segment that acknowledges
/// something proves what its sender has not read: a bare RST is also what a kernel answers that knows nothing of the connection
/// any more, and its application may have done the request before.
#[inline(always)]
fn unread(work: &Work, flow: &Flow) -> bool {
    work.segment.has(ACK) || flow.flags & SAFE_REQUEST != 0
}

/// Forgets the last request: the client still has all of it and sends it again, to be decided anew.
#[inline(always)]
pub(super) fn restart<M: Maps>(maps: &M, flow: &mut Flow) {
    open::unjoin(maps, flow);
    body::known(&mut flow.request, flow.request_first, 0);
    flow.received = flow.request_first;
    // A FIN behind the request comes again as well.
    flow.flags &= !CLIENT_FIN;
}

/// Whether a RST lies outside the window: what the client has not acknowledged, and a little on. One from before that
/// answers a late segment, perhaps of an older leg.
#[inline(always)]
fn forged(flow: &Flow, from: Seq) -> bool {
    from.since(flow.acked) > 1 << 22
}

/// The backend resets the leg.
#[inline(always)]
fn reset<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, from: Seq) -> Step {
    if forged(flow, from) {
        return (Next::Done, Verdict::ForgedReset);
    }
    // What the client has not acknowledged may be lost, and nobody would send it again.
    if idle(flow) && flow.acked == flow.sent {
        open::unjoin(maps, flow);
        return (Next::Done, Verdict::OldLegReset);
    }
    if unheard(flow) && unread(work, flow) {
        restart(maps, flow);
        return (Next::Done, Verdict::OldLegReset);
    }
    if flow.flags & BACKEND_FIN == 0 {
        maps.lost(flow, Loss::Reset);
    }
    end::close(maps, flow);
    flow.flags |= LEG_RESET;
    (Next::ToClient, Verdict::BackendReset)
}
