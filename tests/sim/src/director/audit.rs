//! What must hold between any two packets: what is counted and what is held agrees with the flows.

use balancer_ebpf::layout::{
    FLOW_CLOSING, FLOW_FREE, FLOW_UNBOUND, LEG_CLASSES, LEG_DEAD, LEG_IDLE, MAX_VERSIONS, NONE, PoolWord,
};

use crate::edge::SimMaps;

/// Looks through all maps: the simulation's, or a copy of the kernel's.
pub fn audit(maps: &SimMaps) -> Result<(), String> {
    flows(maps)?;
    legs(maps)
}

/// Versions and backends count the flows that they have, and every stash belongs to the flow that holds it.
fn flows(maps: &SimMaps) -> Result<(), String> {
    let mut in_flight = [0; MAX_VERSIONS as usize];
    let mut joined = [0; MAX_VERSIONS as usize];
    let mut busy = vec![0; maps.backends.len()];
    let mut stashes = vec![0; maps.stashes.len()];
    for (index, flow) in maps.flows.iter().enumerate() {
        let flow = flow.borrow();
        if flow.stash != NONE && flow.state != FLOW_FREE {
            stashes[flow.stash as usize] = index as u64 + 1;
        }
        if matches!(flow.state, FLOW_FREE | FLOW_CLOSING) {
            continue;
        }
        if flow.leg.backend != NONE {
            in_flight[flow.leg.version as usize] += u64::from(flow.outstanding);
            joined[flow.leg.version as usize] += 1;
            busy[flow.leg.backend as usize] += 1;
        } else if flow.state != FLOW_UNBOUND {
            return Err(format!("flow {index} is in state {} without a leg", flow.state));
        }
    }
    for (version, traffic) in maps.traffic.iter().enumerate() {
        let counted = (traffic.in_flight.get(), traffic.flows.get());
        let there = (in_flight[version], joined[version]);
        if counted != there {
            let (requests, flows) = (counted.0 as i64, counted.1 as i64);
            return Err(format!(
                "version {version} counts {requests} requests in flight and {flows} flows; there are {there:?}"
            ));
        }
    }
    for (index, backend) in maps.backends.iter().enumerate() {
        if backend.legs.get() != busy[index] {
            return Err(format!("backend {index} counts {} legs; {} are joined", backend.legs.get(), busy[index]));
        }
    }
    for (index, stash) in maps.stashes.iter().enumerate() {
        let owner = stash.borrow().owner.get() & 0xffff_ffff;
        if owner != stashes[index] {
            return Err(format!("stash {index} belongs to {owner}, but flow {} has it", stashes[index]));
        }
    }
    Ok(())
}

/// Every leg is free, in one pool, or its flow's.
fn legs(maps: &SimMaps) -> Result<(), String> {
    let mut pooled = vec![false; maps.legs.len()];
    for (index, pool) in maps.pools.iter().enumerate() {
        let word = PoolWord(pool.get());
        let mut next = word.top();
        for _ in 0..word.count() {
            let Some(leg) = maps.legs.get(next.wrapping_sub(1) as usize) else {
                return Err(format!("pool {index} counts {} legs, but ends before", word.count()));
            };
            if std::mem::replace(&mut pooled[next as usize - 1], true) {
                return Err(format!("leg {} lies in two places of pools", next - 1));
            }
            let leg = leg.borrow();
            let own = leg.leg.backend as usize == index / LEG_CLASSES as usize;
            let owner = maps.leg_owners[next as usize - 1].get();
            if !matches!(owner, LEG_IDLE | LEG_DEAD) || !own {
                return Err(format!("leg {} of {owner:x} lies in pool {index}", next - 1));
            }
            next = leg.below.get() as u32;
        }
        if next != 0 {
            return Err(format!("pool {index} counts {} legs, and has more", word.count()));
        }
    }
    for (slot, owner) in maps.leg_owners.iter().enumerate() {
        let owner = owner.get();
        let idle = matches!(owner, LEG_IDLE | LEG_DEAD);
        if idle != pooled[slot] {
            return Err(format!("leg {slot} of {owner:x} is in a pool: {}", pooled[slot]));
        }
        if owner == 0 || idle {
            continue;
        }
        let Some(flow) = maps.flows.get(owner as usize - 1) else {
            return Err(format!("leg {slot} belongs to {owner:x}"));
        };
        let flow = flow.borrow();
        if flow.leg.slot as usize != slot || flow.leg.backend == NONE {
            return Err(format!("leg {slot} belongs to flow {}, which does not have it", owner - 1));
        }
    }
    for (index, flow) in maps.flows.iter().enumerate() {
        let flow = flow.borrow();
        let has = !matches!(flow.state, FLOW_FREE | FLOW_CLOSING) && flow.leg.backend != NONE;
        let owner = if has { maps.leg_owners[flow.leg.slot as usize].get() } else { 0 };
        if has && owner != index as u64 + 1 {
            return Err(format!("flow {index} has leg {}, which belongs to {owner:x}", flow.leg.slot));
        }
    }
    Ok(())
}
