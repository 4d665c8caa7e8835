//! A request: scanned, decided, counted, and sent where it belongs.

use super::{Next, Now, Step, client, count_in_flight, has_leg, open, send, traffic};
use crate::decide::{Choice, Search, Why};
use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::http::{HEAD_CHUNKED, HEAD_LENGTH, Head, MAX_IDS, METHOD_CONNECT, METHOD_HEAD, Scanned, Span};
use crate::layout::{
    BUFFER_BYTES, Binding, Buffer, FLOW_SPLICED, Flow, Globals, HAS_PRESENTED, KIND_PRESENTED, NONE, Policy,
    REQUESTS_UNFRAMED, RESPONSES_UNFRAMED, STASH_HEAD, STASH_OWNED, STASH_RESPONSE, ServiceWord, SessionHash, Stash,
};
use crate::net::{FIN, Frame};
use crate::sessions::{self, Shelf};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Requests without a complete response at most, on one flow.
const MAX_OUTSTANDING: u32 = 30;
/// Sequence numbers that a cursor may run ahead; what is more waits in `request_left`.
const STRIDE: u64 = 1 << 29;
/// Stashes looked at for a free one.
const PROBES: u32 = 16;

/// A search for a presented id that is known.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Lookup {
    /// The id that a binding was found for; if there is none, the first that was presented.
    pub hash: SessionHash,
    /// The binding, 0 for none.
    pub binding: u64,
    pub service: u32,
    pub now: u32,
    pub idle: u32,
    /// 1 if any id was presented.
    pub presented: u32,
    /// 1 if this is the first request that presents it.
    pub first: u32,
    index: u32,
    tried: SessionHash,
    shelf: Shelf,
}

struct Ids<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    buffer: &'a Buffer,
    head: &'a Head,
    lookup: &'a mut Lookup,
}

struct Id;
impl<M: Maps> LoopStep<Ids<'_, M>> for Id {
    #[inline(always)]
    fn step(ids: &mut Ids<'_, M>) -> bool {
        let index = ids.lookup.index;
        let head = ids.head;
        // A cookie beats the path, even one that nobody knows (C21).
        let span: Span = if head.id_count == 0 { head.path_id } else { head.ids[(index as usize) & (MAX_IDS - 1)] };
        let last = head.id_count <= 1 || index + 1 >= head.id_count;
        if span.len == 0 || index >= MAX_IDS as u32 {
            return false;
        }
        ids.maps.hash(ids.globals, ids.lookup.service, ids.buffer, span, &mut ids.lookup.tried);
        let hash = ids.lookup.tried;
        let found = sessions::present(ids.maps, ids.globals, &hash, ids.lookup.now, ids.lookup.idle, &ids.lookup.shelf);
        if index == 0 || found.binding != 0 {
            ids.lookup.hash = hash;
            ids.lookup.presented = 1;
        }
        ids.lookup.binding = found.binding;
        ids.lookup.first = u32::from(found.first);
        ids.lookup.index = index + 1;
        found.binding == 0 && !last
    }
}

/// Looks the presented ids up, in their order, until one is known.
#[inline(always)]
pub fn look_up<M: Maps>(maps: &M, globals: &Globals, buffer: &Buffer, head: &Head, lookup: &mut Lookup) {
    M::Cpu::repeat::<_, Id>(&mut Ids { maps, globals, buffer, head, lookup }, MAX_IDS as u32);
}

