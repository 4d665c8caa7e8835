//! Hints: believed of live flows of their keys only, and found again by the table where they are lost.

use super::rig::{HOOKS, Hook, Rig, Seg};
use crate::host::Maps as _;
use crate::layout::*;
use crate::splice::seek::{hinted, leave_hint};
use crate::testing::TestMaps;
use crate::verdict::Verdict;

fn lead(maps: &TestMaps, key: &FlowKey) -> Option<u32> {
    hinted(maps, &maps.globals, key)
}

/// A client that has connected, the key of its flow and the slot.
fn connected(hook: Hook) -> (Rig, FlowKey, u32) {
    let mut rig = Rig::new(hook);
    rig.connect();
    let (key, slot) = (rig.flow().key, rig.flow().slot);
    (rig, key, slot)
}

#[test]
fn a_flow_is_found_by_its_hint_from_its_beginning_on() {
    for hook in HOOKS {
        let (mut rig, key, slot) = connected(hook);
        assert_eq!(lead(&rig.maps, &key), Some(slot));
        // Also if the table knew nothing of it.
        rig.maps.leave_all();
        rig.client(Seg::default());
        assert_ne!(rig.verdict, Verdict::Unknown);
    }
}

#[test]
fn a_hint_that_is_lost_or_wrong_is_made_good_by_the_table() {
    for hook in HOOKS {
        let (rig, key, slot) = connected(hook);
        for wrong in [None, Some(slot + 1), Some(77)] {
            for hints in &rig.maps.hints {
                hints.words.iter().for_each(|word| word.set(0));
            }
            if let Some(wrong) = wrong {
                leave_hint(&rig.maps, &rig.maps.globals, &key, wrong);
            }
            assert_eq!(lead(&rig.maps, &key), None);
            assert_eq!(rig.maps.seek(&rig.maps.globals, &key), slot);
            assert_eq!(lead(&rig.maps, &key), Some(slot));
        }
        // Of a key that is nobody's, nothing is left.
        let stranger = FlowKey { client_port: [1, 1], ..key };
        assert_eq!(rig.maps.seek(&rig.maps.globals, &stranger), NONE);
        assert_eq!(lead(&rig.maps, &stranger), None);
    }
}

/// A client that begins anew on its port must not be led to what its last connection left behind.
#[test]
fn a_hint_does_not_lead_to_a_flow_that_has_ended() {
    for hook in HOOKS {
        let (rig, key, slot) = connected(hook);
        for ended in [FLOW_FREE, FLOW_CLOSING] {
            rig.maps.flows[slot as usize].borrow_mut().state = ended;
            assert_eq!(lead(&rig.maps, &key), None, "{ended}");
        }
    }
}

#[test]
fn a_full_bucket_gives_one_way() {
    let rig = Rig::new(HOOKS[0]);
    let globals = &rig.maps.globals;
    let key = |port: u16| FlowKey { client_port: port.to_be_bytes(), ..FlowKey::default() };
    let same = |port: &u16| HintPlace::of(&key(*port), globals.flows).bucket == 0;
    let crowd: Vec<u16> = (1..).filter(same).take(9).collect();
    for port in &crowd {
        leave_hint(&rig.maps, globals, &key(*port), 0);
    }
    let named = |port: &&u16| {
        let place = HintPlace::of(&key(**port), globals.flows);
        rig.maps.hints[0].words.iter().any(|word| place.slot(word.get()) == Some(0))
    };
    assert_eq!(crowd.iter().filter(named).count(), 8);
    assert!(named(&crowd.last().unwrap()), "the last one has a place");
}
