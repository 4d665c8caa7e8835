//! Response heads: where responses end, and what they say of sessions.

use super::{Next, Now, Step, backend, count_in_flight, open, send, traffic};
use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::http::{Body, ChunkState, HEAD_CLOSE, Scan, Scanned};
use crate::layout::{
    BUFFER_BYTES, Binding, Buffer, CHUNK_BYTES, Flow, Globals, HAS_PRESENTED, KIND_ISSUED, LAST_RESPONSE, NONE, Policy,
    REQUESTS_UNFRAMED, RESPONSE_BODY, RESPONSE_CHUNKED, RESPONSES_UNFRAMED, STASH_RESPONSE, ServiceWord, SessionHash,
};
use crate::net::{Frame, Seq};
use crate::sessions::{Bound, Shelf};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Sequence numbers that a cursor may run ahead.
const STRIDE: u64 = 1 << 29;
/// Heads in one segment that are followed: a 100, a final one, and the next.
const HEADS: u32 = 3;
/// Bytes of a segment in which a head is looked for first.
const HEAD_GUESS: u32 = 1024;

/// Bytes in which a chunk header is looked for first.
const CHUNK_GUESS: u32 = 16;
/// Chunks in one segment that are followed: of 64 KiB, those that a server writes 512 bytes at a time.
const CHUNKS: u32 = 128;

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
    if flow.response_left != 0 && until.plus(1 << 28).after(flow.response_next) {
        let step = flow.response_left.min(STRIDE);
        flow.response_next = flow.response_next.plus(step as u32);
        flow.response_left -= step;
    }
    for _ in 0..HEADS {
        chunks(maps, frame, work, flow, from, until);
        if !until.after(flow.response_next) || flow.flags & (RESPONSES_UNFRAMED | RESPONSE_CHUNKED) != 0 {
            break;
        }
        if let Some(step) = head(maps, frame, work, globals, flow, from, until, now) {
            return step;
        }
    }
    chunks(maps, frame, work, flow, from, until);
    if until.after(flow.response_next) && flow.flags & RESPONSES_UNFRAMED == 0 {
        if from.after(flow.response_next) {
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
        let len = flow.response_next.since(from);
        flow.sent = flow.sent.max(from.plus(len));
        completed(maps, flow);
        return send::trimmed_to_client(frame, work, flow, len);
    }
    backend::passed(maps, frame, work, flow, from)
}

/// Up to where the backend's bytes have been understood, or kept until they can be.
#[inline(always)]
pub(super) fn reach(flow: &Flow) -> Seq {
    let kept = if flow.stash != NONE && flow.flags & STASH_RESPONSE != 0 { flow.stash_len } else { 0 };
    flow.response_next.plus(kept)
}

/// The chunks of a segment.
struct Chunks<'a, M: Maps, F: Frame> {
    maps: &'a M,
    frame: &'a mut F,
    work: &'a mut Work,
    flow: &'a mut Flow,
    from: Seq,
    until: Seq,
}

/// Follows chunk headers through the segment, as far as they go.
#[inline(always)]
fn chunks<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow, from: Seq, until: Seq) {
    if flow.flags & RESPONSE_CHUNKED != 0 && flow.response_left == 0 {
        let mut chunks = Chunks { maps, frame, work, flow, from, until };
        M::Cpu::repeat::<_, OneChunk>(&mut chunks, CHUNKS);
    }
}

