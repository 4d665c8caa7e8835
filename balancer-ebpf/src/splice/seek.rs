//! Which slot a client's flow is in: by the hint that was left when it was found last, else by the table of keys.

use crate::host::{Cpu, Maps};
use crate::layout::{FlowKey, Globals, HintPlace, NONE};

/// The slot that a hint names, if the flow there is that key's. Its key is read without its lock, and has to be read again under it.
#[inline(always)]
pub(super) fn hinted<M: Maps>(maps: &M, globals: &Globals, key: &FlowKey) -> Option<u32> {
    let place = HintPlace::of(key, globals.flows);
    let hints = maps.hints(place.bucket)?;
    for word in &hints.words {
        if let Some(slot) = place.slot(M::Cpu::load(word)) {
            return if maps.seems(slot, key) { Some(slot) } else { None };
        }
    }
    None
}

/// The slot of a key that no hint led to, or [`NONE`]; the next segment is led there.
#[inline(always)]
pub fn seek<M: Maps>(maps: &M, globals: &Globals, key: &FlowKey) -> u32 {
    let Some(slot) = maps.flow_slot(key) else { return NONE };
    leave_hint(maps, globals, key, slot);
    slot
}

/// Leaves a hint that a key's flow is in a slot.
#[inline(always)]
pub(super) fn leave_hint<M: Maps>(maps: &M, globals: &Globals, key: &FlowKey, slot: u32) {
    let place = HintPlace::of(key, globals.flows);
    let Some(hints) = maps.hints(place.bucket) else { return };
    let mut to = &hints.words[place.way()];
    for word in &hints.words {
        let present = M::Cpu::load(word);
        if present == 0 || place.slot(present).is_some() {
            to = word;
            break;
        }
    }
    M::Cpu::store(to, place.word(slot));
}
