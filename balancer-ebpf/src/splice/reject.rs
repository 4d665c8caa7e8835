//! Answering in the backend's place: a 503, and the end of the connection, where no backend may have the request; a 404 or a 400 where
//! no rule of the listener leads it to a service.
//!
//! The answer needs no leg. It is made anew whenever it is wanted again, so nothing keeps it; what the client still sends of its
//! request is acknowledged and thrown away, since a RST could take the answer from it before it was read (RFC 9112, section 9.6).

use super::{Next, Now, Step, alone, choose, end, has_leg, outcome, pool, request};
use crate::decide::MISSING_GONE;
use crate::host::Maps;
use crate::layout::{BACKEND_FIN, CLIENT_FIN, Flow, NONE, PIN_TRACED, REJECTED, REJECTED_UNMATCHED};
use crate::net::{ACK, FIN, Frame, PSH};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// The answers: head, and body.
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nContent-Length: 42\r\n\
Retry-After: 1\r\nConnection: close\r\n\r\nno server is there for this request now.\r\n";
const UNMATCHED: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 42\r\n\
Connection: close\r\n\r\nno service is there to take this request\r\n";
const AMBIGUOUS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 42\r\n\
Connection: close\r\n\r\none could read it in more ways than one.\r\n";
/// Bytes of a body, which all have alike. A HEAD gets none.
const BODY: u32 = 42;
const WORDS: usize = UNAVAILABLE.len().div_ceil(8);

/// An answer as words of a buffer.
const fn words(answer: &[u8]) -> [u64; WORDS] {
    let mut words = [0u64; WORDS];
    let mut index = 0;
    while index < answer.len() {
        words[index / 8] |= (answer[index] as u64) << ((index % 8) * 8);
        index += 1;
    }
    words
}

/// The answers: by the flags of their flow.
static TEXTS: [[u64; WORDS]; 4] = [words(UNAVAILABLE), words(UNMATCHED), words(AMBIGUOUS), words(UNAVAILABLE)];
const LENGTHS: [u32; 4] =
    [UNAVAILABLE.len() as u32, UNMATCHED.len() as u32, AMBIGUOUS.len() as u32, UNAVAILABLE.len() as u32];

/// Which answer a flow has.
#[inline(always)]
const fn which(flow: &Flow) -> usize {
    ((flow.flags / REJECTED_UNMATCHED) & 3) as usize
}

/// Carries out [`Next::Reject`], where packets can grow: the first time for the request at hand, and again for whatever the client
/// still sends.
#[inline(always)]
pub fn reject<M: Maps>(maps: &M, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    if flow.flags & REJECTED == 0 {
        refused(maps, work, flow, now);
        begin(maps, work, flow);
    }
    let verdict = if which(flow) == 0 { Verdict::Rejected } else { Verdict::NoService };
    emit(work, flow, now, verdict)
}

/// What is to be known of a request that no backend may have.
#[inline(always)]
fn refused<M: Maps>(maps: &M, work: &mut Work, flow: &Flow, now: Now) {
    if work.choice.missing == MISSING_GONE
        && let Some(globals) = maps.globals()
    {
        // Its user is told once, and begins anew then.
        maps.forget(globals, &work.lookup.hash, &work.lookup.shelf);
    }
    choose::count(maps, work);
    if work.choice.missing != 0 {
        maps.note(Note::VersionMissing.counter());
        outcome::missing(maps, work.lookup.service, work.search.missing(work.choice.missing));
    }
    if work.lookup.pin.flags & PIN_TRACED != 0 {
        maps.trace(work, flow, NONE, NONE, now);
    }
}