struct OneChunk;
impl<M: Maps, F: Frame> LoopStep<Chunks<'_, M, F>> for OneChunk {
    #[inline(always)]
    fn step(chunks: &mut Chunks<'_, M, F>) -> bool {
        let flow = &mut *chunks.flow;
        let work = &mut *chunks.work;
        let next = flow.response_next;
        if !chunks.until.after(next) || chunks.from.after(next) {
            return false;
        }
        let guess = if flow.chunk.spent == 0 { CHUNK_GUESS } else { CHUNK_BYTES as u32 };
        let take = chunks.until.since(next).min(guess);
        let at = work.segment.payload_at() + next.since(chunks.from);
        if !chunks.frame.load(at, take, &mut work.buffer, 0) {
            unframe(chunks.maps, flow);
            return false;
        }
        work.chunk.state = flow.chunk;
        let scanned = chunks.maps.scan_chunk(&mut work.chunk, &work.buffer, 0, take);
        flow.chunk = work.chunk.state;
        if scanned as u32 == Scanned::Incomplete as u32 {
            flow.response_next = flow.response_next.plus(take);
            return true;
        }
        if scanned as u32 != Scanned::Complete as u32 {
            chunks.maps.note(crate::verdict::unframed(scanned));
            unframe(chunks.maps, flow);
            return false;
        }
        let size = u64::from(flow.chunk.size);
        let near = size.min(STRIDE);
        flow.response_next = flow.response_next.plus(work.chunk.at).plus(near as u32);
        flow.response_left = size - near;
        if size == 0 {
            // The body has ended, and with it the response.
            flow.flags = flow.flags & !RESPONSE_CHUNKED | RESPONSE_BODY;
            return false;
        }
        flow.response_left == 0
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
    if flow.flags & RESPONSE_BODY != 0 && flow.response_left == 0 {
        // The segment holds the end of the previous response as well.
        flow.sent = flow.sent.max(flow.response_next);
    }
    completed(maps, flow);
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
    let cursor = flow.response_next.plus(before);
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
    if stashed {
        let Some(mut stash) = maps.stash(flow.stash) else { return Some((Next::Done, Verdict::NoConfig)) };
        if !frame.load(at, take, &mut stash.data, before) {
            return Some((Next::Done, Verdict::Unwritable));
        }
        scanned = maps.scan_response(scanning, &stash.data, before + take, &policy.rule);
        guard = Some(stash);
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
    }
    let buffer: &Buffer = match &guard {
        Some(stash) => &stash.data,
        None => buffer,
    };
    match scanned {
        Scanned::Complete => {
            learn(maps, globals, &scanning.head, buffer, flow, policy, shelf, &mut lookup.hash, now);
        }
        Scanned::Incomplete => {
            drop(guard);
            return part(maps, frame, work, globals, flow, from, at, before + take, now);
        }
        other => {
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
    let start = flow.response_next;
    flow.response_next = start.plus(head.len);
    if head.status == 101 {
        // Another protocol from here on, in both directions.
        flow.flags |= REQUESTS_UNFRAMED | RESPONSES_UNFRAMED;
        return;
    }
    if head.status < 200 {
        return;
    }
    if head.flags & HEAD_CLOSE != 0 {
        flow.flags |= LAST_RESPONSE;
    } else {
        flow.flags &= !LAST_RESPONSE;
    }
    let early = flow.flags & REQUESTS_UNFRAMED == 0
        && (flow.request_left != 0 || flow.received.before(flow.request_next) && flow.outstanding == 1);
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
    let Body::Length(len) = body else {
        flow.flags |= RESPONSE_CHUNKED;
        flow.chunk = ChunkState::START;
        flow.response_left = 0;
        return;
    };
    let near = len.min(STRIDE);
    flow.response_next = flow.response_next.plus(near as u32);
    flow.response_left = len - near;
    flow.flags |= RESPONSE_BODY;
}

/// From here on responses are not followed: the flow stays where it is. Nor are requests, for behind a 101 that nobody sees the
/// client's bytes are none.
#[inline(always)]
fn unframe<M: Maps>(maps: &M, flow: &mut Flow) {
    flow.flags |= REQUESTS_UNFRAMED | RESPONSES_UNFRAMED;
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
        if super::client::head_in_stash(flow) {
            // There is one stash, and the client's next head lies in it.
            maps.note(Note::ResponseUnframed.counter());
            unframe(maps, flow);
            return None;
        }
        // A request's stash has done its duty: the backend answers it.
        super::end::drop_stash(maps, flow);
        if !super::request::stash(maps, frame, globals, flow, at, have) {
            return Some((Next::Done, Verdict::StashesFull));
        }
        flow.flags |= STASH_RESPONSE;
    }
    flow.stash_first = flow.response_next;
    flow.stash_len = have;
    Some(backend::passed(maps, frame, work, flow, from))
}

/// Binds what the response issues, before it leaves; forgets what it deletes.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined: the arguments are the driver's own variables")]
fn learn<M: Maps>(
    maps: &M,
    globals: &Globals,
    head: &crate::http::Head,
    buffer: &Buffer,
    flow: &Flow,
    policy: &Policy,
    shelf: &Shelf,
    hash: &mut SessionHash,
    now: Now,
) {
    if head.set_id.len != 0 {
        maps.hash(globals, flow.service, buffer, head.set_id, hash);
        let leg = &flow.leg;
        let binding = Binding::new(leg.version, leg.generation, leg.backend, KIND_ISSUED);
        let times = u64::from(now.seconds()) | u64::from(policy.idle_seconds) << 32;
        match maps.bind(globals, hash, binding.0, times, shelf) {
            Bound::New | Bound::Changed => {}
            Bound::Evicted => maps.note(Note::SessionEvicted.counter()),
            Bound::Full => {
                maps.note(Note::SessionsFull.counter());
                return;
            }
        }
        maps.note(Note::SessionIssued.counter());
        if let Some(traffic) = traffic(maps, flow.service, leg.version) {
            M::Cpu::fetch_add(&traffic.issued, 1);
        }
    } else if head.deletes != 0
        // Of several requests under way only the last one's id is kept, and it need not be this response's.
        && flow.outstanding == 1
        // And where requests are not followed, nobody knows what this one presented.
        && flow.flags & (HAS_PRESENTED | REQUESTS_UNFRAMED) == HAS_PRESENTED
        && maps.forget(globals, &flow.presented, shelf)
    {
        maps.note(Note::SessionDeleted.counter());
    }
}

/// Counts a response as complete once its last byte has gone to the client.
#[inline(always)]
pub(super) fn completed<M: Maps>(maps: &M, flow: &mut Flow) {
    if flow.flags & RESPONSE_BODY != 0
        && flow.response_left == 0
        && flow.outstanding != 0
        && !flow.sent.before(flow.response_next)
    {
        flow.flags &= !RESPONSE_BODY;
        flow.outstanding -= 1;
        flow.heads >>= 1;
        count_in_flight(maps, flow.service, flow.leg.version, u64::MAX);
    }
}
