//! Which of its listener's services a request is for, where there are several.
//!
//! The head was read with the names of the service that the flow's last request went to, since most connections stay with one. If
//! the rules lead elsewhere, it is read again.

use super::{Next, Now, Step, has_leg, lookup, policy_of_service};
use crate::host::Maps;
use crate::http::Scanned;
use crate::layout::{
    Buffer, FLOW_SPLICED, Flow, NONE, POLICY_KEEP_UNFRAMED, Policy, REJECTED_AMBIGUOUS, REJECTED_UNMATCHED,
    RESPONSES_UNFRAMED, RULES_REJECT_AMBIGUOUS, RuleSet, ServiceWord,
};
use crate::rules::Ruled;
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// Carries out [`Next::Choose`]: the head is read, and its service's policy says that there are rules.
#[inline(always)]
pub fn choose<M: Maps>(maps: &M, work: &mut Work, flow: &Flow, now: Now) -> Step {
    let unknown = (Next::Done, Verdict::NoConfig);
    let Some(globals) = maps.globals() else { return unknown };
    let Some(present) = policy_of_service(maps, flow.service) else { return unknown };
    let have = work.extent.have();
    let stashed = work.extent.is_stashed();
    let mut guard = None;
    let Work { scan, lookup, rules: scratch, buffer, .. } = work;
    let buffer: &Buffer = if stashed {
        let Some(stash) = maps.stash(flow.stash) else { return unknown };
        &guard.insert(stash).data
    } else {
        buffer
    };
    let complete = scan.scanned() as u32 == Scanned::Complete as u32;
    let joined = flow.state == FLOW_SPLICED && has_leg(flow);
    let kept = flow.flags & RESPONSES_UNFRAMED != 0 && present.flags & POLICY_KEEP_UNFRAMED != 0;
    let mut policy = present;
    // What cannot be read stays where it is, and, where that is wanted, what nobody can follow.
    if !(joined && (!complete || kept))
        && let Some(set) = rules_of(maps, present, flow)
    {
        scratch.begin::<M::Cpu>(&flow.key.client);
        let ruled = if complete { maps.find_service(set, buffer, &scan.head, scratch) } else { Ruled::Unmatched };
        let mut service = scratch.service::<M::Cpu>();
        let mut refused = 0;
        if ruled as u32 != Ruled::Matched as u32 {
            service = set.default;
            let ambiguous = ruled as u32 == Ruled::Ambiguous as u32;
            if ambiguous && (service == NONE || set.flags & RULES_REJECT_AMBIGUOUS != 0) {
                refused = REJECTED_AMBIGUOUS;
            } else if service == NONE {
                refused = REJECTED_UNMATCHED;
            }
        }
        if refused == 0 && service != flow.service {
            let Some(other) = policy_of_service(maps, service) else { return unknown };
            policy = other;
            lookup.begin(service, &flow.key.client, lookup::idle(policy, now.seconds()));
            if complete && maps.scan_request(scan, buffer, have, &policy.rule) as u32 != Scanned::Complete as u32 {
                return unknown;
            }
        }
        lookup.ruled = ruled as u32;
        lookup.refused = refused;
    }
    if complete && lookup.refused == 0 {
        maps.look_up(globals, policy, buffer, &scan.head, lookup);
        if policy.pins != 0 {
            maps.find_pin(globals, policy, buffer, &scan.head, lookup);
        }
    }
    (Next::Decide, Verdict::RequestSame)
}

/// The rules of the listener that a flow came by.
#[inline(always)]
fn rules_of<'a, M: Maps>(maps: &'a M, policy: &Policy, flow: &Flow) -> Option<&'a RuleSet> {
    let word = maps.listener_word(policy.listener.wrapping_sub(1));
    if word == 0 {
        return None;
    }
    let rules = maps.rules(ServiceWord(word).block())?;
    let theirs = rules.listener.address == flow.key.vip && rules.listener.port == flow.key.port;
    if theirs { Some(rules) } else { None }
}

/// Counts what the rules made of a request that goes its way now, or is refused.
#[inline(always)]
pub(super) fn count<M: Maps>(maps: &M, work: &Work) {
    if work.lookup.ruled == Ruled::Ambiguous as u32 {
        maps.note(Note::RuleAmbiguous.counter());
    } else if work.lookup.ruled == Ruled::Unmatched as u32 {
        maps.note(Note::RuleUnmatched.counter());
    }
}
