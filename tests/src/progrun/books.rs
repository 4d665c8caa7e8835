//! The director's books: what the maps hold, copied to where it can be looked through at leisure, and how much of it there is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::mem::{offset_of, size_of};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, HashMap};
use balancer_ebpf::layout::{
    Backend, FLOW_FREE, Flow, FlowKey, FlowSlot, LEG_DEAD, LEG_IDLE, LegSlot, MAX_VERSIONS, Stash, Traffic, map,
};
use balancer_sim::edge::SimMaps;
use balancer_user::kernel::values::from_bytes;

use super::{FlowBytes, Programs, SERVICE, Setting};

/// How much there is of everything that a flow may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Slots by their flow's state, but for free ones.
    pub flows: BTreeMap<u32, usize>,
    /// Entries of the table that finds flows.
    pub keys: usize,
    pub stashes: usize,
    /// Legs that flows have, and that pools have.
    pub legs: usize,
    pub pooled: usize,
    /// Requests in flight and flows, as the versions count them, and as the backends do.
    pub in_flight: i64,
    pub joined: i64,
    pub busy: i64,
}

impl Programs {
    /// A copy of all that flows consist of. Nobody may be working on them.
    pub fn copy(&self, setting: &Setting) -> Result<SimMaps> {
        let mut maps = SimMaps::new(setting.globals(), setting.roles(), setting.listener(), setting.policy());
        for (slot, to) in (0..).zip(&maps.flows) {
            let from: FlowSlot = from_bytes(&self.flow(slot)?);
            ensure!(from.lock.get() == 0, "flow {slot} is locked, and nobody works on it");
            to.replace(from.flow);
        }
        let legs: Array<_, [u8; size_of::<LegSlot>()]> = self.values(map::LEGS)?;
        for (slot, to) in (0..).zip(&maps.legs) {
            to.replace(from_bytes(&legs.get(&slot, 0).context("read LEGS")?));
        }
        let owners: Array<_, u64> = self.values(map::LEG_OWNERS)?;
        for (slot, to) in (0..).zip(&maps.leg_owners) {
            to.set(owners.get(&slot, 0).context("read LEG_OWNERS")?);
        }
        let stashes: Array<_, [u64; size_of::<Stash>() / 8]> = self.values(map::STASHES)?;
        for (index, to) in (0..).zip(&maps.stashes) {
            const OWNER: usize = offset_of!(Stash, owner) / 8;
            to.borrow().owner.set(stashes.get(&index, 0).context("read STASHES")?[OWNER]);
        }
        let pools: Array<_, u64> = self.values(map::POOLS)?;
        for (index, to) in (0..).zip(&maps.pools) {
            to.set(pools.get(&index, 0).context("read POOLS")?);
        }
        let traffic: Array<_, [u8; size_of::<Traffic>()]> = self.values(map::TRAFFIC)?;
        for (version, to) in (0..).zip(&mut maps.traffic) {
            *to = from_bytes(&traffic.get(&(SERVICE * MAX_VERSIONS + version), 0).context("read TRAFFIC")?);
        }
        let backends: Array<_, [u8; size_of::<Backend>()]> = self.values(map::BACKENDS)?;
        for index in 0..setting.backends().len() as u32 {
            maps.backends.push(from_bytes(&backends.get(&index, 0).context("read BACKENDS")?));
        }
        let found = self.ebpf.map(map::FLOW_KEYS).context("no map FLOW_KEYS")?;
        let keys: HashMap<_, [u8; size_of::<FlowKey>()], u32> = HashMap::try_from(found)?;
        for entry in keys.iter() {
            let (key, slot) = entry.context("read FLOW_KEYS")?;
            maps.keys.get_mut().insert(from_bytes(&key), slot);
        }
        Ok(maps)
    }

    /// Makes it long ago that anybody said anything: from here on every flow may be collected. Nobody may be working on them.
    pub fn age(&mut self, flows: u32) -> Result<()> {
        const SEEN: usize = offset_of!(FlowSlot, flow) + offset_of!(Flow, seen);
        for slot in 0..flows {
            let mut flow: FlowBytes = self.flow(slot)?;
            flow[SEEN..SEEN + 8].fill(0);
            self.set_flow(slot, flow)?;
        }
        Ok(())
    }

    /// Has the next SYN for a connection answered, as the one is that its client sends again after a second. Nobody may be working on its
    /// flow.
    pub fn forget_challenge(&mut self, key: &FlowKey) -> Result<()> {
        const CHALLENGED: usize = offset_of!(FlowSlot, flow) + offset_of!(Flow, challenged);
        let Some(slot) = self.slot(key)? else { return Ok(()) };
        let mut flow: FlowBytes = self.flow(slot)?;
        flow[CHALLENGED..CHALLENGED + 4].fill(0);
        self.set_flow(slot, flow)
    }

    fn values<V: aya::Pod>(&self, name: &str) -> Result<Array<&aya::maps::MapData, V>> {
        let found = self.ebpf.map(name).with_context(|| format!("the object has no map {name}"))?;
        Array::try_from(found).with_context(|| format!("use the map {name}"))
    }
}

impl Census {
    /// Counts what is there.
    pub fn of(maps: &SimMaps) -> Self {
        let mut flows = BTreeMap::new();
        for flow in maps.flows.iter().map(|flow| flow.borrow()).filter(|flow| flow.state != FLOW_FREE) {
            *flows.entry(flow.state).or_default() += 1;
        }
        let owners: Vec<u64> = maps.leg_owners.iter().map(Cell::get).collect();
        let sum = |cells: &mut dyn Iterator<Item = &Cell<u64>>| cells.map(|cell| cell.get().cast_signed()).sum();
        Self {
            flows,
            keys: maps.keys.borrow().len(),
            stashes: maps.stashes.iter().filter(|stash| stash.borrow().owner.get() != 0).count(),
            legs: owners.iter().filter(|owner| (1..LEG_IDLE).contains(*owner)).count(),
            pooled: owners.iter().filter(|owner| matches!(**owner, LEG_IDLE | LEG_DEAD)).count(),
            in_flight: sum(&mut maps.traffic.iter().map(|traffic| &traffic.in_flight)),
            joined: sum(&mut maps.traffic.iter().map(|traffic| &traffic.flows)),
            busy: sum(&mut maps.backends.iter().map(|backend| &backend.legs)),
        }
    }
}

/// Entries of the table that finds flows have to lead to the flow that they are of.
pub fn astray(maps: &SimMaps) -> Result<()> {
    for (key, slot) in maps.keys.borrow().iter() {
        let flow = maps.flows.get(*slot as usize).with_context(|| format!("{key:?} leads to slot {slot}"))?.borrow();
        ensure!(flow.state != FLOW_FREE && flow.key == *key, "{key:?} leads to slot {slot}, which has {:?}", flow.key);
    }
    Ok(())
}