/// A segment in which, `offset` bytes from the front of its payload, a request head begins or goes on.
#[inline(always)]
pub(super) fn request<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    offset: u32,
    now: Now,
) -> Step {
    let stashed = client::head_in_stash(flow);
    if stashed && !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    let at = work.segment.payload_at() + offset;
    let before = if stashed { flow.stash_len } else { 0 };
    // A merged segment may hold more than a buffer does.
    let there = work.segment.payload - offset;
    let take = there.min((BUFFER_BYTES as u32).saturating_sub(before));
    let have = before + take;
    let word = ServiceWord(maps.service_word(flow.service));
    let Some(policy) = maps.policy(word.block()) else { return (Next::Done, Verdict::NoConfig) };
    if word.generation() == 0 || take == 0 {
        return (Next::Done, Verdict::NoConfig);
    }
    let scanned = {
        let mut guard = None;
        let buffer: &Buffer = if stashed {
            let Some(mut stash) = maps.stash(flow.stash) else { return (Next::Done, Verdict::NoConfig) };
            if !frame.load(at, take, &mut stash.data, before) {
                return (Next::Done, Verdict::Unwritable);
            }
            &guard.insert(stash).data
        } else {
            if !frame.load(at, take, &mut work.buffer, 0) {
                return (Next::Done, Verdict::Unwritable);
            }
            &work.buffer
        };
        let scanned = maps.scan_request(&mut work.scan, buffer, have, &policy.rule);
        work.lookup =
            Lookup { service: flow.service, now: now.seconds(), idle: policy.idle_seconds, ..Lookup::default() };
        if scanned as u32 == Scanned::Complete as u32 {
            let Work { scan, lookup, .. } = work;
            maps.look_up(globals, buffer, &scan.head, lookup);
        }
        scanned
    };
    if scanned as u32 == Scanned::Incomplete as u32 {
        return part(maps, frame, work, globals, flow, at, have, now);
    }
    let complete = scanned as u32 == Scanned::Complete as u32;
    let head_flags = work.scan.head.flags;
    // Bodies in chunks and tunnels are not followed yet: the flow goes where its head says, and stays there.
    let opaque = !complete || head_flags & (HEAD_CHUNKED | METHOD_CONNECT) != 0;
    if flow.outstanding >= MAX_OUTSTANDING && flow.flags & RESPONSES_UNFRAMED == 0 {
        return (Next::Done, Verdict::RebindWaits);
    }
    let joined = flow.state == FLOW_SPLICED && has_leg(flow);
    search(&mut work.search, &work.lookup, flow, joined, now);
    if !maps.decide(policy, &mut work.search, &mut work.choice) {
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        return client::reset_client(maps, work, flow, now, Verdict::NoBackend);
    }
    let choice = work.choice;
    // What cannot be read stays where it is.
    let same = joined && (!complete || (choice.backend == flow.leg.backend && choice.version == flow.leg.version));
    let version = if same { flow.leg.version } else { choice.version };
    // How much of what is at hand belongs to this request.
    let body = if head_flags & HEAD_LENGTH != 0 { work.scan.head.content_length } else { 0 };
    let whole = u64::from(work.scan.head.len) + body;
    let keep = if opaque || whole > u64::from(have) { have } else { whole as u32 };
    let all = opaque || whole >= u64::from(before) + u64::from(there);
    if !frame.can_grow() && (!same || !all) {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if joined && !same {
        if flow.flags & RESPONSES_UNFRAMED != 0 {
            return open::give_up(maps, work, flow, now, Verdict::UnframedMoved);
        }
        // The previous response has to be complete, and its bytes acknowledged, before anything moves.
        if flow.outstanding != 0 || work.segment.ack != flow.sent {
            return (Next::Done, Verdict::RebindWaits);
        }
    }
    // Counted first, then the word read again: so whoever changed it in between and then sees no request in flight on a
    // version can be sure that none is on its way to it.
    count_in_flight(maps, flow.service, version, 1);
    if maps.service_word(flow.service) != word.0 {
        count_in_flight(maps, flow.service, version, u64::MAX);
        return (Next::Done, Verdict::Undecided);
    }
    if !same {
        // Before the flow changes: without a stash the segment has to come again to a flow that knows nothing of it.
        if !stashed && !stash(maps, frame, globals, flow, at, keep) {
            count_in_flight(maps, flow.service, version, u64::MAX);
            return (Next::Done, Verdict::StashesFull);
        }
        flow.stash_len = keep;
    }
    note(maps, globals, work, policy, &choice, now);
    if opaque {
        maps.note(if complete { Note::RequestUnframed.counter() } else { crate::verdict::unframed(scanned) });
    }
    account(maps, work, flow, version, opaque, complete, whole);
    if !same {
        return open::open(maps, frame, work, globals, flow, now, joined);
    }
    if complete {
        // The leg may be older than the present generation; sessions that are born on it now are not.
        flow.leg.generation = choice.generation;
        flow.leg.position = choice.position;
    }
    if stashed {
        flow.stash_len = keep;
        let first = flow.stash_first;
        flow.received = flow.received.max(first.plus(keep));
        return send::from_stash(work, flow, first, keep, Verdict::RequestFromStash);
    }
    if !all {
        maps.note(Note::Trimmed.counter());
        let first = flow.request_first;
        flow.received = flow.received.max(first.plus(keep));
        return send::from_buffer(work, flow, first, keep, Verdict::RequestSame);
    }
    flow.received = flow.received.max(flow.request_first.plus(there));
    if work.segment.has(FIN) {
        client::ended(maps, flow);
    }
    if opaque {
        return (Next::ToLeg, Verdict::Unframed);
    }
    (Next::ToLeg, Verdict::RequestSame)
}

/// Fills in what the decision depends on.
#[inline(always)]
pub(super) fn search(search: &mut Search, lookup: &Lookup, flow: &Flow, joined: bool, now: Now) {
    search.binding = lookup.binding;
    search.now = now.ms;
    search.source = u32::from_be_bytes(flow.key.client);
    search.present_version = if joined { flow.leg.version } else { NONE };
    search.present_backend = if joined { flow.leg.backend } else { NONE };
    search.tried = 0;
    search.tried_version = NONE;
    search.strict = 0;
}

/// Moves a binding that no longer holds, and counts what was noticed.
#[inline(always)]
fn note<M: Maps>(maps: &M, globals: &Globals, work: &Work, policy: &Policy, choice: &Choice, now: Now) {
    if choice.why == Why::Moved as u32 {
        let binding = Binding::new(choice.version, choice.generation, choice.backend, KIND_PRESENTED);
        let times = u64::from(now.seconds()) | u64::from(policy.idle_seconds) << 32;
        maps.bind(globals, &work.lookup.hash, binding.0, times, &work.shelf);
        maps.note(Note::SessionMoved.counter());
    }
    if work.lookup.first != 0 {
        maps.note(Note::SessionPresented.counter());
    }
    if choice.backend_down != 0 {
        maps.note(Note::BoundBackendDown.counter());
    }
    if choice.version_down != 0 {
        maps.note(Note::VersionDown.counter());
    }
    if work.scan.head.more_ids != 0 {
        maps.note(Note::MoreIds.counter());
    }
}

/// Enters the request into the flow: where the next one begins, and what its response will look like.
#[inline(always)]
fn account<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, version: u32, opaque: bool, complete: bool, whole: u64) {
    if let Some(traffic) = traffic(maps, flow.service, version) {
        M::Cpu::fetch_add(&traffic.requests, 1);
    }
    let first = flow.request_next;
    flow.request_first = first;
    flow.flags &= !STASH_HEAD;
    if opaque {
        flow.flags |= REQUESTS_UNFRAMED;
        if !complete {
            flow.flags |= RESPONSES_UNFRAMED;
        }
        flow.request_next = first.plus(STRIDE as u32);
        flow.request_left = 0;
    } else {
        let near = whole.min(STRIDE);
        flow.request_next = first.plus(near as u32);
        flow.request_left = whole - near;
    }
    if flow.flags & RESPONSES_UNFRAMED != 0 && flow.outstanding != 0 {
        // Nobody sees where this flow's responses end: it counts as one request in flight until it ends itself.
        count_in_flight(maps, flow.service, version, u64::MAX);
    } else {
        let head = u32::from(work.scan.head.flags & METHOD_HEAD != 0);
        let place = flow.outstanding & 31;
        flow.heads = flow.heads & !(1 << place) | head << place;
        flow.outstanding += 1;
    }
    flow.presented = work.lookup.hash;
    if work.lookup.presented != 0 {
        flow.flags |= HAS_PRESENTED;
    } else {
        flow.flags &= !HAS_PRESENTED;
    }
}

