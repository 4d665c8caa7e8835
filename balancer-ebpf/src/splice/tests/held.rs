//! Requests that are held while an exclusive flip waits.

use super::flows::flip;
use super::rig::{HOOKS, Rig, data, get, len, response};
use crate::layout::*;
use crate::verdict::Verdict;

/// D10: while a service is held nothing new begins, what is under way ends, and what was held goes on when it comes again; after
/// the hold's end also without anybody's doing.
#[test]
fn d10_a_hold_lets_requests_end_and_none_begin() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let (first, second) = (get(""), get("more"));
        rig.says(client, &first, director);
        let until = rig.maps.now.get() / 1_000_000 + 1_000;
        flip(&mut rig, |policy| policy.hold_until = until);
        let answer = response("", 50);
        rig.answers(index, director, &answer, client + len(&first));
        assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::ToClient, 0));
        let (client, director) = (client + len(&first), director + len(&answer));
        for _ in 0..3 {
            assert!(data(&rig.says(client, &second, director)).is_empty());
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::Held, 0));
        }
        assert_eq!((rig.maps.held.borrow().len(), rig.stashes()), (1, 1));
        rig.wait(1_001);
        assert_eq!(data(&rig.says(client, &second, director)), second);
        assert_eq!((rig.verdict, rig.in_flight(0), rig.stashes()), (Verdict::RequestSame, 1, 0));
    }
}

/// D10: what is held comes in again when it is released, once, as its client sent it; and what its client sends itself later is a
/// request that came twice.
#[test]
fn d10_a_request_that_was_held_is_released_at_once() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let second = get("more");
        let until = rig.maps.now.get() / 1_000_000 + 10_000;
        flip(&mut rig, |policy| policy.hold_until = until);
        rig.says(client, &second, director);
        assert_eq!(rig.verdict, Verdict::Held);
        let errand = |rig: &Rig| Errand { key: rig.flow().key, slot: rig.flow().slot, ..Errand::default() };
        let other = Errand { key: FlowKey { client_port: [1, 2], ..rig.flow().key }, ..errand(&rig) };
        assert_eq!(rig.releases(other), None);
        assert_eq!(rig.verdict, Verdict::NotOurs);
        // Released too early, it is held again.
        for released in 0..2 {
            let errand = errand(&rig);
            let out = rig.releases(errand).expect("it is held");
            assert_eq!((rig.verdict, rig.stashes()), (Verdict::Released, 0));
            if released == 0 {
                assert_eq!(rig.comes_in(&out), []);
                assert_eq!((rig.verdict, rig.stashes()), (Verdict::Held, 1));
                flip(&mut rig, |policy| policy.hold_until = 0);
                continue;
            }
            let sent = rig.comes_in(&out);
            assert_eq!((data(&sent), rig.verdict, rig.in_flight(0)), (second.clone(), Verdict::RequestSame, 1));
            assert_eq!(rig.releases(errand), None);
        }
        let again = rig.says(client, &second, director);
        assert_eq!((data(&again), rig.in_flight(0)), (second.clone(), 1));
        rig.answers(index, director, &response("", 50), client + len(&second));
        assert_eq!(rig.in_flight(0), 0);
    }
}
