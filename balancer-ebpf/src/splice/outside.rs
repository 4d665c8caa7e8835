//! Closing a flow from outside: not because of a packet, but because an operator's drain has come to its deadline.
//!
//! The daemon asks for it through the kernel, so that the flow ends as it would by itself: under its lock, with a RST to both
//! ends, and out of all counts.

use super::{Next, Now, has_leg};
use crate::host::Maps;
use crate::layout::{FLOW_OPENING, FLOW_SPLICED};
use crate::net::Frame;
use crate::verdict::Verdict;
use crate::work::Work;

/// Closes the flow that the work's request names. The frame is only the paper on which the two RSTs are written.
#[inline(always)]
pub fn close<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work) -> Verdict {
    let Some(globals) = maps.globals() else { return Verdict::NoConfig };
    let Some(mut flow) = maps.flow(work.close.slot) else { return Verdict::Busy };
    // It may have ended since, or its slot been given to another, or its next request have gone elsewhere.
    let meant = flow.key == work.close.key
        && matches!(flow.state, FLOW_OPENING | FLOW_SPLICED)
        && has_leg(&flow)
        && flow.service == work.close.service
        && flow.leg.version == work.close.version;
    if !meant {
        return Verdict::NotOurs;
    }
    // By the function that gives up as well, whose stack is free again when the packets are made.
    let (next, _) = frame.open_step(maps, work, globals, &mut flow, Now::at(maps.now()), Next::GiveUp);
    let verdict = frame.finish(maps, work, &mut flow, (next, Verdict::ClosedOutside));
    // The program is run by itself, and nobody carries its packet out: both leave as copies.
    if verdict as u32 == Verdict::ClosedOutside as u32 && !frame.send_copy(work.egress) {
        maps.note(crate::verdict::Note::CopyFailed.counter());
    }
    verdict
}
