//! What became of requests, counted by version where it is known: answered, and how; or lost, and by whom.
//!
//! A request that is sent again to the same version is not lost. What is not framed is not counted: nobody sees where its
//! requests end.

use super::{framed, has_leg, place_of_version};
use crate::host::{Cpu, Machine, Maps};
use crate::layout::{BACKEND_FIN, FLOW_OPENING, Flow, Outcomes, RESPONSE_BODY};

/// How a flow's requests can be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Loss {
    /// Their client went away.
    Left,
    /// Their backend reset or ended the connection.
    Reset,
    /// No backend of the version takes them.
    Refused,
}

impl Loss {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Left,
            1 => Self::Reset,
            _ => Self::Refused,
        }
    }
}

/// A response head with this status was read.
#[inline(always)]
pub fn answered<M: Maps>(maps: &M, flow: &Flow, status: u32) {
    // 100 to 103 announce another one; a 101 is the last.
    if status < 200 && status != 101 {
        return;
    }
    let Some(outcomes) = outcomes(maps, flow.service, flow.leg.version) else {
        return;
    };
    add::<M>(&outcomes.answers, 1);
    if status >= 500 {
        add::<M>(&outcomes.errors, 1);
    }
}

/// The requests of a flow are lost, those that the version of its leg has; none if it has none.
#[inline(always)]
pub fn lost<M: Maps>(maps: &M, flow: &Flow, how: Loss) {
    if !has_leg(flow) || flow.outstanding == 0 || !framed(flow) {
        return;
    }
    let Some(outcomes) = outcomes(maps, flow.service, flow.leg.version) else {
        return;
    };
    // Of the first one the head may have been read, and be counted as an answer.
    let begun = u64::from(flow.flags & RESPONSE_BODY != 0 || flow.response.chunked != 0);
    let requests = u64::from(flow.outstanding);
    match how {
        Loss::Reset => add::<M>(&outcomes.resets, requests),
        Loss::Refused => add::<M>(&outcomes.unanswered, requests),
        // The backend ended it before, and that is counted.
        Loss::Left if flow.flags & BACKEND_FIN != 0 => {}
        Loss::Left => {
            add::<M>(&outcomes.unanswered, requests - begun);
            if flow.state != FLOW_OPENING {
                M::Cpu::store(&outcomes.left_at, maps.now() / 1_000_000);
            }
        }
    }
}

/// A request is answered with a 503: its version is missing.
#[inline(always)]
pub(super) fn missing<M: Maps>(maps: &M, service: u32, version: u32) {
    if let Some(outcomes) = outcomes(maps, service, version) {
        add::<M>(&outcomes.missing, 1);
    }
}

/// What became of a version's requests on this CPU.
#[inline(always)]
fn outcomes<M: Maps>(maps: &M, service: u32, version: u32) -> Option<&Outcomes> {
    maps.outcomes(place_of_version(service, version))
}

/// Adds to a count that only this CPU writes.
#[inline(always)]
fn add<M: Machine>(count: &core::cell::Cell<u64>, by: u64) {
    M::Cpu::store(count, M::Cpu::load(count) + by);
}