/// A head that is not complete: kept and acknowledged, or a client that sends its head in pieces would wait for ever.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined once: the arguments are the driver's own variables")]
fn part<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    at: u32,
    have: u32,
    now: Now,
) -> Step {
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if flow.outstanding != 0 && flow.flags & RESPONSES_UNFRAMED == 0 {
        // The stash may still answer for the previous request, or be needed for the head of its response. A client that
        // pipelines sends this again when that is over.
        return (Next::Done, Verdict::RebindWaits);
    }
    if has_leg(flow) && !client::head_in_stash(flow) && flow.upstream_acked.before(flow.request_next) {
        // Whoever acknowledges this acknowledges what lies before it, and of a body whose answer came early the backend may not
        // have all.
        return (Next::Done, Verdict::RebindWaits);
    }
    if !client::head_in_stash(flow) && flow.flags & STASH_OWNED != 0 {
        // The stash still answers for the previous request.
        return (Next::Done, Verdict::BeyondStash);
    }
    if !client::head_in_stash(flow) && !stash(maps, frame, globals, flow, at, have) {
        return (Next::Done, Verdict::StashesFull);
    }
    flow.stash_len = have;
    flow.flags |= STASH_OWNED | STASH_HEAD;
    client::acknowledge(frame, work, flow, now, Verdict::HeadPart)
}

