//! Emission: segments made of a buffer.

use crate::host::{Cpu as _, Maps, Step as LoopStep};
use crate::layout::{Buffer, Flow, NONE};
use crate::net::{Crafted, Draft, Egress, FIN, Frame, Sum};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Segments that one emission makes at most: a full buffer in segments of 536 bytes.
const MOST_SEGMENTS: u32 = 32;

/// Bytes of a buffer on their way out as segments. The work's draft says everything else of them.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Emission {
    pub pos: u32,
    pub left: u32,
    pub mss: u32,
    /// 1: from the flow's stash; 0: from the work's buffer.
    pub from_stash: u32,
    /// 1: the last segment closes the client's direction.
    pub fin: u32,
    /// 1: the frame holds a segment that has not left yet.
    loaded: u32,
    failed: u32,
    zero: u32,
}

impl Emission {
    /// The stash's first `len` bytes, in segments of `mss` at most.
    #[inline(always)]
    pub(in crate::splice) fn of_stash(len: u32, mss: u32) -> Self {
        Self { left: len, mss, from_stash: 1, ..Self::default() }
    }

    /// The same of the work's buffer.
    #[inline(always)]
    pub(in crate::splice) fn of_buffer(len: u32, mss: u32) -> Self {
        Self { left: len, mss, ..Self::default() }
    }

    /// Nothing of it has left yet. Field by field, as all that is made where the stack is short.
    #[inline(always)]
    pub(in crate::splice) fn begin(&mut self) {
        self.loaded = 0;
        self.failed = 0;
        self.zero = 0;
    }
}

struct Emitting<'a, M: Maps, F: Frame> {
    maps: &'a M,
    frame: &'a mut F,
    draft: &'a mut Draft,
    crafted: &'a mut Crafted,
    emission: &'a mut Emission,
    summing: &'a mut Sum,
    buffer: &'a Buffer,
    egress: Egress,
}

struct OneSegment;
impl<M: Maps, F: Frame> LoopStep<Emitting<'_, M, F>> for OneSegment {
    #[inline(always)]
    fn step(out: &mut Emitting<'_, M, F>) -> bool {
        if out.emission.left == 0 {
            return false;
        }
        // The frame is one packet: what it holds leaves as a copy before it becomes the next segment.
        if out.emission.loaded != 0 && !out.frame.send_copy(out.egress) {
            out.maps.note(Note::CopyFailed.counter());
        }
        let len = out.emission.left.min(out.emission.mss);
        out.draft.payload = len;
        if out.emission.fin != 0 && out.emission.left == len {
            out.draft.flags |= u32::from(FIN);
        }
        out.draft.payload_sum = out.maps.sum(out.summing, out.buffer, out.emission.pos, len);
        out.maps.craft(out.draft, out.crafted);
        let payload = Some((out.buffer, out.emission.pos, len));
        if !out.frame.rebuild(out.crafted, payload) {
            out.emission.failed = 1;
            return false;
        }
        out.emission.loaded = 1;
        out.emission.pos += len;
        out.emission.left -= len;
        out.draft.seq = out.draft.seq.plus(len);
        out.emission.left != 0
    }
}

/// Makes segments of the emission: all but the last leave as copies, the last is the packet.
#[inline(always)]
pub(super) fn emit<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    flow: &Flow,
    verdict: Verdict,
) -> Verdict {
    let Work { draft, crafted, emission, sum: summing, buffer, egress, .. } = work;
    let guard;
    let buffer: &Buffer = if emission.from_stash != 0 {
        if flow.stash == NONE {
            return Verdict::NoConfig;
        }
        let Some(stash) = maps.stash(flow.stash) else { return Verdict::NoConfig };
        guard = stash;
        &guard.data
    } else {
        buffer
    };
    let mut out = Emitting { maps, frame, draft, crafted, emission, summing, buffer, egress: *egress };
    M::Cpu::repeat::<_, OneSegment>(&mut out, MOST_SEGMENTS);
    if emission.failed != 0 || emission.loaded == 0 {
        return Verdict::Unwritable;
    }
    verdict
}
