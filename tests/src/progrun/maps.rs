//! The programs' maps as the tests use them. Values that the layout defines become bytes in one place of the daemon, and
//! words here.

use std::mem::size_of;

use anyhow::{Context, Result};
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use balancer_ebpf::layout::{
    Address, Backend, Binding, Bucket, FlowKey, FlowSlot, Globals, HintPlace, Hints, Listener, ListenerKey,
    MAX_VERSIONS, Policy, ServiceWord, Sieve, Times, Traffic, map, owned_by,
};
use balancer_user::kernel::values::{from_bytes, to_bytes};

use super::{Counters, Programs, SERVICE, Setting};

/// A flow's slot as it lies in its map.
pub type FlowBytes = [u8; size_of::<FlowSlot>()];

/// Words of a bucket of the session table.
pub const BUCKET_WORDS: usize = size_of::<Bucket>() / 8;

impl Programs {
    /// Writes a whole setting: from here on the programs steer.
    pub fn configure(&mut self, setting: &Setting) -> Result<()> {
        let mut globals: Array<_, [u8; size_of::<Globals>()]> = self.array(map::GLOBALS)?;
        globals.set(0, to_bytes(&setting.globals()), 0)?;
        let mut listeners: HashMap<_, [u8; size_of::<ListenerKey>()], [u8; size_of::<Listener>()]> =
            HashMap::try_from(self.map(map::LISTENERS)?)?;
        let (key, listener) = setting.listener();
        listeners.insert(to_bytes(&key), to_bytes(&listener), 0)?;
        let mut addresses: HashMap<_, [u8; 16], u32> = HashMap::try_from(self.map(map::ADDRESSES)?)?;
        for (address, role) in setting.roles() {
            addresses.insert(<[u8; 16]>::from(address), role, 0)?;
        }
        let addresses: Vec<Address> = setting.roles().into_iter().map(|(address, _)| address).collect();
        self.array::<[u8; size_of::<Sieve>()]>(map::SIEVE)?.set(0, to_bytes(&Sieve::of(&addresses, 1)), 0)?;
        let mut policies: Array<_, [u8; size_of::<Policy>()]> = self.array(map::POLICIES)?;
        policies.set(0, to_bytes(&setting.policy()), 0)?;
        self.refresh_backends(setting)?;
        self.array::<u64>(map::SERVICES)?.set(SERVICE, ServiceWord::new(0, 1).0, 0)?;
        Ok(())
    }

    /// Makes this policy the one that decides.
    pub fn set_policy(&mut self, policy: Policy) -> Result<()> {
        let mut policies: Array<_, [u8; size_of::<Policy>()]> = self.array(map::POLICIES)?;
        Ok(policies.set(0, to_bytes(&policy), 0)?)
    }

    /// New sessions that a version had.
    pub fn born(&self, version: u32) -> Result<u64> {
        Ok(self.traffic(version)?.born.get())
    }

    /// Writes the backends alone, so that none is passed over for what happened before.
    pub fn refresh_backends(&mut self, setting: &Setting) -> Result<()> {
        let mut backends: Array<_, [u8; size_of::<Backend>()]> = self.array(map::BACKENDS)?;
        for (index, backend) in (0..).zip(setting.backends()) {
            backends.set(index, to_bytes(&backend), 0)?;
        }
        Ok(())
    }

    /// Forgets that backends refused or were silent, and nothing else.
    pub fn forgive_backends(&mut self, setting: &Setting) -> Result<()> {
        let mut backends: Array<_, [u8; size_of::<Backend>()]> = self.array(map::BACKENDS)?;
        for index in 0..setting.backends().len() as u32 {
            let backend: Backend = from_bytes(&backends.get(&index, 0).context("read BACKENDS")?);
            backend.shunned_until.set(0);
            backend.failures.set(0);
            backends.set(index, to_bytes(&backend), 0)?;
        }
        Ok(())
    }

    /// The sum of each counter over all CPUs.
    pub fn counters(&self) -> Result<Counters> {
        let found = self.ebpf.map(map::COUNTERS).context("no map COUNTERS")?;
        let counters: PerCpuArray<_, u64> = PerCpuArray::try_from(found)?;
        let values: Result<Vec<u64>, _> = counters.iter().map(|cpus| cpus.map(|cpus| cpus.iter().sum())).collect();
        Ok(Counters(values.context("read COUNTERS")?))
    }

    /// Requests in flight on a version of the service.
    pub fn in_flight(&self, version: u32) -> Result<i64> {
        Ok(self.traffic(version)?.in_flight.get().cast_signed())
    }

    /// Its flows that have a leg.
    pub fn joined(&self, version: u32) -> Result<i64> {
        Ok(self.traffic(version)?.flows.get().cast_signed())
    }

    fn traffic(&self, version: u32) -> Result<Traffic> {
        let found = self.ebpf.map(map::TRAFFIC).context("no map TRAFFIC")?;
        let traffic: Array<_, [u8; size_of::<Traffic>()]> = Array::try_from(found)?;
        Ok(from_bytes(&traffic.get(&(SERVICE * MAX_VERSIONS + version), 0).context("read TRAFFIC")?))
    }

