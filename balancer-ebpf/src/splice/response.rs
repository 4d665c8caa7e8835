//! Response heads, and where responses end. What they say of sessions is `learn`'s.

use super::{Next, Now, Step, backend, body, count_in_flight, learn, open, send, stash};
use crate::host::Maps;
use crate::http::{Body, HEAD_AUTH_CONNECTION, HEAD_CLOSE, Scan, Scanned};
use crate::layout::{
    BUFFER_BYTES, Buffer, Flow, Globals, LAST_RESPONSE, LEG_OWN, NONE, REQUESTS_UNFRAMED, RESPONSE_BODY,
    RESPONSES_UNFRAMED, STASH_RESPONSE, ServiceWord, UPGRADE_ASKED,
};
use crate::net::{Frame, Seq};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Heads in one segment that are followed: a 100, a final one, and the next.
const HEADS: u32 = 3;
/// Bytes of a segment in which a head is looked for first.
const HEAD_GUESS: u32 = 1024;

/// A segment with payload that is not known to lie inside a body; it begins at `from` in the client's numbers.
#[inline(always)]
pub(super) fn response<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    from: Seq,
    now: Now,
) -> Step {
    let until = from.plus(work.segment.payload);
    body::advance(&mut flow.response, until);
    for _ in 0..HEADS {
        chunks(maps, frame, work, flow, from, until);
        if !until.after(flow.response.next) || flow.response.chunked != 0 || flow.flags & RESPONSES_UNFRAMED != 0 {
            break;
        }
        if let Some(step) = head(maps, frame, work, globals, flow, from, until, now) {
            return step;
        }
    }
    chunks(maps, frame, work, flow, from, until);
    if until.after(flow.response.next) && flow.flags & RESPONSES_UNFRAMED == 0 {
        if from.after(flow.response.next) {
            return (Next::Done, Verdict::BeyondResponseHead);
        }
        if flow.stash != NONE && flow.flags & STASH_RESPONSE != 0 {
            // The rest of the segment is a part of a head, and kept.
            return backend::passed(maps, frame, work, flow, from);
        }
        // More heads than are followed at once: what is known goes, the rest comes again.
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        maps.note(Note::Trimmed.counter());
        let len = flow.response.next.since(from);
        flow.sent = flow.sent.max(from.plus(len));
        completed(maps, work, flow);
        return send::trimmed_to_client(frame, work, flow, len);
    }
    backend::passed(maps, frame, work, flow, from)
}

/// Up to where the backend's bytes have been understood, or kept until they can be.
#[inline(always)]
pub(super) fn reach(flow: &Flow) -> Seq {
    let kept = if flow.stash != NONE && flow.flags & STASH_RESPONSE != 0 { flow.stash_len } else { 0 };
    flow.response.next.plus(kept)
}

/// Follows chunk headers through the segment, as far as they go.
#[inline(always)]
fn chunks<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, from: Seq, until: Seq) {
    if flow.response.chunked == 0 || !until.after(flow.response.next) {
        return;
    }
    match frame.follow(maps, work, &mut flow.response, from, until) {
        // The body has ended, and with it the response.
        Scanned::Complete => flow.flags |= RESPONSE_BODY,
        Scanned::Incomplete => {}
        reason => {
            maps.note(crate::verdict::unframed(reason));
            unframe(maps, flow);
        }
    }
}

/// A head at the cursor, somewhere in the segment. `Some` ends the segment's way.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined: the arguments are the driver's own variables")]
fn head<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    from: Seq,
    until: Seq,
    now: Now,
) -> Option<Step> {
    if flow.flags & RESPONSE_BODY != 0 && flow.response.left == 0 {
        // The segment holds the end of the previous response as well.
        flow.sent = flow.sent.max(flow.response.next);
    }
    completed(maps, work, flow);
    if flow.outstanding == 0 {
        if flow.flags & REQUESTS_UNFRAMED != 0 {
            flow.flags |= RESPONSES_UNFRAMED;
            return None;
        }
        if !frame.can_grow() {
            return Some((Next::Done, Verdict::NeedsGrowth));
        }
        return Some(open::give_up(maps, work, flow, now, Verdict::ResponseUnasked));
    }
    let stashed = flow.stash != NONE && flow.flags & STASH_RESPONSE != 0;
    let before = if stashed { flow.stash_len } else { 0 };
    let cursor = flow.response.next.plus(before);
    if from.after(cursor) {
        return Some((Next::Done, Verdict::BeyondResponseHead));
    }
    if !until.after(cursor) {
        return Some(backend::passed(maps, frame, work, flow, from));
    }
    let offset = cursor.since(from);
    let at = work.segment.payload_at() + offset;
    let all = (work.segment.payload - offset).min((BUFFER_BYTES as u32).saturating_sub(before));
    // Most heads are short, and most segments long.
    let take = if stashed { all } else { all.min(HEAD_GUESS) };
    let word = ServiceWord(maps.service_word(flow.service));
    let Some(policy) = maps.policy(word.block()) else { return Some((Next::Done, Verdict::NoConfig)) };
    if take == 0 {
        return Some((Next::Done, Verdict::NoConfig));
    }
    let mut guard = None;
    let mut take = take;
    let Work { scan: scanning, buffer, shelf, lookup, .. } = work;
    let mut scanned = Scanned::Incomplete;
    // Which of the two is said by the pointer alone: of a flag beside it Linux 6.1's verifier does not know that they agree.
    let buffer: &Buffer = if stashed {
        let Some(mut stash) = maps.stash(flow.stash) else { return Some((Next::Done, Verdict::NoConfig)) };
        if !frame.load(at, take, &mut stash.data, before) {
            return Some((Next::Done, Verdict::Unwritable));
        }
        scanned = maps.scan_response(scanning, &stash.data, before + take, &policy.rule);
        &guard.insert(stash).data
    } else {
        for _ in 0..2 {
            if !frame.load(at, take, buffer, 0) {
                return Some((Next::Done, Verdict::Unwritable));
            }
            scanned = maps.scan_response(scanning, buffer, take, &policy.rule);
            if scanned as u32 != Scanned::Incomplete as u32 || take == all {
                break;
            }
            take = all;
        }
        buffer
    };
    match scanned {
        Scanned::Complete => {
            learn::learn(maps, globals, &scanning.head, buffer, flow, policy, shelf, &mut lookup.hash, now);
            maps.answered(flow, scanning.head.status);
        }
        Scanned::Incomplete => {
            drop(guard);
            return part(maps, frame, work, globals, flow, from, at, before + take, now);
        }
        other => {
            drop(guard);
            // An id may stand in it, also beyond what is read: it stays unbound.
            maps.note(Note::ResponseUnlearned.counter());
            maps.note(crate::verdict::unframed(other));
            unframe(maps, flow);
            return None;
        }
    }
    drop(guard);
    if stashed {
        super::end::drop_stash(maps, flow);
    }
    frame_body(maps, &work.scan, flow);
    None
}

