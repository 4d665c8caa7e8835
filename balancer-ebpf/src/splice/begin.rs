//! How flows begin: a SYN is answered without any state; a cookie that comes back becomes a flow.

use super::{Next, Now, Step, body, seek};
use crate::cookie::{self, Offer, Proof};
use crate::host::{Cpu, Entered, Maps};
use crate::layout::{
    CLIENT_SACK, CLIENT_TIMESTAMPS, FLOW_FREE, FLOW_UNBOUND, Flow, FlowKey, Globals, Listener, ListenerKey, NONE,
    OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS,
};
use crate::net::{ACK, Egress, Frame, Hop, NO_SCALE, RST, SYN, Seq, read_options};
use crate::verdict::Verdict;
use crate::work::Work;

/// The window of a SYN-ACK: not scaled (RFC 7323, section 2.2). At least two segments, or Linux halves its own; no more
/// than a stash holds. Ten segments of Ethernet: what clients send at once (RFC 6928).
pub(super) const FIRST_WINDOW: u32 = 14_600;

/// Slots looked at for a free one. The hand moves on with every one, so a full neighbourhood is behind it next time.
const PROBES: u32 = 16;

/// RSTs to segments of unknown flows, per second: enough to free clients after a restart, too few to be worth provoking.
const RESETS_PER_SECOND: u64 = 1000;

/// The listener that a segment is for.
#[inline(always)]
pub(super) fn listener<'a, M: Maps>(maps: &'a M, work: &Work) -> Option<&'a Listener> {
    maps.listener(&ListenerKey { address: work.segment.destination, port: work.segment.destination_port, zero: [0; 2] })
}

/// The way back to where a frame came from.
#[inline(always)]
fn way_back<F: Frame>(frame: &mut F, egress: Egress) -> Hop {
    let mut macs = [0; 12];
    if let Some(h) = frame.front() {
        macs = [h[6], h[7], h[8], h[9], h[10], h[11], h[0], h[1], h[2], h[3], h[4], h[5]];
    }
    Hop { egress, macs }
}

/// Turns the draft around: an answer to the segment at hand.
#[inline(always)]
pub(super) fn answer<F: Frame>(frame: &mut F, work: &mut Work) {
    let egress = frame.way_out();
    let hop = way_back(frame, egress);
    let segment = &work.segment;
    let draft = &mut work.draft;
    draft.answering(segment, hop.macs);
    work.egress = hop.egress;
}

/// Answers a SYN with a cookie.
#[inline(always)]
pub(super) fn syn<M: Maps, F: Frame>(
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    listener: &Listener,
    now: Now,
) -> Step {
    if !read_options::<M::Cpu, F>(frame, work.segment.options, &mut work.options) {
        return (Next::Done, Verdict::Unwritable);
    }
    let timestamps = work.options.timestamp_at != 0 && listener.offers & OFFER_TIMESTAMPS != 0;
    let sack = work.options.sack_permitted != 0 && listener.offers & OFFER_SACK != 0;
    let scaled = work.options.scale != NO_SCALE && listener.offers & OFFER_SCALE != 0;
    let offer = Offer {
        mss: if work.options.mss == 0 { work.segment.source.default_mss() } else { work.options.mss },
        scale: if scaled { work.options.scale } else { NO_SCALE },
        sack,
    };
    let isn = cookie::make(&mut work.secret, &globals.cookie_key, &work.key, work.segment.seq, offer, now.ms);
    answer(frame, work);
    let draft = &mut work.draft;
    draft.seq = isn;
    draft.ack = work.segment.seq.plus(1);
    draft.flags = u32::from(SYN | ACK);
    draft.window = FIRST_WINDOW;
    draft.timestamps = u32::from(timestamps);
    draft.tsval = now.clock();
    draft.tsecr = work.options.tsval;
    draft.mss = listener.mss;
    draft.sack = u32::from(sack);
    draft.scale = if scaled { listener.scale } else { NO_SCALE };
    (Next::Draft, Verdict::SynCookie)
}

/// A segment that belongs to no flow: the slot of the flow that it begins, or what else is to be done with it.
#[inline(always)]
pub(super) fn begin<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    globals: &Globals,
    listener: &Listener,
    now: Now,
) -> Result<u32, Step> {
    let segment = &work.segment;
    if !segment.has(ACK) || segment.has(RST) {
        return Err((Next::Done, Verdict::Unknown));
    }
    let offer = match maps.check_cookie(work, globals, now) {
        Proof::First(offer) => offer,
        Proof::Later => return Err((Next::Done, Verdict::EarlySegment)),
        Proof::None => return Err(unknown(maps, frame, work, now)),
    };
    let slot = maps.claim_slot(globals, now.ms);
    if slot == NONE {
        return Err((Next::Done, Verdict::FlowsFull));
    }
    {
        let Some(mut flow) = maps.flow(slot) else { return Err((Next::Done, Verdict::Busy)) };
        first(&mut flow, frame, work, listener, offer, now);
        flow.slot = slot;
    }
    match maps.enter(&work.key, slot) {
        Entered::Done => {
            seek::leave_hint(maps, globals, &work.key, slot);
            Ok(slot)
        }
        other => {
            if let Some(mut flow) = maps.flow(slot) {
                flow.state = FLOW_FREE;
            }
            // Another CPU had the flow's second segment in its hands at the same time, and won.
            match (other, maps.flow_slot(&work.key)) {
                (Entered::Exists, Some(winner)) => Ok(winner),
                _ => Err((Next::Done, Verdict::MapError)),
            }
        }
    }
}