    /// What a session is bound to.
    pub fn binding(&self, setting: &Setting, id: &[u8]) -> Result<Option<Binding>> {
        let hash = setting.hash(id);
        let found = self.ebpf.map(map::SESSIONS).context("no map SESSIONS")?;
        let sessions: Array<_, [u64; BUCKET_WORDS]> = Array::try_from(found)?;
        for index in setting.buckets_of(&hash) {
            let bucket = sessions.get(&index, 0).context("read SESSIONS")?;
            if let Some([_, binding, ..]) = bucket.as_chunks::<4>().0.iter().find(|[tag, ..]| *tag == hash.tag) {
                return Ok(Some(Binding(*binding)));
            }
        }
        Ok(None)
    }

    /// All words of the session table.
    pub fn table(&self) -> Result<Vec<u64>> {
        let found = self.ebpf.map(map::SESSIONS).context("no map SESSIONS")?;
        let sessions: Array<_, [u64; BUCKET_WORDS]> = Array::try_from(found)?;
        let mut words = Vec::new();
        for index in 0..sessions.len() {
            words.extend(sessions.get(&index, 0).context("read SESSIONS")?);
        }
        Ok(words)
    }

    /// Binds a session at second `now`, or forgets it. What was first in its bucket makes room.
    pub fn bind(&mut self, setting: &Setting, id: &[u8], binding: Option<Binding>, now: u32) -> Result<()> {
        let hash = setting.hash(id);
        let buckets = setting.buckets_of(&hash);
        let mut sessions: Array<_, [u64; BUCKET_WORDS]> = self.array(map::SESSIONS)?;
        for index in buckets {
            let mut bucket = sessions.get(&index, 0).context("read SESSIONS")?;
            for entry in bucket.as_chunks_mut::<4>().0.iter_mut().filter(|[tag, ..]| *tag == hash.tag) {
                *entry = [0; 4];
            }
            if let (Some(binding), Some(entry)) = (binding, bucket.as_chunks_mut().0.first_mut())
                && index == buckets[0]
            {
                *entry = [hash.tag, binding.0, Times::new(now + 1800, now).0, hash.bucket];
            }
            sessions.set(index, bucket, 0).context("write SESSIONS")?;
        }
        Ok(())
    }

    /// The slot of a client's connection.
    pub fn slot(&self, key: &FlowKey) -> Result<Option<u32>> {
        let found = self.ebpf.map(map::FLOW_KEYS).context("no map FLOW_KEYS")?;
        let keys: HashMap<_, [u8; size_of::<FlowKey>()], u32> = HashMap::try_from(found)?;
        match keys.get(&to_bytes(key), 0) {
            Ok(slot) => Ok(Some(slot)),
            Err(aya::maps::MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(error).context("read FLOW_KEYS"),
        }
    }

    /// Takes a client's connection out of the table.
    pub fn forget(&mut self, key: &FlowKey) -> Result<()> {
        let mut keys: HashMap<_, [u8; size_of::<FlowKey>()], u32> = HashMap::try_from(self.map(map::FLOW_KEYS)?)?;
        keys.remove(&to_bytes(key)).context("write FLOW_KEYS")
    }

    /// The flow in a slot, as bytes to put it back with.
    pub fn flow(&self, slot: u32) -> Result<FlowBytes> {
        let found = self.ebpf.map(map::FLOWS).context("no map FLOWS")?;
        let flows: Array<_, FlowBytes> = Array::try_from(found)?;
        flows.get(&slot, 0).context("read FLOWS")
    }

    /// Puts a flow into a slot.
    pub fn set_flow(&mut self, slot: u32, flow: FlowBytes) -> Result<()> {
        self.array::<FlowBytes>(map::FLOWS)?.set(slot, flow, 0).context("write FLOWS")
    }

    /// Gives a flow its leg's slot, and has it found by its connection.
    pub fn enter(&mut self, setting: &Setting, key: &FlowKey, slot: u32) -> Result<()> {
        let mut owners: Array<_, u64> = self.array(map::LEG_OWNERS)?;
        owners.set(slot, owned_by(slot), 0).context("write LEG_OWNERS")?;
        let mut keys: HashMap<_, [u8; size_of::<FlowKey>()], u32> = HashMap::try_from(self.map(map::FLOW_KEYS)?)?;
        keys.insert(to_bytes(key), slot, 0).context("write FLOW_KEYS")?;
        // As the programs leave it.
        let place = HintPlace::of(key, setting.globals().flows);
        let mut hints: Array<_, [u64; size_of::<Hints>() / 8]> = self.array(map::FLOW_HINTS)?;
        let mut words = hints.get(&place.bucket, 0).context("read FLOW_HINTS")?;
        if let Some(word) = words.iter_mut().find(|word| **word == 0) {
            *word = place.word(slot);
        }
        hints.set(place.bucket, words, 0).context("write FLOW_HINTS")
    }

    /// Writes a whole bucket of the session table.
    pub fn set_bucket(&mut self, index: u32, words: [u64; BUCKET_WORDS]) -> Result<()> {
        self.array::<[u64; BUCKET_WORDS]>(map::SESSIONS)?.set(index, words, 0).context("write SESSIONS")
    }

    fn map(&mut self, name: &str) -> Result<&mut aya::maps::Map> {
        self.ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))
    }

    fn array<V: aya::Pod>(&mut self, name: &str) -> Result<Array<&mut MapData, V>> {
        Array::try_from(self.map(name)?).with_context(|| format!("use the map {name}"))
    }
}
