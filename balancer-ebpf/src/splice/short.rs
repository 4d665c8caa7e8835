//! The short way: what most packets of a connection are, acknowledgements and bytes in the middle of a body, goes from one side to the
//! other without a question that one of the steps would have to answer.
//!
//! Whatever is the least bit special goes the long way, and finds flow and frame as they were. A packet that goes the short way comes out as
//! it would from the long one, and leaves the same flow behind: a test sends thousands both ways (`tests/short.rs`).

use super::{Now, backend, body, client, has_leg, join, send, storm};
use crate::host::Maps;
use crate::layout::{
    ANSWERED_LAST, BACKEND_FIN, CLIENT_FIN, FLOW_SPLICED, Flow, LEG_REUSED, NONE, REQUESTS_UNFRAMED, RESPONSE_BODY,
    RESPONSES_UNFRAMED, TUNNEL,
};
use crate::net::{ACK, FIN, Frame, RST, SYN, Seq, is_bare_sound, read_lone_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// What makes every packet of a flow special.
const SPECIAL: u32 = LEG_REUSED | ANSWERED_LAST | CLIENT_FIN | BACKEND_FIN;

/// Whether a segment certainly goes the long way, because a head begins with it: the short one need not be asked.
#[inline(always)]
pub(super) fn is_long(work: &Work, flow: &Flow, of_leg: bool) -> bool {
    let segment = &work.segment;
    let begins = if of_leg {
        segment.seq.plus(flow.leg.to_client) == flow.response.next && flow.flags & RESPONSES_UNFRAMED == 0
    } else {
        segment.seq == flow.request.next && flow.flags & REQUESTS_UNFRAMED == 0
    };
    begins && segment.payload != 0
}

/// The verdict, if the segment goes the short way; its flow is locked.
#[inline(always)]
pub fn short<M: Maps, F: Frame>(
    _: &M,
    frame: &mut F,
    work: &mut Work,
    flow: &mut Flow,
    of_leg: bool,
    now: Now,
) -> Option<Verdict> {
    let plain = work.segment.flags & u32::from(FIN | SYN | RST | ACK) == u32::from(ACK)
        && flow.state == FLOW_SPLICED
        && has_leg(flow)
        && flow.stash == NONE
        && flow.flags & SPECIAL == 0;
    if !plain || !read_lone_timestamp(frame, &mut work.segment) {
        return None;
    }
    if of_leg { of_the_leg(frame, work, flow, now) } else { of_the_client(frame, work, flow, now) }
}

#[inline(always)]
fn of_the_client<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Option<Verdict> {
    let segment = &work.segment;
    if client::is_ahead(segment, flow) {
        return None;
    }
    if segment.payload == 0 {
        if segment.ack.before(flow.leg.begins) || !is_bare_sound(frame, segment) {
            return None;
        }
    } else {
        let framed = flow.flags & REQUESTS_UNFRAMED == 0;
        let asks = segment.seq == flow.request_first || segment.seq.before(flow.leg.first);
        if client::acted_on(work, flow) || framed && (asks || body::is_near(&flow.request, segment.end())) {
            return None;
        }
    }
    if client::take(segment, flow, now) {
        return Some(Verdict::AckStorm);
    }
    if segment.payload != 0 {
        flow.received = flow.received.max(segment.end());
        join::keep_up(flow);
    }
    Some(if send::plain_to_leg(frame, work, flow) { Verdict::ToBackend } else { Verdict::Unwritable })
}

#[inline(always)]
fn of_the_leg<F: Frame>(frame: &mut F, work: &mut Work, flow: &mut Flow, now: Now) -> Option<Verdict> {
    let segment = &work.segment;
    let acked = segment.ack.minus(flow.leg.to_leg);
    let from = segment.seq.plus(flow.leg.to_client);
    if !backend::is_legs(work, flow) || !backend::is_acked(acked, flow) || backend::is_ahead(from, flow) {
        return None;
    }
    let until = from.plus(segment.payload);
    if segment.payload == 0 {
        if !is_bare_sound(frame, segment) {
            return None;
        }
    } else {
        let framed = flow.flags & RESPONSES_UNFRAMED == 0;
        // The answer behind which nothing is followed may end with it.
        let last = flow.flags & (REQUESTS_UNFRAMED | RESPONSES_UNFRAMED | TUNNEL) == REQUESTS_UNFRAMED;
        let special = last || from.before(flow.leg.begins) || framed && body::is_near(&flow.response, until);
        if special || backend::acted_on(work, flow) {
            return None;
        }
    }
    let sent = flow.sent.max(until);
    let completes = flow.flags & RESPONSE_BODY != 0 && flow.outstanding != 0 && !sent.before(flow.response.next);
    if completes && flow.response.left == 0 {
        return None;
    }
    flow.seen = now.ms;
    flow.upstream_acked = flow.upstream_acked.max(acked);
    if segment.payload != 0 {
        storm::is_over(flow);
        flow.sent = sent;
        join::keep_up(flow);
    }
    if segment.timestamp_at != 0 {
        flow.leg.tsval = segment.tsval;
        flow.clock = Seq(segment.tsval.wrapping_add(flow.leg.clock_to_client)).max(Seq(flow.clock)).0;
    }
    Some(if send::plain_to_client(frame, work, flow) { Verdict::ToClient } else { Verdict::Unwritable })
}
