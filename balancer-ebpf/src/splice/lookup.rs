//! Which session a request belongs to: the presented ids, looked up, and what a decision makes of them.

use super::Now;
use crate::decide::{Choice, Why};
use crate::host::{Cpu, Maps, Step as LoopStep};
use crate::http::{Head, MAX_IDS, Span};
use crate::layout::{
    Address, Binding, Buffer, Flow, Globals, KIND_ADOPTED, KIND_PRESENTED, NONE, Policy, SessionHash, pinned_version,
};
use crate::pins;
use crate::route::Scratch;
use crate::sessions::{Bound, Shelf, present, term};
use crate::verdict::Note;

/// A search for a presented id that is known.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Lookup {
    /// The id that a binding was found for; if there is none, the first that was presented.
    pub hash: SessionHash,
    /// The binding, 0 for none.
    pub binding: u64,
    /// Until when an id that is found is refreshed ([`term`]).
    term: u64,
    pub(crate) service: u32,
    /// 1 if any id was presented.
    pub presented: u32,
    /// What the request is pinned to.
    pub pin: pins::Found,
    pub(crate) pins: pins::Scratch,
    /// Where the first route in an id without a binding leads, or [`NONE`].
    pub route: u32,
    index: u32,
    /// The client's address.
    pub(crate) source: Address,
    /// What the listener's rules made of the request ([`crate::rules::Ruled`]); matched also where there are none.
    pub(crate) ruled: u32,
    /// How the request is refused because of that: `REJECTED_*`, or 0.
    pub(crate) refused: u32,
    zero: u32,
    tried: SessionHash,
    pub(super) shelf: Shelf,
    scratch: Scratch,
}

impl Lookup {
    /// Begins anew, field by field: as a whole value, one would be made on the stack first, which has no room.
    #[inline(always)]
    pub fn begin(&mut self, service: u32, source: &Address, term: u64) {
        self.hash = SessionHash { tag: 0, bucket: 0 };
        self.binding = 0;
        self.term = term;
        self.service = service;
        self.presented = 0;
        self.route = NONE;
        self.index = 0;
        self.source = *source;
        self.pin.pin = 0;
        self.pin.id = 0;
        self.pin.flags = 0;
        self.ruled = 0;
        self.refused = 0;
    }

    /// The present second.
    #[inline(always)]
    pub(crate) const fn second(&self) -> u32 {
        self.term as u32
    }

    /// Whether a pin sends the request elsewhere than its session lives: whatever the response says of sessions is then not
    /// about that one (D15).
    #[inline(always)]
    fn diverted(&self) -> bool {
        let pinned = self.pin.pin & 0xffff;
        pinned != 0 && (self.binding == 0 || pinned_version(self.pin.pin) != Binding(self.binding).version())
    }
}

struct Ids<'a, M: Maps> {
    maps: &'a M,
    globals: &'a Globals,
    policy: &'a Policy,
    buffer: &'a Buffer,
    head: &'a Head,
    lookup: &'a mut Lookup,
}

struct Id;
impl<M: Maps> LoopStep<Ids<'_, M>> for Id {
    #[inline(always)]
    fn step(ids: &mut Ids<'_, M>) -> bool {
        let Ids { maps, globals, policy, buffer, head, lookup } = ids;
        let index = lookup.index;
        // A cookie beats the path, even one that nobody knows (C21).
        let span: Span = if head.id_count == 0 { head.path_id } else { head.ids[(index as usize) & (MAX_IDS - 1)] };
        let last = head.id_count <= 1 || index + 1 >= head.id_count;
        if span.len == 0 || index >= MAX_IDS as u32 {
            return false;
        }
        maps.hash(globals, lookup.service, buffer, span, &mut lookup.tried);
        let hash = lookup.tried;
        let found = present(*maps, globals, &hash, lookup.term, &lookup.shelf);
        if found.first {
            // Here and not where the request is decided: XDP may pass it up, and for TC it is no longer the first.
            maps.note(Note::SessionPresented.counter());
        }
        if index == 0 || found.binding != 0 {
            lookup.hash = hash;
            lookup.presented = 1;
        }
        lookup.binding = found.binding;
        if found.binding == 0 && policy.route_count != 0 && lookup.route == NONE {
            lookup.route = maps.route(policy, buffer, span, &lookup.scratch);
        }
        lookup.index = index + 1;
        found.binding == 0 && !last
    }
}