/// Fills a slot with a flow that has just begun.
#[inline(always)]
fn first<F: Frame>(flow: &mut Flow, frame: &mut F, work: &Work, listener: &Listener, offer: Offer, now: Now) {
    let segment = &work.segment;
    *flow = Flow::default();
    flow.key = work.key;
    flow.state = FLOW_UNBOUND;
    flow.service = listener.service;
    flow.seen = now.ms;
    let egress = frame.ingress();
    flow.client_hop = way_back(frame, egress);
    flow.client_scale = offer.scale;
    flow.client_mss = offer.mss;
    flow.our_scale = if offer.scale == NO_SCALE { 0 } else { listener.scale };
    if segment.timestamp_at != 0 {
        flow.flags |= CLIENT_TIMESTAMPS;
    }
    if offer.sack {
        flow.flags |= CLIENT_SACK;
    }
    body::known(&mut flow.request, segment.seq, 0);
    flow.request_first = segment.seq;
    flow.received = segment.seq;
    flow.upstream_acked = segment.seq;
    flow.sent = segment.ack;
    flow.acked = segment.ack;
    body::known(&mut flow.response, segment.ack, 0);
    flow.window = segment.window;
    flow.tsval = segment.tsval;
    // The CPU that made the SYN-ACK may have been a tick ahead of this one, and its client has seen that time.
    let said = Seq(segment.tsecr);
    let ahead = said.since(Seq(now.clock()));
    flow.clock = if ahead <= cookie::AHEAD as u32 { said.0 } else { now.clock() };
    flow.stash = NONE;
    flow.leg.backend = NONE;
    flow.leg.version = NONE;
}

/// Finds a slot and takes it: free, or with a flow that has ended or been silent for long. [`NONE`] if there is none.
#[inline(always)]
pub fn claim_slot<M: Maps>(maps: &M, globals: &Globals, now: u64) -> u32 {
    let Some(hands) = maps.hands() else { return NONE };
    let mut search = Claim { maps, globals, hand: &hands.flow, now, slot: NONE };
    M::Cpu::repeat::<_, Probe>(&mut search, PROBES);
    search.slot
}

struct Claim<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    hand: &'a core::cell::Cell<u64>,
    now: u64,
    slot: u32,
}

struct Probe;
impl<M: Maps> crate::host::Step<Claim<'_, M>> for Probe {
    #[inline(always)]
    fn step(search: &mut Claim<'_, M>) -> bool {
        let hand = M::Cpu::fetch_add(search.hand, 1) as u32;
        let Some(slot) = hand.checked_rem(search.globals.flows) else { return false };
        let Some(mut flow) = search.maps.flow(slot) else { return true };
        if !super::end::collectable(&flow, search.globals, search.now) {
            return true;
        }
        super::end::collect(search.maps, &mut flow, slot);
        // Taken, but nobody's yet: seen now, so that no other CPU collects it before it is filled.
        flow.state = FLOW_UNBOUND;
        flow.seen = search.now;
        flow.key = FlowKey::default();
        flow.slot = slot;
        flow.stash = NONE;
        flow.leg.backend = NONE;
        search.slot = slot;
        false
    }
}

/// A segment that proves nothing, for instance of a flow that a reboot of the director lost: a RST frees its client.
#[inline(always)]
fn unknown<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, now: Now) -> Step {
    let Some(hands) = maps.hands() else { return (Next::Done, Verdict::NoConfig) };
    // The second in the high half, the RSTs sent in it in the low half.
    let budget = M::Cpu::load(&hands.reset_budget);
    let second = u64::from(now.seconds()) << 32;
    let fresh = budget & !0xffff_ffff != second;
    if !fresh && budget & 0xffff_ffff >= RESETS_PER_SECOND {
        return (Next::Done, Verdict::Unknown);
    }
    M::Cpu::store(&hands.reset_budget, if fresh { second | 1 } else { budget + 1 });
    answer(frame, work);
    // RFC 9293, section 3.10.7.1: a segment with ACK is answered with its own number, and nothing is acknowledged.
    work.draft.seq = work.segment.ack;
    work.draft.flags = u32::from(RST);
    (Next::Draft, Verdict::UnknownReset)
}
