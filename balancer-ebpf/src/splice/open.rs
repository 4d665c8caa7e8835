//! Legs: opening one, opening it again, and turning to the next backend when one refuses or is silent.

use super::{
    Loss, Next, Now, Step, alone, count_flow, count_in_flight, count_leg, end, gateway, has_leg, join, joined, lookup,
    pool, request,
};
use crate::decide::{Choice, Decided, Why};
use crate::host::{Cpu, Maps};
use crate::layout::{
    BACKEND_UP, CLASS_MSS, CLIENT_FIN, CLIENT_SACK, CLIENT_TIMESTAMPS, EGRESS_RESOLVES, FLOW_OPENING, Flow, Globals,
    LEG_REUSED, Leg, Place, RESPONSES_UNFRAMED, SESSION_MOVED, ServiceWord, TUNNEL, place,
};
use crate::net::{Frame, Hop, NO_SCALE, RST, SYN, Seq};
use crate::sip::sip64;
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Milliseconds between two SYNs of one leg at least: less is a duplicate of the client's segment, not its timer.
pub(super) const PATIENCE: u32 = 150;
/// SYNs to one backend before it is given up: one may be lost on a bad link.
const SYNS: u32 = 2;
/// SYNs to a backend on which the request's session lives. Who moves loses what the backend remembers, and of ten thousand legs that
/// are opened over a link that loses 5 % of its packets, ninety lose two SYNs or their answers in a row, and one loses four.
const SYNS_HOME: u32 = 2 * SYNS;
/// SYNs for one request at all.
const MOST_SYNS: u32 = 24;
/// Milliseconds for which a backend is passed over that refused, or that did not answer: the first time; each time in a row
/// doubles that, until it is the longest.
const SHUN_REFUSED: u64 = 1_000;
const SHUN_SILENT: u64 = 3_000;
const SHUN_LONGEST: u64 = 60_000;

/// The SYN's window before the client's is known to the leg: unscaled, so at most this.
const MAX_WINDOW: u32 = 65_535;

/// Carries out what a step wants of legs: [`Next::Open`] and its kin. A function of its own behind the steps, rather than a
/// part of them, because each has much on the stack.
#[inline(always)]
pub fn open_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    flow: &mut Flow,
    now: Now,
    next: Next,
) -> Step {
    let mut draft = Next::Draft;
    let mut aims = true;
    // What is known of another packet's request does not count.
    work.choice.missing = 0;
    work.lookup.refused = 0;
    let verdict = match next {
        Next::Open => {
            fresh(flow);
            Verdict::RequestOpen
        }
        Next::OpenRebind => {
            draft = Next::FarewellAndDraft;
            farewell(work, flow, flow.stash_first);
            fresh(flow);
            Verdict::RequestRebind
        }
        Next::Reopen => {
            draft = Next::FarewellAndDraft;
            farewell(work, flow, flow.upstream_acked);
            if flow.flags & LEG_REUSED != 0 {
                maps.note(Note::LegRaced.counter());
            }
            flow.flags &= !CLIENT_FIN;
            fresh(flow);
            if !turn(maps, work, globals, flow, now, false) {
                return nobody(maps, work, flow, now);
            }
            Verdict::LegLost
        }
        Next::GiveUp => return give_up(maps, work, flow, now, Verdict::BehindLast),
        Next::Refused => {
            // The next backend has all of its SYNs before it.
            flow.tries += SYNS - flow.tries % SYNS;
            shun(maps, flow, now.ms, SHUN_REFUSED);
            if flow.tries >= MOST_SYNS || !turn(maps, work, globals, flow, now, false) {
                return nobody(maps, work, flow, now);
            }
            Verdict::BackendRefused
        }
        _ => {
            if now.since(flow.asked) < PATIENCE {
                return (Next::Done, Verdict::NoLeg);
            }
            flow.tries += 1;
            // Also where there is no way to the backend: its link may be down, and another one's not.
            // A neighbour that the first SYN did not resolve has had its time: the kernel keeps what waits for it for 3 s, and
            // while it does, a client on the same host does not send again.
            let unresolved = flow.leg.hop.egress.flags & EGRESS_RESOLVES != 0;
            let given_up = unresolved || flow.tries.is_multiple_of(SYNS);
            if given_up {
                shun(maps, flow, now.ms, SHUN_SILENT);
            }
            aims = given_up && turn(maps, work, globals, flow, now, !unresolved && flow.tries < SYNS_HOME);
            if aims { Verdict::BackendSilent } else { Verdict::SynAgain }
        }
    };
    if aims && !aim(maps, &work.choice, globals, flow, now) {
        let (_, verdict) = alone::reset_client(maps, work, flow, now, Verdict::LegTaken);
        return (draft, verdict);
    }
    if flow.leg.hop.egress.interface == 0 {
        // The flow waits all the same, and its client's retransmission tries again.
        let Leg { source, address, hop, .. } = &mut flow.leg;
        // A connection does not change its address family: whoever has let that happen is answered by nobody.
        if address.is_v4() != flow.key.client.is_v4() || !frame.route(source, address, hop) {
            return (Next::Done, Verdict::NoRoute);
        }
    }
    syn(maps, work, flow, now);
    (draft, verdict)
}

