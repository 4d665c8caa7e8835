//! A request that was decided: counted, entered into its flow, and sent where it belongs.

use super::body::STRIDE;
use super::request::is_tunnel;
use super::{Next, Now, Step, body, choose, count_in_flight, end, has_leg, joined, lookup, pool, send, stash, traffic};
use crate::decide::Why;
use crate::host::{Cpu, Maps};
use crate::http::{HEAD_AUTH_CONNECTION, HEAD_CHUNKED, HEAD_UPGRADE, METHOD_HEAD, METHOD_SAFE, Scanned};
use crate::layout::{
    FLOW_SPLICED, Flow, Globals, LEG_OWN, LEG_REUSED, MOVES, NONE, PIN_TRACED, REQUESTS_UNFRAMED, RESPONSES_UNFRAMED,
    SAFE_REQUEST, SESSION_MOVED, STASH_HEAD, ServiceWord, TUNNEL, UPGRADE_ASKED, owned_by,
};
use crate::net::{FIN, Frame, Seq};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// A request of which it was decided where it goes: says how. A step of its own, because it and the one before have much on the stack.
#[inline(always)]
pub fn accept_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
) -> Step {
    let Some(policy) = maps.policy(ServiceWord(work.word).block()) else { return (Next::Done, Verdict::NoConfig) };
    let mut reason = work.scan.scanned();
    let complete = reason as u32 == Scanned::Complete as u32;
    let tunnel = is_tunnel(work, flow);
    let mut opaque = !complete || tunnel;
    let joined = flow.state == FLOW_SPLICED && has_leg(flow);
    let same = work.same != 0;
    let version = if same { flow.leg.version } else { work.choice.version };
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
        let until = if same { work.segment.end() } else { first.plus(work.extent.have()) };
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
    let keep = ends.min(work.extent.have());
    let all = ends >= work.extent.before + work.extent.there;
    // Legs of others serve only what may be done twice, and can be: a safe method, there as a whole.
    let shared = limit != 0
        && work.scan.head.flags & METHOD_SAFE != 0
        && work.scan.head.flags & (HEAD_UPGRADE | HEAD_AUTH_CONNECTION) == 0
        && !opaque
        && !work.segment.has(FIN)
        && flow.request.chunked == 0
        && ends <= work.extent.have();
    let leg = if !same && shared && (!joined || parks) {
        maps.take(globals, work.choice.backend, pool::class(flow), owned_by(flow.slot))
    } else {
        NONE
    };
    let direct = all && !work.extent.is_stashed() && work.extent.offset == 0;
    if same && flow.flags & LEG_REUSED != 0 && (opaque || work.scan.head.flags & METHOD_SAFE == 0) {
        // Whether the leg lives is not known yet. If it does not, what went out on it is repeated, and this must not be.
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::RebindWaits);
    }
    if !(frame.can_grow() || same && !work.extent.is_stashed() || leg != NONE && direct) {
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::NeedsGrowth);
    }
    // Counted first, then the word read again: so whoever changed it in between and then sees no request in flight on a
    // version can be sure that none is on its way to it.
    count_in_flight(maps, work.lookup.service, version, 1);
    if maps.service_word(work.lookup.service) != work.word {
        count_in_flight(maps, work.lookup.service, version, u64::MAX);
        withdraw(maps, work, flow, first, leg);
        return (Next::Done, Verdict::Undecided);
    }
    // A leg of its own: one that rebinds without a pool opens it in the place of the one at hand.
    let mut place = NONE;
    if !same {
        // Before the flow changes: without a stash or a place for its leg the segment has to come again to a flow that knows
        // nothing of it.
        let stashed = work.extent.is_stashed();
        if !stashed && !stash::stash(maps, frame, stash::for_whole(globals), flow, first, work.extent.at, keep) {
            count_in_flight(maps, work.lookup.service, version, u64::MAX);
            withdraw(maps, work, flow, first, leg);
            return (Next::Done, Verdict::StashesFull);
        }
        if leg == NONE && (!joined || parks) {
            place = maps.claim_leg(globals, flow.slot);
            if place == NONE && !joined {
                if !stashed {
                    end::drop_stash(maps, flow);
                }
                count_in_flight(maps, work.lookup.service, version, u64::MAX);
                withdraw(maps, work, flow, first, leg);
                return (Next::Done, Verdict::LegsFull);
            }
        }
        flow.stash_len = keep;
    }
    let parked = joined && !same && parks && (leg != NONE || place != NONE) && maps.park(flow, work.room);
    if leg != NONE && joined && !parked {
        // There was no room for the leg at hand. The first thing that its backend says is answered with a RST.
        end::leave_leg(maps, flow);
        end::release_leg(maps, flow);
    }
    if place != NONE {
        if joined && !parked {
            pool::free(maps, place);
        } else {
            flow.leg.slot = place;
        }
    }
    flow.service = work.lookup.service;
    choose::count(maps, work);
    if lookup::is_notable(&work.choice) {
        maps.conclude(globals, policy, &work.lookup, &work.choice, now.seconds());
    }
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
        flow.flags = flow.flags & !LEG_OWN | if joined { MOVES } else { 0 };
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
    if work.extent.is_stashed() {
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
    flow.received = flow.received.max(flow.request_first.plus(work.extent.there));
    if work.segment.has(FIN) {
        joined::ended(maps, flow);
    }
    if opaque {
        return (Next::ToLeg, Verdict::Unframed);
    }
    (Next::ToLeg, Verdict::RequestSame)
}

/// Takes back what was done for a request that has to come again.
#[inline(always)]
fn withdraw<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, first: Seq, leg: u32) {
    body::known(&mut flow.request, first, 0);
    if leg != NONE {
        pool::give_back(maps, work.choice.backend, pool::class(flow), leg);
    }
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
