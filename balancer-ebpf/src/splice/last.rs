//! The last answer: how a connection ends whose requests cannot be followed any further.
//!
//! What follows a head that two servers might read differently may be anybody's request, as behind a proxy that keeps its
//! connections for all of its users; and it would go where the connection is, whatever its session. So the answer to that head
//! is the last one: the director's FIN goes to the client with its last byte, and the leg is reset when the client has all of it
//! (`on_unframed = "close"`). A client that is told so in time has nothing under way, and connects again.

use super::{Next, Now, Step, alone, end, open, policy_of};
use crate::host::Maps;
use crate::layout::{
    ANSWERED_LAST, BACKEND_FIN, CLIENT_FIN, FLOW_SPLICED, Flow, POLICY_KEEP_UNFRAMED, REQUESTS_UNFRAMED,
    RESPONSES_UNFRAMED, TUNNEL,
};
use crate::net::{ACK, FIN, Frame, Seq};
use crate::verdict::Verdict;
use crate::work::Work;

/// Whether the backend's segment that ends at `until`, and goes to the client, is the end of the last answer.
#[inline(always)]
pub(super) fn ends_with<M: Maps>(maps: &M, work: &Work, flow: &mut Flow, until: Seq) -> bool {
    const ALL: u32 = REQUESTS_UNFRAMED | RESPONSES_UNFRAMED | TUNNEL | BACKEND_FIN | CLIENT_FIN | ANSWERED_LAST;
    if work.segment.payload == 0 {
        return false;
    }
    if flow.flags & ANSWERED_LAST != 0 {
        return until == flow.sent.minus(1);
    }
    let last = flow.flags & ALL == REQUESTS_UNFRAMED
        && flow.state == FLOW_SPLICED
        && flow.outstanding == 0
        && flow.sent == flow.response.next
        && until == flow.sent;
    if !last || keeps(maps, flow) {
        return false;
    }
    flow.flags |= ANSWERED_LAST;
    flow.sent = flow.sent.plus(1);
    true
}

/// Whether the service keeps such connections.
#[inline(always)]
fn keeps<M: Maps>(maps: &M, flow: &Flow) -> bool {
    match policy_of(maps, flow) {
        Some(policy) => policy.flags & POLICY_KEEP_UNFRAMED != 0,
        None => true,
    }
}

/// A backend's segment, behind the last answer or with an end of its own: nobody waits for it any more.
#[inline(always)]
pub(super) fn beyond(work: &Work, flow: &Flow, from: Seq) -> bool {
    flow.flags & ANSWERED_LAST != 0
        && (work.segment.has(FIN) || from.plus(work.segment.payload).after(flow.sent.minus(1)))
}

/// A client's segment behind the director's FIN. `None` while it has not all of the answer: the leg still needs to hear of it.
#[inline(always)]
pub(super) fn client_step<M: Maps, F: Frame>(
    maps: &M,
    frame: &F,
    work: &mut Work,
    flow: &mut Flow,
    now: Now,
) -> Option<Step> {
    let segment = &work.segment;
    let (fin, ack) = (segment.has(FIN), segment.end().plus(1));
    let speaks = segment.payload != 0 && segment.end().after(flow.received);
    if !speaks && flow.acked != flow.sent {
        return None;
    }
    if !frame.can_grow() {
        return Some((Next::Done, Verdict::NeedsGrowth));
    }
    if speaks {
        return Some(open::give_up(maps, work, flow, now, Verdict::UnframedMoved));
    }
    open::farewell(work, flow, flow.received);
    end::close(maps, flow);
    end::release_leg(maps, flow);
    flow.flags |= BACKEND_FIN;
    if fin {
        flow.flags |= CLIENT_FIN;
        alone::to_client(work, flow, now, ACK, ack);
        return Some((Next::FarewellAndDraft, Verdict::UnframedClosed));
    }
    work.draft = work.farewell;
    work.egress = work.farewell_egress;
    Some((Next::Draft, Verdict::UnframedClosed))
}