/// Sets the cursor behind the response whose head was read.
#[inline(always)]
fn frame_body<M: Maps>(maps: &M, scan: &Scan, flow: &mut Flow) {
    let head = &scan.head;
    let start = flow.response.next;
    flow.response.next = start.plus(head.len);
    if head.status == 101 {
        // Another protocol from here on, in both directions.
        flow.flags |= REQUESTS_UNFRAMED | RESPONSES_UNFRAMED;
        return;
    }
    if head.flags & HEAD_AUTH_CONNECTION != 0 {
        // Who is authenticated is the connection, and others must not be taken for its user.
        flow.flags |= LEG_OWN;
    }
    if head.status < 200 {
        return;
    }
    if head.flags & HEAD_CLOSE != 0 {
        flow.flags |= LAST_RESPONSE;
    } else {
        flow.flags &= !LAST_RESPONSE;
    }
    // Only the last request's body may still be under way: behind a pipelined one, another's answer is not early.
    let early = flow.flags & REQUESTS_UNFRAMED == 0
        && flow.outstanding == 1
        && (flow.request.left != 0 || flow.request.chunked != 0 || flow.received.before(flow.request.next));
    let body = head.response_body(flow.heads & 1 != 0);
    if body == Body::Unknown {
        maps.note(Note::ResponseUnframed.counter());
        unframe(maps, flow);
        return;
    }
    if early {
        // A final response before the request's body ended (RFC 9112, section 9.3): what the client sends now nobody knows.
        maps.note(Note::ResponseUnframed.counter());
        flow.flags |= REQUESTS_UNFRAMED;
        unframe(maps, flow);
        return;
    }
    let start = flow.response.next;
    let Body::Length(len) = body else {
        body::chunked(&mut flow.response, start);
        return;
    };
    body::known(&mut flow.response, start, len);
    flow.flags |= RESPONSE_BODY;
}

/// From here on responses are not followed: the flow stays where it is. Nor are requests, for behind a 101 that nobody sees the
/// client's bytes are none.
#[inline(always)]
fn unframe<M: Maps>(maps: &M, flow: &mut Flow) {
    flow.flags |= RESPONSES_UNFRAMED;
    if flow.flags & UPGRADE_ASKED != 0 {
        // Nobody will see whether the answer is a 101.
        flow.flags |= REQUESTS_UNFRAMED;
    }
    if flow.stash != NONE && flow.flags & STASH_RESPONSE != 0 {
        super::end::drop_stash(maps, flow);
    }
}

/// A head that goes on in the next segment: its beginning is kept, and goes to the client meanwhile.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined: the arguments are the driver's own variables")]
fn part<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    from: Seq,
    at: u32,
    have: u32,
    _now: Now,
) -> Option<Step> {
    if flow.stash == NONE || flow.flags & STASH_RESPONSE == 0 {
        if super::joined::head_in_stash(flow) {
            // There is one stash, and the client's next head lies in it.
            maps.note(Note::ResponseUnframed.counter());
            unframe(maps, flow);
            return None;
        }
        // A request's stash has done its duty: the backend answers it.
        super::end::drop_stash(maps, flow);
        let among = stash::for_whole(globals);
        if !stash::stash(maps, frame, among, flow, flow.response.next, at, have) {
            return Some((Next::Done, Verdict::StashesFull));
        }
        flow.flags |= STASH_RESPONSE;
    }
    flow.stash_first = flow.response.next;
    flow.stash_len = have;
    Some(backend::passed(maps, frame, work, flow, from))
}

/// Counts a response as complete once its last byte has gone to the client.
#[inline(always)]
pub(super) fn completed<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) {
    if flow.flags & RESPONSE_BODY != 0
        && flow.response.left == 0
        && flow.outstanding != 0
        && !flow.sent.before(flow.response.next)
    {
        flow.flags &= !RESPONSE_BODY;
        flow.outstanding -= 1;
        flow.heads >>= 1;
        learn::ended(maps, work, flow);
        count_in_flight(maps, flow.leg.service, flow.leg.version, u64::MAX);
    }
}