/// Forgets which backends were tried for the last request.
#[inline(always)]
fn fresh(flow: &mut Flow) {
    flow.tried = 0;
    flow.tries = 0;
}

/// Drafts the RST that ends the present leg; `at` is the client's number that the backend expects next.
#[inline(always)]
pub(super) fn farewell(work: &mut Work, flow: &Flow, at: Seq) {
    let leg = &flow.leg;
    let draft = &mut work.farewell;
    draft.on_leg(leg);
    draft.seq = at.plus(leg.to_leg);
    // Without an acknowledgement, which a backend whose SYN-ACK was not taken up would want to be right.
    draft.flags = u32::from(RST);
    work.farewell_egress = leg.hop.egress;
}

/// Points the flow, to which the slot of a leg belongs, at a backend. False if the answers would not be found.
#[inline(always)]
fn aim<M: Maps>(maps: &M, choice: &Choice, globals: &Globals, flow: &mut Flow, now: Now) -> bool {
    let Place { source, port } = place(flow.leg.slot);
    if has_leg(flow) {
        end::reach_with_flow(maps, flow);
        gateway::leave(maps, flow);
        count_flow(maps, flow.leg.service, flow.leg.version, u64::MAX);
        count_leg(maps, flow.leg.backend, u64::MAX);
    }
    count_flow(maps, flow.service, choice.version, 1);
    count_leg(maps, choice.backend, 1);
    flow.leg.service = flow.service;
    let class = pool::class(flow);
    let own_address = gateway::wanted(maps, flow);
    flow.flags &= !LEG_REUSED;
    flow.state = FLOW_OPENING;
    flow.asked = now.clock();
    let leg = &mut flow.leg;
    leg.backend = choice.backend;
    leg.version = choice.version;
    leg.generation = choice.generation;
    leg.position = choice.position;
    leg.class = class;
    leg.scale = flow.client_scale;
    leg.source_port = port.to_be_bytes();
    leg.hop = Hop::default();
    if let Some(backend) = maps.backend(choice.backend) {
        leg.address = backend.address;
        leg.port = backend.port;
    }
    leg.source = if own_address { flow.key.client } else { globals.source(source, &leg.address) };
    // RFC 6528: a clock of 4 µs and a keyed hash of the connection, so that numbers rise from one use of a port to the next.
    let ([s0, s1], [d0, d1]) = (leg.source.pairs(), leg.address.pairs());
    let ports = u64::from(u16::from_ne_bytes(leg.source_port)) | u64::from(u16::from_ne_bytes(leg.port)) << 16;
    let clock = Seq((now.ns >> 12) as u32);
    let start = match maps.leg(leg.slot) {
        Some(slot) => {
            let start = clock.max(Seq(M::Cpu::load(&slot.reached) as u32));
            M::Cpu::store(&slot.reached, u64::from(start.0));
            start
        }
        None => clock,
    };
    leg.isn = start.plus(sip64(globals.isn_key, [s0, s1, d0, d1, ports]) as u32);
    leg.first = flow.stash_first;
    leg.to_leg = leg.isn.plus(1).since(flow.stash_first);
    leg.to_client = 0;
    leg.clock = now.clock();
    leg.clock_to_leg = now.clock().wrapping_sub(flow.tsval);
    leg.shift_to_client = 16;
    leg.shift_to_leg = 16;
    leg.tsval = 0;
    flow.upstream_acked = flow.stash_first;
    !own_address || gateway::enter(maps, flow)
}

/// Drafts the SYN of the flow's leg, with the client's own options: what they mean is for the two ends to agree on. A leg that
/// others may use later announces the segment size of its class.
#[inline(always)]
fn syn<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now) {
    let pooled = pool::limit_of(maps, flow) != 0;
    flow.asked = now.clock();
    let leg = &flow.leg;
    let shift = if flow.client_scale == NO_SCALE { 0 } else { flow.client_scale & 15 };
    let draft = &mut work.draft;
    draft.on_leg(leg);
    draft.seq = leg.isn;
    draft.ack = Seq(0);
    draft.flags = u32::from(SYN);
    draft.window = (flow.window << shift).min(MAX_WINDOW);
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = flow.tsval.wrapping_add(leg.clock_to_leg);
    draft.tsecr = 0;
    draft.mss = flow.client_mss;
    if pooled {
        draft.mss = draft.mss.min(CLASS_MSS[(leg.class >> 3) as usize & (CLASS_MSS.len() - 1)]);
    }
    draft.sack = u32::from(flow.flags & CLIENT_SACK != 0);
    draft.scale = flow.client_scale;
    work.egress = leg.hop.egress;
}