/// Looks the presented ids up, in their order, until one is known (C22).
#[inline(always)]
pub fn look_up<M: Maps>(
    maps: &M,
    globals: &Globals,
    policy: &Policy,
    buffer: &Buffer,
    head: &Head,
    lookup: &mut Lookup,
) {
    if head.more_ids != 0 {
        maps.note(Note::MoreIds.counter());
    }
    let mut ids = Ids { maps, globals, policy, buffer, head, lookup };
    // Nearly always there is one.
    if Id::step(&mut ids) {
        M::Cpu::repeat::<_, Id>(&mut ids, MAX_IDS as u32 - 1);
    }
}

/// Until when an id that is seen now is remembered.
#[inline(always)]
pub(super) fn idle(policy: &Policy, second: u32) -> u64 {
    term(second, policy.idle_seconds)
}

/// What the flow has to know of its request's id when the request is decided again, and when its response comes. Before the
/// request is counted as outstanding.
///
/// A flow remembers one id. Requests that are pipelined behind each other nearly always carry the same; where another one
/// comes, what the responses to those before it say of theirs is not applied.
#[inline(always)]
pub(super) fn remember(lookup: &Lookup, flow: &mut Flow, now: Now) {
    let place = 1 << (flow.outstanding & 31);
    flow.carried &= !place;
    if lookup.presented != 0 && !lookup.diverted() {
        if lookup.hash != flow.presented {
            flow.carried = 0;
            flow.presented = lookup.hash;
        }
        flow.carried |= place;
    }
    flow.presented_at = now.seconds();
    flow.route = lookup.route;
    flow.pin = lookup.pin.pin;
}

/// Whether the oldest request without a complete response presented the id that the flow remembers.
#[inline(always)]
pub(super) fn carried(flow: &Flow) -> bool {
    flow.carried & 1 != 0
}

/// Looks up again what a request presented whose head is gone: it waits in the stash for a leg.
#[inline(always)]
pub(super) fn look_again<M: Maps>(
    maps: &M,
    globals: &Globals,
    policy: &Policy,
    flow: &Flow,
    lookup: &mut Lookup,
    now: Now,
) {
    lookup.binding = 0;
    lookup.presented = u32::from(carried(flow));
    lookup.route = flow.route;
    lookup.pin.pin = flow.pin;
    // It was told of when it was decided first.
    lookup.pin.flags = 0;
    lookup.hash = flow.presented;
    if carried(flow) {
        lookup.binding = present(maps, globals, &flow.presented, idle(policy, now.seconds()), &lookup.shelf).binding;
    }
}

/// Whether there is anything to [`conclude`] from a choice.
#[inline(always)]
pub(super) const fn is_notable(choice: &Choice) -> bool {
    const QUIET: u32 =
        1 << Why::Active as u32 | 1 << Why::Bound as u32 | 1 << Why::Route as u32 | 1 << Why::Canary as u32;
    choice.backend_down | choice.version_down != 0 || QUIET >> (choice.why & 31) & 1 == 0
}

/// Counts what was noticed in a decision, and binds an id that was decided anew: one whose binding does not hold any more,
/// or one that is adopted.
#[inline(always)]
pub fn conclude<M: Maps>(maps: &M, globals: &Globals, policy: &Policy, lookup: &Lookup, choice: &Choice, second: u32) {
    if choice.backend_down != 0 {
        maps.note(Note::BoundBackendDown.counter());
    }
    if choice.version_down != 0 {
        maps.note(Note::VersionDown.counter());
    }
    if choice.why == Why::Pinned as u32 {
        maps.note(Note::RequestPinned.counter());
    }
    if choice.why == Why::Overridden as u32 {
        maps.note(Note::RequestOverridden.counter());
    }
    let moved = choice.why == Why::Moved as u32;
    // Into the version that adopts or nowhere: what stands in for it knows the session no better.
    let adopted = choice.why == Why::Adopted as u32 && choice.version_down == 0;
    if !moved && !adopted {
        return;
    }
    let kind = if moved { KIND_PRESENTED } else { KIND_ADOPTED };
    let binding = Binding::new(choice.version, choice.generation, choice.backend, kind);
    let bound = maps.bind(globals, &lookup.hash, binding.0, idle(policy, second), &lookup.shelf);
    if bound as u32 == Bound::Full as u32 {
        maps.note(Note::SessionsFull.counter());
    } else {
        maps.note(if moved { Note::SessionMoved.counter() } else { Note::SessionAdopted.counter() });
    }
}
