//! The director's books: whatever a packet did, every count says what there is, and everything has one owner.

use crate::layout::*;
use crate::testing::TestMaps;

pub(super) fn balance(maps: &TestMaps) {
    let flows: Vec<Flow> = maps.flows.iter().map(|flow| *flow.borrow()).collect();
    let live = |flow: &&Flow| matches!(flow.state, FLOW_OPENING | FLOW_SPLICED) && flow.leg.backend != NONE;
    let live: Vec<&Flow> = flows.iter().filter(live).collect();
    for (version, traffic) in maps.traffic.iter().enumerate() {
        let of = || live.iter().filter(|flow| flow.leg.service * MAX_VERSIONS + flow.leg.version == version as u32);
        let outstanding: u32 = of().map(|flow| flow.outstanding).sum();
        assert_eq!(traffic.flows.get(), of().count() as u64, "flows of version {version}");
        assert_eq!(traffic.in_flight.get(), u64::from(outstanding), "requests in flight on version {version}");
    }
    for (id, backend) in maps.backends.iter().enumerate() {
        let legs = live.iter().filter(|flow| flow.leg.backend == id as u32).count();
        assert_eq!(backend.legs.get(), legs as u64, "flows with a leg to backend {id}");
    }
    for (slot, flow) in flows.iter().enumerate() {
        let owner = slot as u64 + 1;
        if flow.state != FLOW_FREE && flow.leg.backend != NONE {
            assert_eq!(maps.leg_owners[flow.leg.slot as usize].get(), owner, "the leg of flow {slot}");
        }
        if flow.state != FLOW_FREE && flow.stash != NONE {
            assert_eq!(maps.stashes[flow.stash as usize].borrow().owner.get(), owner, "the stash of flow {slot}");
        }
        let legs = maps.leg_owners.iter().filter(|present| present.get() == owner).count();
        let has_leg = flow.state != FLOW_FREE && flow.leg.backend != NONE;
        assert_eq!(legs, usize::from(has_leg), "legs of flow {slot}");
        let stashes = maps.stashes.iter().filter(|stash| stash.borrow().owner.get() == owner).count();
        let has_stash = flow.state != FLOW_FREE && flow.stash != NONE;
        assert_eq!(stashes, usize::from(has_stash), "stashes of flow {slot}");
    }
    let mut pooled = 0;
    for word in &maps.pools {
        let word = PoolWord(word.get());
        let mut top = word.top();
        for _ in 0..word.count() {
            let leg = maps.legs[top as usize - 1].borrow();
            assert!(
                maps.leg_owners[top as usize - 1].get() >= LEG_IDLE,
                "leg {} lies in a pool and belongs to a flow",
                top - 1
            );
            top = leg.below.get() as u32;
            pooled += 1;
        }
        assert_eq!(top, 0, "a pool's count is its legs");
    }
    let idle = maps.leg_owners.iter().filter(|owner| owner.get() >= LEG_IDLE).count();
    assert_eq!(idle, pooled, "every idle leg lies in a pool");
}
