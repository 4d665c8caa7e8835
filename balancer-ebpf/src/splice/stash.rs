//! The stash of a flow: what waits in it for a leg.

use super::{Next, Step, request};
use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::http::Scanned;
use crate::layout::{BUFFER_BYTES, Flow, Globals, NONE, STASH_HEAD, STASH_HELD, STASH_OWNED, STASH_RESPONSE, Stash};
use crate::net::{Frame, Seq};
use crate::verdict::Verdict;
use crate::work::Work;

/// Each flow first asks for a stash of its own among so many. They are used again and again, and so are in the cache: one that comes after all
/// the others is not, and to write a request into it takes a read from memory for each of its lines.
const WARM: u32 = 64;
/// Stashes looked at for a free one behind that.
const PROBES: u32 = 16;
/// From one stash that is looked at to the next: so far that those which are taken for long, and lie side by side, are not all in the
/// way of one search. A prime, and so coprime to their number, which is smaller.
const LEAP: u32 = 2_654_435_761;

/// How many of the stashes a request may have that is there as a whole, and the response to it: any.
#[inline(always)]
pub(super) fn for_whole(globals: &Globals) -> u32 {
    globals.stashes
}

/// The same for a request of which a part is there. Whoever sends a head byte by byte decides how long its stash is taken, and may
/// be many: what is left is out of their reach.
#[inline(always)]
pub(super) fn for_parts(globals: &Globals) -> u32 {
    globals.stashes / 2
}

/// More of a request whose leg is being opened: its body, as far as there is room.
#[inline(always)]
pub(super) fn append_body<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, flow: &mut Flow) -> Step {
    let segment = &work.segment;
    let (from, room) = (segment.seq, (BUFFER_BYTES as u32).saturating_sub(flow.stash_len));
    let take = segment.payload.min(room);
    if flow.request.next.before(from) {
        return (Next::Done, Verdict::BeyondHead);
    }
    if take == 0 {
        return (Next::Done, Verdict::BeyondStash);
    }
    if flow.request.chunked != 0 {
        let outcome = frame.follow(maps, work, &mut flow.request, from, from.plus(take));
        if !matches!(outcome, Scanned::Complete | Scanned::Incomplete) {
            request::unframe(maps, flow, outcome);
        }
    }
    let take = take.min(flow.request.next.since(from));
    if take == 0 {
        return (Next::Done, Verdict::BeyondHead);
    }
    let segment = &work.segment;
    let Some(mut stash) = maps.stash(flow.stash) else { return (Next::Done, Verdict::NoConfig) };
    if !frame.load(segment.payload_at(), take, &mut stash.data, flow.stash_len) {
        return (Next::Done, Verdict::Unwritable);
    }
    flow.stash_len += take;
    (Next::Done, Verdict::Stashed)
}

struct Claim<'a, M: Maps> {
    maps: &'a M,
    owner: u64,
    among: u32,
    index: u32,
}

struct Probe;

impl<M: Maps> LoopStep<Claim<'_, M>> for Probe {
    #[inline(always)]
    fn step(claim: &mut Claim<'_, M>) -> bool {
        let Some(hands) = claim.maps.hands() else { return false };
        let hand = M::Cpu::fetch_add(&hands.stash, 1) as u32;
        let Some(index) = hand.wrapping_mul(LEAP).checked_rem(claim.among) else { return false };
        let Some(stash) = claim.maps.stash(index) else { return true };
        if M::Cpu::compare_exchange(&stash.owner, 0, claim.owner) {
            claim.index = index;
            return false;
        }
        true
    }
}

/// Finds a free stash among the first `among` and takes it. [`NONE`] if there is none.
#[inline(always)]
pub fn claim_stash<M: Maps>(maps: &M, owner: u64, among: u32) -> u32 {
    let warm = owner as u32 & (WARM - 1);
    if warm < among
        && let Some(stash) = maps.stash(warm)
        && M::Cpu::compare_exchange(&stash.owner, 0, owner)
    {
        return warm;
    }
    let mut claim = Claim { maps, owner, among, index: NONE };
    M::Cpu::repeat::<_, Probe>(&mut claim, PROBES);
    claim.index
}

/// Takes a stash, one of the first `among`, and puts `len` bytes of the frame from `at` on into it, the first of which has the number
/// `first`.
#[inline(always)]
pub(super) fn stash<M: Maps, F: Frame>(
    maps: &M,
    frame: &mut F,
    among: u32,
    flow: &mut Flow,
    first: Seq,
    at: u32,
    len: u32,
) -> bool {
    if flow.stash == NONE {
        flow.stash = maps.claim_stash(u64::from(flow.slot) + 1, among);
        if flow.stash == NONE {
            return false;
        }
    }
    let Some(mut stash) = maps.stash(flow.stash) else { return false };
    flow.stash_first = first;
    flow.flags &= !(STASH_OWNED | STASH_HEAD | STASH_RESPONSE | STASH_HELD);
    let stash: &mut Stash = &mut stash;
    frame.load(at, len, &mut stash.data, 0)
}
