//! A request: scanned, decided, counted, and sent where it belongs.

use super::body::STRIDE;
use super::lookup::Lookup;
use super::{
    Next, Now, Step, alone, body, choose, count_in_flight, end, has_leg, joined, lookup, open, pool, send, stash,
    traffic,
};
use crate::decide::{Decided, Search, Why};
use crate::host::{Cpu, Maps};
use crate::http::{
    HEAD_AUTH_CONNECTION, HEAD_CHUNKED, HEAD_UPGRADE, METHOD_CONNECT, METHOD_HEAD, METHOD_SAFE, Scanned,
};
use crate::layout::{
    BACKEND_FIN, BUFFER_BYTES, Buffer, FLOW_SPLICED, Flow, Globals, LEG_OWN, LEG_REUSED, NONE, PIN_TRACED,
    POLICY_KEEP_UNFRAMED, REQUESTS_UNFRAMED, RESPONSES_UNFRAMED, SAFE_REQUEST, SESSION_MOVED, STASH_HEAD, STASH_HELD,
    STASH_OWNED, STASH_RESPONSE, ServiceWord, TUNNEL, UPGRADE_ASKED, owned_by,
};
use crate::net::{FIN, Frame, Seq};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Requests without a complete response at most, on one flow.
const MAX_OUTSTANDING: u32 = 30;

/// Where a request lies in the segment at hand, and how much of it is there.
struct Extent {
    /// Bytes before it in the payload.
    offset: u32,
    /// Where it begins in the frame.
    at: u32,
    /// The beginning of its head lies in the stash.
    stashed: bool,
    before: u32,
    /// Bytes in the segment.
    there: u32,
    /// Those of them that are read: a merged segment may hold more than a buffer does.
    take: u32,
}

#[inline(always)]
fn extent(work: &Work, flow: &Flow) -> Extent {
    let offset = joined::expected(flow).since(work.segment.seq);
    let stashed = joined::head_in_stash(flow);
    let before = if stashed { flow.stash_len } else { 0 };
    let there = work.segment.payload - offset;
    let take = there.min((BUFFER_BYTES as u32).saturating_sub(before));
    Extent { offset, at: work.segment.payload_at() + offset, stashed, before, there, take }
}

/// Bytes of the request that are read: of the stash and of the segment.
#[inline(always)]
pub(super) fn at_hand(work: &Work, flow: &Flow) -> u32 {
    let Extent { before, take, .. } = extent(work, flow);
    before + take
}

/// A segment in which a request head begins or goes on, at the first byte that is expected of the client: reads the head, and
/// looks its session up.
#[inline(always)]
pub fn request_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    let Extent { at, stashed, before, take, .. } = extent(work, flow);
    if stashed && !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    let have = before + take;
    let word = ServiceWord(maps.service_word(flow.service));
    let Some(policy) = maps.policy(word.block()) else { return (Next::Done, Verdict::NoConfig) };
    if word.generation() == 0 || take == 0 {
        return (Next::Done, Verdict::NoConfig);
    }
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
    work.lookup.begin(flow.service, &flow.key.client, lookup::idle(policy, now.seconds()));
    if scanned as u32 == Scanned::Incomplete as u32 {
        drop(guard);
        return part(maps, frame, work, globals, flow, at, have, now);
    }
    if policy.listener != 0 {
        return (Next::Choose, Verdict::RequestSame);
    }
    if scanned as u32 == Scanned::Complete as u32 {
        let Work { scan, lookup, .. } = work;
        maps.look_up(globals, policy, buffer, &scan.head, lookup);
        if policy.pins != 0 {
            maps.find_pin(globals, policy, buffer, &scan.head, lookup);
        }
    }
    (Next::Decide, Verdict::RequestSame)
}

