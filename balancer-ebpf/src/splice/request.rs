//! A request: scanned, decided, or held.

use super::body::STRIDE;
use super::lookup::Lookup;
use super::{Next, Now, Step, alone, body, end, has_leg, joined, lookup, open, stash};
use crate::decide::{Decided, Search};
use crate::host::Maps;
use crate::http::{HEAD_UPGRADE, METHOD_CONNECT, METHOD_HEAD, Scanned};
use crate::layout::{
    BACKEND_FIN, BUFFER_BYTES, Buffer, FLOW_SPLICED, Flow, Globals, NONE, POLICY_KEEP_UNFRAMED, REQUESTS_UNFRAMED,
    RESPONSES_UNFRAMED, STASH_HEAD, STASH_HELD, STASH_OWNED, STASH_RESPONSE, ServiceWord,
};
use crate::net::Frame;
use crate::verdict::Verdict;
use crate::work::Work;

/// Requests without a complete response at most, on one flow.
const MAX_OUTSTANDING: u32 = 30;

/// Where a request lies in the segment at hand, and how much of it is there. It lies in the scratch memory, because the steps of a
/// request have the stack full.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Extent {
    /// Bytes before it in the payload.
    pub(super) offset: u32,
    /// Where it begins in the frame.
    pub(super) at: u32,
    /// The beginning of its head lies in the stash: 0 or 1.
    stashed: u32,
    /// Bytes of it there.
    pub(super) before: u32,
    /// Bytes in the segment.
    pub(super) there: u32,
    /// Those of them that are read: a merged segment may hold more than a buffer does.
    pub(super) take: u32,
}

impl Extent {
    #[inline(always)]
    fn of(work: &Work, flow: &Flow) -> Self {
        let offset = joined::expected(flow).since(work.segment.seq);
        let stashed = joined::head_in_stash(flow);
        let before = if stashed { flow.stash_len } else { 0 };
        let there = work.segment.payload - offset;
        let take = there.min((BUFFER_BYTES as u32).saturating_sub(before));
        Self { offset, at: work.segment.payload_at() + offset, stashed: u32::from(stashed), before, there, take }
    }

    /// Whether the beginning of its head lies in the stash.
    #[inline(always)]
    pub(super) const fn is_stashed(&self) -> bool {
        self.stashed != 0
    }

    /// Bytes of the request that are read: of the stash and of the segment.
    #[inline(always)]
    pub(super) const fn have(&self) -> u32 {
        self.before + self.take
    }
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
    let extent = Extent::of(work, flow);
    work.extent = extent;
    let (stashed, have) = (extent.is_stashed(), extent.have());
    let Extent { at, before, take, .. } = extent;
    if stashed && !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
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

/// Whether what was read is the head of a tunnel. What that carries is nobody's business: the flow goes where its head says, and stays
/// there. So with a request for another protocol whose answer nobody will see.
#[inline(always)]
pub(super) fn is_tunnel(work: &Work, flow: &Flow) -> bool {
    let (scanned, head) = (work.scan.scanned(), work.scan.head.flags);
    // Whoever begins like this does not speak HTTP/1.x at all.
    let foreign = matches!(scanned, Scanned::Preface | Scanned::BadRequestLine | Scanned::NotHttp);
    let unseen = flow.flags & RESPONSES_UNFRAMED != 0 && head & HEAD_UPGRADE != 0;
    foreign || scanned as u32 == Scanned::Complete as u32 && (head & METHOD_CONNECT != 0 || unseen)
}

/// A request whose head was read: decides it. `grows`: the frame can grow.
#[inline(always)]
pub fn decide_step<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now, grows: bool) -> Step {
    // Read again and again rather than kept: the stack of this step is full.
    let refused = work.lookup.refused != 0;
    let word = ServiceWord(maps.service_word(work.lookup.service));
    let Some(policy) = maps.policy(word.block()) else { return (Next::Done, Verdict::NoConfig) };
    let complete = work.scan.scanned() as u32 == Scanned::Complete as u32;
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
        if !grows {
            return (Next::Done, Verdict::NeedsGrowth);
        }
        if !complete || is_tunnel(work, flow) || flow.flags & RESPONSES_UNFRAMED != 0 {
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
    if joined && !same {
        if flow.flags & RESPONSES_UNFRAMED != 0 {
            if !grows {
                return (Next::Done, Verdict::NeedsGrowth);
            }
            return open::give_up(maps, work, flow, now, Verdict::UnframedMoved);
        }
        // The previous response has to be complete, and its bytes acknowledged, before anything moves.
        if flow.outstanding != 0 || work.segment.ack != flow.sent {
            return (Next::Done, Verdict::RebindWaits);
        }
    }
    work.word = word.0;
    work.same = u32::from(same);
    (Next::Accept, Verdict::RequestSame)
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
    let Extent { offset, at, take, .. } = work.extent;
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