/// An old connection of the same ports answered the SYN: a RST with the number that it expects, and the SYN again.
#[inline(always)]
pub(super) fn challenged<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let leg = &flow.leg;
    let draft = &mut work.farewell;
    draft.on_leg(leg);
    draft.seq = work.segment.ack;
    draft.flags = u32::from(RST);
    work.farewell_egress = leg.hop.egress;
    syn(maps, work, flow, now);
    (Next::FarewellAndDraft, Verdict::ChallengeAck)
}

/// Both ends are reset: nothing else would be certain.
#[inline(always)]
pub(super) fn give_up<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now, verdict: Verdict) -> Step {
    farewell(work, flow, flow.received);
    let (_, verdict) = alone::reset_client(maps, work, flow, now, verdict);
    (Next::FarewellAndDraft, verdict)
}

/// Passes the leg's backend over for a while, whoever asks: the longer, the more often in a row it has failed. Then
/// requests try it again.
#[inline(always)]
fn shun<M: Maps>(maps: &M, flow: &mut Flow, now: u64, first: u64) {
    flow.tried |= 1 << (flow.leg.position & 31);
    if let Some(backend) = maps.backend(flow.leg.backend)
        && backend.flags & BACKEND_UP != 0
    {
        // What fails while it is passed over says nothing new: it was under way already.
        let passed_over = M::Cpu::load(&backend.shunned_until) > now;
        let before = if passed_over { 0 } else { M::Cpu::fetch_add(&backend.failures, 1) };
        let time = (first << (before & 7).min(6)).min(SHUN_LONGEST);
        let until = (now + time).max(M::Cpu::load(&backend.shunned_until));
        M::Cpu::store(&backend.shunned_until, until);
    }
}

/// Nobody is left to try for the request in the stash: its client is told so, if it speaks HTTP and nobody has worked on it.
#[inline(always)]
fn nobody<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    work.lookup.pin.flags = 0;
    maps.lost(flow, Loss::Refused);
    if flow.flags & (TUNNEL | RESPONSES_UNFRAMED) != 0 {
        return alone::reset_client(maps, work, flow, now, Verdict::NoBackend);
    }
    (Next::Reject, Verdict::Rejected)
}

/// Decides again for the request in the stash, without those that were tried. False if nobody else is there, or, with `patient`, if
/// the session lives on the backend that is silent, and nothing but this flow speaks against it.
#[inline(always)]
fn turn<M: Maps>(maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now, patient: bool) -> bool {
    let word = ServiceWord(maps.service_word(flow.service));
    let Some(policy) = maps.policy(word.block()) else { return false };
    lookup::look_again(maps, globals, policy, flow, &mut work.lookup, now);
    request::search(&mut work.search, &work.lookup, flow, false, now);
    work.search.tried_version = flow.leg.version;
    if patient {
        let others = flow.tried & !(1 << (flow.leg.position & 31));
        work.search.tried = others;
        if maps.decide(policy, &mut work.search, &mut work.choice) as u32 == Decided::Chosen as u32
            && work.choice.lives(flow.leg.version, flow.leg.backend)
        {
            flow.tried = others;
            return false;
        }
    }
    work.search.tried = flow.tried;
    // First of all those who did not fail a moment ago, in whatever version: or two versions that are both gone would be
    // tried in turn, and the one that stands in for them never.
    work.search.strict = 1;
    if maps.decide(policy, &mut work.search, &mut work.choice) as u32 != Decided::Chosen as u32 {
        work.search.strict = 0;
        if maps.decide(policy, &mut work.search, &mut work.choice) as u32 != Decided::Chosen as u32 {
            return false;
        }
    }
    if flow.flags & SESSION_MOVED != 0 {
        // This request has bound its session already, to a backend that does not answer.
        work.choice.why = Why::Moved as u32;
    }
    let choice = work.choice;
    if choice.version != flow.leg.version {
        maps.lost(flow, Loss::Refused);
        let requests = u64::from(flow.outstanding);
        count_in_flight(maps, flow.service, choice.version, requests);
        count_in_flight(maps, flow.service, flow.leg.version, requests.wrapping_neg());
        flow.tried = 0;
    }
    // Where the policy changed meanwhile, or the session was moved by this request, it stays where that goes now.
    maps.conclude(globals, policy, &work.lookup, &choice, now.seconds());
    true
}

/// The flow loses its leg and is as it was before its first request: the next one opens another.
#[inline(always)]
pub(super) fn unjoin<M: Maps>(maps: &M, flow: &mut Flow) {
    if !joined::head_in_stash(flow) {
        end::drop_stash(maps, flow);
    }
    end::leave_leg(maps, flow);
    end::release_leg(maps, flow);
    flow.state = crate::layout::FLOW_UNBOUND;
    join::spliced(flow);
}
