//! Bodies: following them through the segments, to where the next head begins.
//!
//! The same for both directions. A cursor is a sequence number; everything before it is understood. Within data of known
//! length it runs ahead of what has come, within a chunk header it stands on the first byte that has not.

use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::http::{ChunkState, Scanned};
use crate::layout::{CHUNK_BYTES, Cursor};
use crate::net::{Frame, Seq};
use crate::work::Work;

/// Sequence numbers that a cursor may run ahead; what is more waits in `left`.
pub(super) const STRIDE: u64 = 1 << 29;
/// How near the end of a stride a segment has to come for the next one to be taken.
const NEAR: u32 = 1 << 28;
/// Chunks in one segment that are followed: of 64 KiB, those that a server writes 512 bytes at a time.
const CHUNKS: u32 = 128;
/// Bytes in which a chunk header is looked for first.
const CHUNK_GUESS: u32 = 16;

/// Sets the cursor behind `length` bytes from `start` on.
#[inline(always)]
pub(super) fn known(cursor: &mut Cursor, start: Seq, length: u64) {
    let near = length.min(STRIDE);
    cursor.next = start.plus(near as u32);
    cursor.left = length - near;
    cursor.chunked = 0;
}

/// Sets the cursor on the first chunk header, at `start`.
#[inline(always)]
pub(super) fn chunked(cursor: &mut Cursor, start: Seq) {
    cursor.next = start;
    cursor.left = 0;
    cursor.chunked = 1;
    cursor.chunk = ChunkState::START;
}

/// Whether a segment that ends there is near the end of a stride that is not the last.
#[inline(always)]
pub(super) fn is_near(cursor: &Cursor, end: Seq) -> bool {
    cursor.left != 0 && end.plus(NEAR).after(cursor.next)
}

/// Moves the cursor on through data that is longer than sequence numbers can tell apart.
#[inline(always)]
pub(super) fn advance(cursor: &mut Cursor, end: Seq) {
    if is_near(cursor, end) {
        let step = cursor.left.min(STRIDE);
        cursor.next = cursor.next.plus(step as u32);
        cursor.left -= step;
    }
}

/// The part of a body that is followed. It lies in the scratch memory, because below it is the longest chain of calls.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Stretch {
    /// How far it is understood.
    cursor: Cursor,
    /// Where the segment's payload begins.
    from: Seq,
    until: Seq,
    /// A [`Scanned`].
    outcome: u32,
}

/// The chunks of a segment.
struct Chunks<'a, M: Maps, F: Frame> {
    maps: &'a M,
    frame: &'a mut F,
    work: &'a mut Work,
}

/// Follows chunk headers through the segment at hand, whose payload begins at `from`, up to `until`.
///
/// Complete: the body has ended, and the next head begins at the cursor. Incomplete: it goes on; a cursor before `until` says
/// that there are more chunks than are followed at once. Anything else is the reason why it is not followed any further.
#[inline(always)]
pub fn follow<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    work: &mut Work,
    cursor: &mut Cursor,
    from: Seq,
    until: Seq,
) -> Scanned {
    work.stretch = Stretch { cursor: *cursor, from, until, outcome: Scanned::Incomplete as u32 };
    M::Cpu::repeat::<_, OneChunk>(&mut Chunks { maps, frame, work }, CHUNKS);
    *cursor = work.stretch.cursor;
    Scanned::from_number(work.stretch.outcome)
}

struct OneChunk;
impl<M: Maps, F: Frame> LoopStep<Chunks<'_, M, F>> for OneChunk {
    #[inline(always)]
    fn step(chunks: &mut Chunks<'_, M, F>) -> bool {
        let work = &mut *chunks.work;
        let Stretch { cursor, from, until, .. } = &mut work.stretch;
        let (from, until, next) = (*from, *until, cursor.next);
        if cursor.left != 0 || !until.after(next) || from.after(next) {
            return false;
        }
        let guess = if cursor.chunk.spent == 0 { CHUNK_GUESS } else { CHUNK_BYTES as u32 };
        let take = until.since(next).min(guess);
        let at = work.segment.payload_at() + next.since(from);
        if !chunks.frame.load(at, take, &mut work.buffer, 0) {
            work.stretch.outcome = Scanned::BadChunk as u32;
            return false;
        }
        work.chunk.state = cursor.chunk;
        let scanned = chunks.maps.scan_chunk(&mut work.chunk, &work.buffer, 0, take);
        cursor.chunk = work.chunk.state;
        if scanned as u32 == Scanned::Incomplete as u32 {
            cursor.next = next.plus(take);
            return true;
        }
        if scanned as u32 != Scanned::Complete as u32 {
            work.stretch.outcome = scanned as u32;
            return false;
        }
        let data = next.plus(work.chunk.at);
        if cursor.chunk.size == 0 {
            cursor.next = data;
            cursor.chunked = 0;
            work.stretch.outcome = Scanned::Complete as u32;
            return false;
        }
        let size = u64::from(cursor.chunk.size);
        let near = size.min(STRIDE);
        cursor.next = data.plus(near as u32);
        cursor.left = size - near;
        true
    }
}
