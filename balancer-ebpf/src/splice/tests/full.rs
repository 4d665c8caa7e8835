//! What becomes of a packet for which a table has no room.

use super::rig::{HOOKS, Rig, Seg, get};
use crate::layout::*;
use crate::verdict::Verdict;

/// N18.
#[test]
fn without_a_stash_nothing_has_happened() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        rig.maps.stashes.iter().for_each(|stash| stash.borrow().owner.set(99));
        for request in [&get("")[..], b"GET / HT"] {
            assert_eq!(rig.says(0, request, 0), []);
            assert_eq!((rig.verdict, rig.in_flight(0)), (Verdict::StashesFull, 0));
        }
        rig.maps.stashes.iter().for_each(|stash| stash.borrow().owner.set(0));
        rig.opens(0, &get(""), 0);
        assert_eq!((rig.in_flight(0), rig.stashes()), (1, 1));
    }
}

/// N18.
#[test]
fn parts_of_heads_leave_stashes_for_whole_ones() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let half = rig.maps.stashes.len() / 2;
        rig.maps.stashes[..half].iter().for_each(|stash| stash.borrow().owner.set(99));
        assert_eq!(rig.says(0, b"GET / HT", 0), []);
        assert_eq!(rig.verdict, Verdict::StashesFull);
        rig.opens(0, &get(""), 0);
        assert!(rig.flow().stash as usize >= half);
    }
}

/// N17.
#[test]
fn without_a_slot_the_client_comes_again() {
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        rig.connect();
        let key = rig.flow().key;
        rig.maps.leave_all();
        for flow in &rig.maps.flows {
            *flow.borrow_mut() =
                Flow { state: FLOW_SPLICED, stash: NONE, seen: rig.maps.now.get() / 1_000_000, ..Flow::default() };
            flow.borrow_mut().leg.backend = NONE;
        }
        assert_eq!(rig.client(Seg::default()), []);
        assert_eq!(rig.verdict, Verdict::FlowsFull);
        // Two seconds after one has ended there is room.
        rig.maps.flows[0].borrow_mut().state = FLOW_CLOSING;
        rig.wait(3000);
        rig.client(Seg::default());
        assert_eq!((rig.verdict, rig.flow().key == key), (Verdict::FlowBegun, true));
    }
}
