//! What responses say of sessions: ids issued, renamed and deleted; and the end of a response, which refreshes its own.

use super::{Now, lookup, traffic};
use crate::host::{Cpu, Maps};
use crate::http::Head;
use crate::layout::{Binding, Buffer, Flow, Globals, KIND_ISSUED, Policy, REQUESTS_UNFRAMED, ServiceWord, SessionHash};
use crate::sessions::{Bound, Shelf, term, touch};
use crate::verdict::Note;
use crate::work::Work;

/// Takes in a response head before it leaves: binds what it issues, forgets what it deletes.
///
/// Only final responses count: what a browser makes of a cookie in a 103 nobody knows. A new id in answer to a known one
/// renames the session (C34), or is a new session in place of one that has expired at its backend; on the wire the two are
/// one. The new id is bound to its issuer. The old one keeps its place for a while, since requests that are on their way
/// still carry it.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined: the arguments are the driver's own variables")]
pub(super) fn learn<M: Maps>(
    maps: &M,
    globals: &Globals,
    head: &Head,
    buffer: &Buffer,
    flow: &Flow,
    policy: &Policy,
    shelf: &Shelf,
    hash: &mut SessionHash,
    now: Now,
) {
    if head.status < 200 && head.status != 101 {
        return;
    }
    // Where requests are not followed, nobody knows what this one presented.
    let presented = lookup::carried(flow) && flow.flags & REQUESTS_UNFRAMED == 0;
    if head.set_id.len != 0 {
        maps.hash(globals, flow.service, buffer, head.set_id, hash);
        let leg = &flow.leg;
        let binding = Binding::new(leg.version, leg.generation, leg.backend, KIND_ISSUED);
        match maps.bind(globals, hash, binding.0, lookup::idle(policy, now.seconds()), shelf) {
            Bound::New | Bound::Changed => {}
            Bound::Evicted => maps.note(Note::SessionEvicted.counter()),
            Bound::Full => {
                maps.note(Note::SessionsFull.counter());
                return;
            }
        }
        maps.note(Note::SessionIssued.counter());
        let grace = term(now.seconds(), policy.grace_seconds);
        let renamed = presented && *hash != flow.presented && maps.rename(globals, &flow.presented, grace, shelf);
        if renamed {
            maps.note(Note::SessionRenamed.counter());
        }
        if let Some(traffic) = traffic(maps, flow.service, leg.version) {
            M::Cpu::fetch_add(&traffic.issued, 1);
            if !renamed {
                M::Cpu::fetch_add(&traffic.born, 1);
            }
        }
    } else if head.deletes != 0 && presented && maps.forget(globals, &flow.presented, shelf) {
        maps.note(Note::SessionDeleted.counter());
    }
}

/// The oldest response is complete: what its request presented was in use until now (D3). The flow's clock tells whether
/// that is another second than the request's, and for most it is not.
#[inline(always)]
pub(super) fn ended<M: Maps>(maps: &M, work: &Work, flow: &mut Flow) {
    let second = (flow.seen / 1000) as u32;
    if lookup::carried(flow) && second != flow.presented_at {
        maps.refresh(flow.service, &flow.presented, second, &work.shelf);
    }
    flow.carried >>= 1;
}

/// Refreshes an id of a service, as the service's present policy says.
#[inline(always)]
pub fn refresh<M: Maps>(maps: &M, service: u32, hash: &SessionHash, second: u32, shelf: &Shelf) {
    if let Some(globals) = maps.globals()
        && let Some(policy) = maps.policy(ServiceWord(maps.service_word(service)).block())
    {
        touch(maps, globals, hash, lookup::idle(policy, second), shelf);
    }
}