/// A request whose head was read: decides it, counts it, and says where it goes.
#[inline(always)]
pub fn decide_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    let Extent { offset, at, stashed, before, there, take } = extent(work, flow);
    let have = before + take;
    let scanned = work.scan.scanned();
    // Read again and again rather than kept: the stack of this step is full.
    let refused = work.lookup.refused != 0;
    let word = ServiceWord(maps.service_word(work.lookup.service));
    let Some(policy) = maps.policy(word.block()) else { return (Next::Done, Verdict::NoConfig) };
    let complete = scanned as u32 == Scanned::Complete as u32;
    // What a tunnel carries is nobody's business: the flow goes where its head says, and stays there. So with a request for
    // another protocol whose answer nobody will see.
    let unseen = flow.flags & RESPONSES_UNFRAMED != 0 && work.scan.head.flags & HEAD_UPGRADE != 0;
    // Whoever begins like this does not speak HTTP/1.x at all.
    let foreign = matches!(scanned, Scanned::Preface | Scanned::BadRequestLine | Scanned::NotHttp);
    let tunnel = foreign || complete && (work.scan.head.flags & METHOD_CONNECT != 0 || unseen);
    let mut opaque = !complete || tunnel;
    let mut reason = scanned;
    let full = flow.outstanding >= MAX_OUTSTANDING && flow.flags & RESPONSES_UNFRAMED == 0;
    // The client was told that no answer will come behind the last one.
    if full || flow.flags & BACKEND_FIN != 0 {
        return (Next::Done, Verdict::RebindWaits);
    }
    if policy.hold_until > now.ms && !refused {
        return (Next::Hold, Verdict::Held);
    }
    if flow.flags & STASH_HELD != 0 {
        // It was held, and comes again: what is kept of it is not needed any more.
        end::drop_stash(maps, flow);
    }
    let joined = flow.state == FLOW_SPLICED && has_leg(flow);
    // Another service's leg is no leg for this request.
    let fits = joined && flow.leg.service == work.lookup.service;
    search(&mut work.search, &work.lookup, flow, fits, now);
    work.choice.missing = 0;
    if refused || maps.decide(policy, &mut work.search, &mut work.choice) as u32 != Decided::Chosen as u32 {
        if !frame.can_grow() {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        if !complete || tunnel || flow.flags & RESPONSES_UNFRAMED != 0 {
            // Whoever speaks something else would not understand the answer.
            return alone::reset_client(maps, work, flow, now, Verdict::NoBackend);
        }
        if joined && (flow.outstanding != 0 || work.segment.ack != flow.sent) {
            return (Next::Done, Verdict::RebindWaits);
        }
        return (Next::Reject, Verdict::Rejected);
    }
    // What cannot be read stays where it is; and, where that is wanted, what nobody can follow.
    let stays = !complete || flow.flags & RESPONSES_UNFRAMED != 0 && policy.flags & POLICY_KEEP_UNFRAMED != 0;
    let same =
        joined && (stays || fits && work.choice.backend == flow.leg.backend && work.choice.version == flow.leg.version);
    let version = if same { flow.leg.version } else { work.choice.version };
    if joined && !same {
        if flow.flags & RESPONSES_UNFRAMED != 0 {
            if !frame.can_grow() {
                return (Next::Done, Verdict::NeedsGrowth);
            }
            return open::give_up(maps, work, flow, now, Verdict::UnframedMoved);
        }
        // The previous response has to be complete, and its bytes acknowledged, before anything moves.
        if flow.outstanding != 0 || work.segment.ack != flow.sent {
            return (Next::Done, Verdict::RebindWaits);
        }
    }
    let limit = pool::limit(policy);
    // The leg at hand goes to its own service's pool.
    work.room = if joined && flow.leg.service != work.lookup.service { pool::limit_of(maps, flow) } else { limit };
    let parks = work.room != 0 && pool::parkable(flow);
    // How much of what is at hand belongs to this request: its head, and its body as far as it has come. Until the request is
    // accepted, whoever turns back has to withdraw it.
    let first = flow.request.next;
    let behind = first.plus(work.scan.head.len);
    if work.scan.head.flags & HEAD_CHUNKED != 0 && !opaque {
        body::chunked(&mut flow.request, behind);
        let until = if same { work.segment.end() } else { first.plus(have) };
        let from = work.segment.seq;
        reason = frame.follow(maps, work, &mut flow.request, from, until);
        opaque = !matches!(reason, Scanned::Complete | Scanned::Incomplete);
    } else {
        body::known(&mut flow.request, behind, work.scan.head.content_length);
    }
    if opaque {
        body::known(&mut flow.request, first, STRIDE);
    }
    // In chunks, up to a header that has not been seen: what lies before it may go.
    let ends = flow.request.next.since(first);
    let keep = ends.min(have);
    let all = ends >= before + there;
    // Legs of others serve only what may be done twice, and can be: a safe method, there as a whole.
    let shared = limit != 0
        && work.scan.head.flags & METHOD_SAFE != 0
        && work.scan.head.flags & (HEAD_UPGRADE | HEAD_AUTH_CONNECTION) == 0
        && !opaque
        && !work.segment.has(FIN)
        && flow.request.chunked == 0
        && ends <= have;
    let leg = if !same && shared && (!joined || parks) {
        maps.take(globals, work.choice.backend, pool::class(flow), owned_by(flow.slot))
    } else {
        NONE
    };
    let direct = all && !stashed && offset == 0;
    if same && flow.flags & LEG_REUSED != 0 && (opaque || work.scan.head.flags & METHOD_SAFE == 0) {
        // Whether the leg lives is not known yet. If it does not, what went out on it is repeated, and this must not be.
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::RebindWaits);
    }
    if !(frame.can_grow() || same && !stashed || leg != NONE && direct) {
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::NeedsGrowth);
    }
    // Counted first, then the word read again: so whoever changed it in between and then sees no request in flight on a
    // version can be sure that none is on its way to it.
    count_in_flight(maps, work.lookup.service, version, 1);
    if maps.service_word(work.lookup.service) != word.0 {
        count_in_flight(maps, work.lookup.service, version, u64::MAX);
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::Undecided);
    }
    if !same {
        // Before the flow changes: without a stash the segment has to come again to a flow that knows nothing of it.
        if !stashed && !stash::stash(maps, frame, stash::for_whole(globals), flow, first, at, keep) {
            count_in_flight(maps, work.lookup.service, version, u64::MAX);
            withdraw(maps, work, flow, first, leg);
            return (Next::Done, Verdict::StashesFull);
        }
        flow.stash_len = keep;
    }
    let parked = joined && !same && parks && maps.park(flow, work.room);
    if leg != NONE && joined && !parked {
        // There was no room for the leg at hand. The first thing that its backend says is answered with a RST.
        end::leave_leg(maps, flow);
        end::release_leg(maps, flow);
    }
    flow.service = work.lookup.service;
    choose::count(maps, work);
    maps.conclude(globals, policy, &work.lookup, &work.choice, now.seconds());
    if work.lookup.pin.flags & PIN_TRACED != 0 {
        maps.trace(work, flow, version, work.choice.backend, now);
    }
    if opaque {
        // A head that is complete as a scan, and all the same not framed, is a tunnel's.
        let tunnel = reason as u32 == Scanned::Complete as u32;
        maps.note(if tunnel { Note::RequestUnframed.counter() } else { crate::verdict::unframed(reason) });
    }
    if !same {
        // What was true of the last leg is not of the next one; what the request at hand does to it, `account` knows.
        flow.flags &= !LEG_OWN;
    }
    lookup::remember(&work.lookup, flow, now);
    account(maps, work, flow, version, first, opaque, tunnel);
    if leg != NONE {
        maps.join(flow, leg, &work.choice, now);
        flow.received = flow.received.max(first.plus(keep));
        if direct {
            return (Next::ToLeg, Verdict::RequestPooled);
        }
        return send::from_stash(work, flow, first, keep, Verdict::RequestPooled);
    }
    if !same {
        return if joined && !parked {
            (Next::OpenRebind, Verdict::RequestRebind)
        } else {
            (Next::Open, Verdict::RequestOpen)
        };
    }
    if complete {
        // The leg may be older than the present generation; sessions that are born on it now are not.
        flow.leg.generation = work.choice.generation;
        flow.leg.position = work.choice.position;
    }
    if stashed {
        flow.stash_len = keep;
        let first = flow.stash_first;
        flow.received = flow.received.max(first.plus(keep));
        return send::from_stash(work, flow, first, keep, Verdict::RequestFromStash);
    }
    if !all {
        // The next request begins in the same segment. Whoever decides that one sends this one as well.
        work.accepted = flow.request.next.since(work.segment.seq);
        return (Next::More, Verdict::RequestSame);
    }
    flow.received = flow.received.max(flow.request_first.plus(there));
    if work.segment.has(FIN) {
        joined::ended(maps, flow);
    }
    if opaque {
        return (Next::ToLeg, Verdict::Unframed);
    }
    (Next::ToLeg, Verdict::RequestSame)
}