/// The flow has its answer, and ends with it.
#[inline(always)]
fn begin<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) {
    let head = flow.heads & 1 != 0 && flow.outstanding != 0 || request::asks_for_head(work) && flow.outstanding == 0;
    flow.flags |= work.lookup.refused;
    let all = LENGTHS[which(flow)];
    let len = if head { all - BODY } else { all };
    let limit = pool::limit_of(maps, flow);
    let parked = limit != 0 && pool::parkable(flow) && maps.park(flow, limit);
    // What waits in the stash was acknowledged or not; now it is all the same.
    let kept = flow.stash_first.plus(flow.stash_len);
    if flow.stash_len != 0 {
        flow.received = flow.received.max(kept);
    }
    if work.segment.source == flow.key.client && work.segment.payload != 0 {
        flow.received = flow.received.max(work.segment.end());
    }
    if work.segment.source == flow.key.client && work.segment.has(FIN) {
        flow.flags |= CLIENT_FIN;
    }
    end::close(maps, flow);
    if !parked && has_leg(flow) {
        // The first thing that its backend says is answered with a RST.
        end::release_leg(maps, flow);
    }
    flow.flags |= REJECTED | BACKEND_FIN;
    flow.response.left = u64::from(len);
    flow.sent = flow.sent.plus(len + 1);
}

/// A segment of a client that was answered so.
#[inline(always)]
pub(super) fn again<F: Frame>(frame: &F, work: &mut Work, flow: &mut Flow, now: Now) -> Step {
    let segment = &work.segment;
    let (ends, speaks) = (segment.has(FIN), segment.payload != 0);
    let done = flow.acked == flow.sent;
    if !ends && !speaks {
        if done && flow.flags & CLIENT_FIN != 0 {
            // Each end has said its last.
            flow.seen = 0;
            return (Next::Done, Verdict::FlowEnded);
        }
        return (Next::Done, Verdict::NoLeg);
    }
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    if !segment.seq.after(flow.received) {
        flow.received = flow.received.max(segment.end());
        if ends {
            flow.flags |= CLIENT_FIN;
        }
    }
    if !done {
        return (Next::Reject, Verdict::Rejected);
    }
    let ack = acknowledged(flow);
    alone::to_client(work, flow, now, ACK, ack);
    (Next::Draft, Verdict::RejectedAck)
}

/// What the client is told to have arrived.
#[inline(always)]
fn acknowledged(flow: &Flow) -> crate::net::Seq {
    flow.received.plus((flow.flags & CLIENT_FIN != 0) as u32)
}

/// The answer goes out, from its first byte.
#[inline(always)]
fn emit(work: &mut Work, flow: &mut Flow, now: Now, verdict: Verdict) -> Step {
    let len = flow.response.left as u32;
    for (to, from) in work.buffer.words.iter_mut().zip(TEXTS[which(flow)].iter()) {
        *to = from.to_le();
    }
    let ack = acknowledged(flow);
    alone::to_client(work, flow, now, ACK | PSH, ack);
    work.draft.seq = flow.sent.minus(len + 1);
    let mss = flow.client_mss.saturating_sub(12).max(512);
    work.emission.pos = 0;
    work.emission.left = len;
    work.emission.mss = mss;
    work.emission.from_stash = 0;
    work.emission.fin = 1;
    work.emission.begin();
    (Next::Emit, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::REJECTED_AMBIGUOUS;

    #[test]
    fn the_answers_are_what_they_say() {
        for (flags, answer, code) in
            [(0, UNAVAILABLE, 503), (REJECTED_UNMATCHED, UNMATCHED, 404), (REJECTED_AMBIGUOUS, AMBIGUOUS, 400)]
        {
            let flow = Flow { flags: flags | REJECTED | BACKEND_FIN, ..Flow::default() };
            let (_, body) = std::str::from_utf8(answer).unwrap().split_once("\r\n\r\n").unwrap();
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut response = httparse::Response::new(&mut headers);
            assert!(response.parse(answer).unwrap().is_complete());
            assert_eq!(response.code, Some(code));
            let length = response.headers.iter().find(|header| header.name == "Content-Length").unwrap();
            assert_eq!(std::str::from_utf8(length.value).unwrap(), body.len().to_string());
            assert_eq!(body.len() as u32, BODY);
            let bytes = TEXTS[which(&flow)].iter().flat_map(|word| word.to_le_bytes());
            assert_eq!(bytes.take(LENGTHS[which(&flow)] as usize).collect::<Vec<_>>(), answer);
        }
    }
}
