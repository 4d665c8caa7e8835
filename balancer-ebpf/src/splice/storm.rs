//! Two ends that acknowledge each other for ever (RFC 9293, section 3.10.7.4: whoever is told a wrong number answers with the right
//! one). A director whose differences were wrong would be the cause, and each end would find the other one mad.
//!
//! Nobody else would end it, so it is ended here: of acknowledgements that say nothing, one after the other without a pause and
//! without a byte of data in between, only so many go on.

use super::{Now, has_leg};
use crate::layout::{FLOW_OPENING, Flow, LEG_REUSED};
use crate::net::{FIN, Segment, Seq};

/// Acknowledgements in a row that say nothing, at most. A client that misses one segment of a whole window says so for each of
/// the others, without need to be heard so often.
pub(super) const MOST: u32 = 4096;
/// Milliseconds between two segments that make a pause: no storm, but two ends that ask each other whether they are there.
const PAUSE: u64 = 100;

/// Takes a client's segment into account, before which the flow was seen at millisecond `seen` and acknowledged up to `acked`:
/// whether it is one too many. The flow counts in [`Flow::tries`], which it needs for nothing else while it is joined.
#[inline(always)]
pub(super) fn is_storm(segment: &Segment, flow: &mut Flow, acked: Seq, seen: u64, now: Now) -> bool {
    if !has_leg(flow) || flow.state == FLOW_OPENING || flow.flags & LEG_REUSED != 0 {
        return false;
    }
    let says = segment.payload != 0 || segment.has(FIN) || flow.acked != acked;
    if says || now.ms.saturating_sub(seen) >= PAUSE {
        flow.tries = 0;
        return false;
    }
    flow.tries = (flow.tries + 1).min(MOST + 1);
    flow.tries > MOST
}

/// Data of the backend goes to the client, who will have reason to acknowledge.
#[inline(always)]
pub(super) fn is_over(flow: &mut Flow) {
    flow.tries = 0;
}