/// A request that is held. Two versions must not run at once, and the old one has not finished (D10). Nobody acknowledges the
/// request, so its client sends it again, whatever becomes of the daemon. Where the stash is free it keeps a copy, so that the
/// request can go on in the very moment in which the hold ends, rather than when the client's timer says so.
#[inline(always)]
pub fn hold_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
) -> Step {
    let Extent { offset, at, take, .. } = extent(work, flow);
    let taken = flow.flags & (STASH_HELD | STASH_OWNED | STASH_HEAD | STASH_RESPONSE) != 0;
    if taken || flow.outstanding != 0 || flow.flags & RESPONSES_UNFRAMED != 0 || offset != 0 {
        return (Next::Done, Verdict::Held);
    }
    if stash::stash(maps, frame, stash::for_whole(globals), flow, flow.request.next, at, take) {
        flow.stash_len = take;
        flow.flags |= STASH_HELD;
        // Whose hold it is that lets it go on.
        flow.service = work.lookup.service;
        maps.keep_held(flow.slot);
    }
    (Next::Done, Verdict::Held)
}

/// Whether the request that was read last is a HEAD.
#[inline(always)]
pub(super) fn asks_for_head(work: &Work) -> bool {
    work.scan.head.flags & METHOD_HEAD != 0
}

