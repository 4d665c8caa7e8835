//! Legs that lie idle in their pool: what their backends still say, and what they are told.

use super::{Next, Now, Step, begin, send};
use crate::host::{Cpu, Maps};
use crate::layout::{CLIENT_TIMESTAMPS, Flow, LEG_DEAD, LEG_IDLE};
use crate::net::{ACK, FIN, Frame, RST, Seq, read_timestamp};
use crate::verdict::Verdict;
use crate::work::Work;

/// The window of the director's own acknowledgements to a backend that has nothing to send.
const IDLE_WINDOW: u32 = 0x7fff;

/// Drafts the director's own acknowledgement of everything on a leg that is about to be idle: the client's came with its FIN,
/// which stays here.
#[inline(always)]
pub(super) fn last_word(work: &mut Work, flow: &Flow) {
    let leg = &flow.leg;
    let draft = &mut work.farewell;
    draft.on_leg(leg);
    draft.seq = flow.request.next.plus(leg.to_leg);
    draft.ack = flow.sent.minus(leg.to_client);
    draft.flags = u32::from(ACK);
    draft.window = IDLE_WINDOW;
    draft.timestamps = u32::from(flow.flags & CLIENT_TIMESTAMPS != 0);
    draft.tsval = flow.tsval.wrapping_add(leg.clock_to_leg);
    draft.tsecr = leg.tsval;
    work.farewell_egress = leg.hop.egress;
}

/// A segment of a leg that no flow has: of an idle one, or of one that is no more.
#[inline(always)]
pub fn idle_step<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, slot: u32) -> Verdict {
    if !read_timestamp::<M::Cpu, F>(frame, &mut work.segment, &mut work.options) {
        return Verdict::Unwritable;
    }
    if !frame.is_sound(work) {
        return Verdict::BadChecksum;
    }
    let step = idle(maps, frame, work, slot);
    send::finish_stateless(frame, work, step)
}

#[inline(always)]
fn idle<M: Maps, F: Frame>(maps: &M, frame: &mut F, work: &mut Work, slot: u32) -> Step {
    let (Some(parked), Some(owner)) = (maps.leg(slot), maps.leg_owner(slot)) else {
        return (Next::Done, Verdict::NoConfig);
    };
    let segment = &work.segment;
    let leg = &parked.leg;
    let ours = M::Cpu::load(owner) == LEG_IDLE && leg.address == segment.source && leg.port == segment.source_port;
    if !ours {
        return super::backend::stray(frame, work);
    }
    if !frame.can_grow() {
        return (Next::Done, Verdict::NeedsGrowth);
    }
    let (next, expected, clock) = (leg.next, leg.expected, leg.clock);
    let end = segment.end();
    if segment.has(RST) {
        // Exactly what is expected, or anybody could close it (RFC 5961, section 3).
        if segment.seq != expected || !M::Cpu::compare_exchange(owner, LEG_IDLE, LEG_DEAD) {
            return (Next::Done, Verdict::ForgedReset);
        }
        return (Next::Done, Verdict::IdleLegReset);
    }
    let speaks = end.after(expected);
    if speaks || segment.has(FIN) && end == expected {
        if !M::Cpu::compare_exchange(owner, LEG_IDLE, LEG_DEAD) {
            // A flow has just taken it: what was lost comes again, and finds a flow.
            return (Next::Done, Verdict::Busy);
        }
        drop(parked);
        super::backend::back(frame, work);
        return (Next::Draft, if speaks { Verdict::IdleLegSpoke } else { Verdict::IdleLegClosed });
    }
    if segment.payload == 0 && segment.seq == expected {
        return (Next::Done, Verdict::IdleLegQuiet);
    }
    // Bytes that the client has acknowledged, because the acknowledgement was lost; or a keep-alive probe.
    let (timestamps, tsval) = (segment.timestamp_at != 0, segment.tsval);
    drop(parked);
    begin::answer(frame, work);
    let draft = &mut work.draft;
    draft.seq = next;
    draft.ack = expected;
    draft.flags = u32::from(ACK);
    draft.window = IDLE_WINDOW;
    draft.timestamps = u32::from(timestamps);
    draft.tsval = Seq(Now::at(maps.now()).clock()).max(Seq(clock)).0;
    draft.tsecr = tsval;
    (Next::Draft, Verdict::IdleLegProbed)
}
