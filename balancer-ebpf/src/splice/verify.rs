//! What is looked at of every segment of a flow before it is dealt with: its timestamp, and whether it came as it was sent. A step of its
//! own, because those behind it have the stack full.

use super::{backend, client};
use crate::host::Maps;
use crate::layout::Flow;
use crate::net::{Frame, is_bare_sound, read_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// Verifies a segment of a flow, or of its leg. An error is what becomes of it.
#[inline(always)]
pub fn verify<M: Maps, F: Frame>(
    _: &M,
    frame: &mut F,
    work: &mut Work,
    flow: &Flow,
    of_leg: bool,
) -> Result<(), Verdict> {
    if !read_timestamp::<M::Cpu, F>(frame, &mut work.segment, &mut work.options) {
        return Err(Verdict::Unwritable);
    }
    let acted_on = if of_leg { backend::acted_on(work, flow) } else { client::acted_on(work, flow) };
    let sound = !acted_on || is_bare_sound(frame, &work.segment) || frame.is_sound(work);
    if sound { Ok(()) } else { Err(Verdict::BadChecksum) }
}