/// Tells of a decision on a request whose pin is traced.
#[inline(always)]
pub fn trace<M: Maps>(maps: &M, work: &mut Work, flow: &Flow, version: u32, backend: u32, now: Now) {
    let event = &mut work.event;
    event.at = now.ns;
    event.service = work.lookup.service;
    event.version = version;
    event.backend = backend;
    event.pin = work.lookup.pin.id;
    event.client = flow.key.client;
    event.client_port = flow.key.client_port;
    maps.tell(event);
}

/// Takes back what was done for a request that has to come again.
#[inline(always)]
fn withdraw<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, first: Seq, leg: u32) {
    body::known(&mut flow.request, first, 0);
    if leg != NONE {
        pool::give_back(maps, work.choice.backend, pool::class(flow), leg);
    }
}

/// Fills in what the decision depends on.
#[inline(always)]
pub(super) fn search(search: &mut Search, lookup: &Lookup, flow: &Flow, joined: bool, now: Now) {
    search.binding = lookup.binding;
    search.route = lookup.route;
    search.presented = lookup.presented;
    search.pin = lookup.pin.pin;
    search.now = now.ms;
    search.source = flow.key.client.number();
    search.present_version = if joined { flow.leg.version } else { NONE };
    search.present_backend = if joined { flow.leg.backend } else { NONE };
    search.tried = 0;
    search.tried_version = NONE;
    search.strict = 0;
}

/// Enters the request into the flow: where the next one begins, and what its response will look like.
#[inline(always)]
fn account<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, version: u32, first: Seq, opaque: bool, tunnel: bool) {
    if let Some(traffic) = traffic(maps, flow.service, version) {
        M::Cpu::fetch_add(&traffic.requests, 1);
    }
    flow.request_first = first;
    flow.flags &= !STASH_HEAD;
    if opaque {
        flow.flags |= REQUESTS_UNFRAMED;
        if tunnel {
            flow.flags |= TUNNEL;
        }
        if tunnel && work.scan.scanned() as u32 != Scanned::Complete as u32 {
            flow.flags |= RESPONSES_UNFRAMED;
        }
    }
    let head = work.scan.head.flags;
    flow.flags &= !(SAFE_REQUEST | UPGRADE_ASKED | SESSION_MOVED);
    if work.choice.why == Why::Moved as u32 {
        flow.flags |= SESSION_MOVED;
    }
    if head & METHOD_SAFE != 0 {
        flow.flags |= SAFE_REQUEST;
    }
    if head & HEAD_UPGRADE != 0 {
        flow.flags |= UPGRADE_ASKED;
    }
    if head & HEAD_AUTH_CONNECTION != 0 {
        flow.flags |= LEG_OWN;
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
    if !frame.can_grow() && work.accepted == 0 {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if work.accepted != 0 || flow.outstanding != 0 && flow.flags & RESPONSES_UNFRAMED == 0 {
        // The stash may still answer for the previous request, or be needed for the head of its response. A client that
        // pipelines sends this again when that is over.
        return (Next::Done, Verdict::RebindWaits);
    }
    if has_leg(flow) && !joined::head_in_stash(flow) && flow.upstream_acked.before(flow.request.next) {
        // Whoever acknowledges this acknowledges what lies before it, and of a body whose answer came early the backend may not
        // have all.
        return (Next::Done, Verdict::RebindWaits);
    }
    if !joined::head_in_stash(flow) && flow.flags & STASH_OWNED != 0 {
        // The stash still answers for the previous request.
        return (Next::Done, Verdict::BeyondStash);
    }
    let among = stash::for_parts(globals);
    if !joined::head_in_stash(flow) && !stash::stash(maps, frame, among, flow, flow.request.next, at, have) {
        return (Next::Done, Verdict::StashesFull);
    }
    flow.stash_len = have;
    flow.flags |= STASH_OWNED | STASH_HEAD;
    alone::acknowledge(frame, work, flow, now, Verdict::HeadPart)
}

/// The body of the present request is not followed any further: from here on the flow stays where it is.
#[inline(always)]
pub(super) fn unframe<M: Maps>(maps: &M, flow: &mut Flow, reason: Scanned) {
    maps.note(crate::verdict::unframed(reason));
    flow.flags |= REQUESTS_UNFRAMED;
    let next = flow.request.next;
    body::known(&mut flow.request, next, STRIDE);
}