/// More of a request whose leg is being opened: its body, as far as there is room.
#[inline(always)]
pub(super) fn append_body<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
    let segment = &work.segment;
    let wanted = flow.request_next.since(segment.seq);
    if flow.request_next.before(segment.seq) || wanted == 0 {
        return (Next::Done, Verdict::BeyondHead);
    }
    let room = (BUFFER_BYTES as u32).saturating_sub(flow.stash_len);
    let take = segment.payload.min(wanted).min(room);
    if take == 0 {
        return (Next::Done, Verdict::BeyondStash);
    }
    let Some(mut stash) = maps.stash(flow.stash) else { return (Next::Done, Verdict::NoConfig) };
    if !frame.load(segment.payload_at(), take, &mut stash.data, flow.stash_len) {
        return (Next::Done, Verdict::Unwritable);
    }
    flow.stash_len += take;
    (Next::Done, Verdict::Stashed)
}

struct Claim<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    owner: u64,
    index: u32,
}

struct Probe;
impl<M: Maps> LoopStep<Claim<'_, M>> for Probe {
    #[inline(always)]
    fn step(claim: &mut Claim<'_, M>) -> bool {
        let Some(hands) = claim.maps.hands() else { return false };
        let hand = M::Cpu::fetch_add(&hands.stash, 1) as u32;
        let Some(index) = hand.checked_rem(claim.globals.stashes) else { return false };
        let Some(stash) = claim.maps.stash(index) else { return true };
        if M::Cpu::compare_exchange(&stash.owner, 0, claim.owner) {
            claim.index = index;
            return false;
        }
        true
    }
}

/// Finds a free stash and takes it. [`NONE`] if there is none.
#[inline(always)]
pub fn claim_stash<M: Maps>(maps: &M, globals: &Globals, owner: u64) -> u32 {
    let mut claim = Claim { maps, globals, owner, index: NONE };
    M::Cpu::repeat::<_, Probe>(&mut claim, PROBES);
    claim.index
}

/// Takes a stash and puts `len` bytes of the frame from `at` on into it. The flow's next request begins with them.
#[inline(always)]
pub(super) fn stash<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    globals: &Globals,
    flow: &mut Flow,
    at: u32,
    len: u32,
) -> bool {
    if flow.stash == NONE {
        flow.stash = maps.claim_stash(globals, u64::from(flow.slot) + 1);
        if flow.stash == NONE {
            return false;
        }
    }
    let Some(mut stash) = maps.stash(flow.stash) else { return false };
    flow.stash_first = flow.request_next;
    flow.flags &= !(STASH_OWNED | STASH_HEAD | STASH_RESPONSE);
    let stash: &mut Stash = &mut stash;
    frame.load(at, len, &mut stash.data, 0)
}
