//! The kernel's maps, as plain memory.

use super::*;

pub(super) const BUCKETS: u32 = 16;

pub(super) const KEY: Key = Key { k0: 1, k1: 2 };

/// What the kernel would hold.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) addresses: BTreeMap<Address, u32>,
    pub(super) listeners: Vec<(ListenerKey, Listener)>,
    pub(super) backends: BTreeMap<u16, Backend>,
    pub(super) idle_legs: BTreeMap<u16, u64>,
    pub(super) policies: BTreeMap<u32, Policy>,
    pub(super) rules: BTreeMap<u32, RuleSet>,
    pub(super) published: u32,
    pub(super) buckets: BTreeMap<u32, Vec<[u64; 4]>>,
    pub(super) detached: bool,
    /// What the programs counted, by index, beside a little of the first three.
    pub(super) counters: BTreeMap<u32, u64>,
    pub(super) flows: Vec<FlowSight>,
    pub(super) pins: BTreeMap<PinKey, Pin>,
    pub(super) source_pins: BTreeMap<(SourceKey, u32), Pin>,
    pub(super) told: Vec<PinEvent>,
    /// Requests in flight, on every version.
    pub(super) in_flight: u64,
    /// By version index.
    pub(super) outcomes: BTreeMap<u32, Outcomes>,
    /// How often held requests were released.
    pub(super) released: u32,
    /// How often the whole session table was read.
    pub(super) reads: u32,
}

#[derive(Clone, Default)]
pub(super) struct Fake(pub(super) Arc<StdMutex<Memory>>);

impl Fake {
    pub(super) fn bind(&self, id: &str, binding: Binding) {
        let hash = hash_id(KEY, 0, id.as_bytes());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u32;
        let bucket = hash.bucket as u32 & (BUCKETS - 1);
        let entry = [hash.tag, binding.0, Times::new(now + 1800, now).0, hash.bucket];
        self.0.lock().unwrap().buckets.entry(bucket).or_default().push(entry);
    }
}

impl SessionTable for Fake {
    fn each(&self, visit: &mut dyn FnMut(Image)) {
        self.0.lock().unwrap().reads += 1;
        for [tag, binding, times, bucket_hash] in self.0.lock().unwrap().buckets.values().flatten().copied() {
            visit(Image { tag, binding, times, bucket_hash });
        }
    }
}

impl Dataplane for Fake {
    fn globals(&self) -> anyhow::Result<Globals> {
        Ok(Globals {
            session_key: KEY,
            cookie_key: KEY,
            isn_key: KEY,
            flows: 1,
            stashes: 1,
            bucket_mask: BUCKETS - 1,
            source_count: [1, 0],
            flow_idle_seconds: 1,
            sources: [[Address::NONE; MAX_SOURCES]; FAMILIES],
        })
    }
    fn addresses(&self) -> anyhow::Result<BTreeMap<Address, u32>> {
        Ok(self.0.lock().unwrap().addresses.clone())
    }
    fn set_addresses(&mut self, wanted: &BTreeMap<Address, u32>) -> anyhow::Result<()> {
        self.0.lock().unwrap().addresses.clone_from(wanted);
        Ok(())
    }
    fn listeners(&self) -> anyhow::Result<Vec<(ListenerKey, Listener)>> {
        Ok(self.0.lock().unwrap().listeners.clone())
    }
    fn set_listener(&mut self, key: ListenerKey, listener: Listener) -> anyhow::Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.listeners.retain(|(other, _)| *other != key);
        memory.listeners.push((key, listener));
        Ok(())
    }
    fn remove_listener(&mut self, key: ListenerKey) -> anyhow::Result<()> {
        self.0.lock().unwrap().listeners.retain(|(other, _)| *other != key);
        Ok(())
    }
    fn backend(&self, id: u16) -> anyhow::Result<Backend> {
        let free = Backend {
            address: Address::NONE,
            port: [0; 2],
            zero: [0; 6],
            flags: 0,
            weight: 0,
            shunned_until: Cell::new(0),
            legs: Cell::new(0),
            failures: Cell::new(0),
        };
        Ok(self.0.lock().unwrap().backends.get(&id).cloned().unwrap_or(free))
    }
    fn set_backend(&mut self, id: u16, backend: &Backend) -> anyhow::Result<()> {
        self.0.lock().unwrap().backends.insert(id, backend.clone());
        Ok(())
    }
    fn forgive(&mut self, id: u16) -> anyhow::Result<()> {
        if let Some(backend) = self.0.lock().unwrap().backends.get_mut(&id) {
            backend.shunned_until.set(0);
            backend.failures.set(0);
        }
        Ok(())
    }
    fn forget_sessions(&mut self, id: u16) -> anyhow::Result<u64> {
        let mut forgotten = 0;
        for bucket in self.0.lock().unwrap().buckets.values_mut() {
            let before = bucket.len();
            bucket.retain(|[_, binding, ..]| Binding(*binding).backend() != u32::from(id));
            forgotten += (before - bucket.len()) as u64;
        }
        Ok(forgotten)
    }
    fn idle_legs(&self, id: u16) -> u64 {
        self.0.lock().unwrap().idle_legs.get(&id).copied().unwrap_or_default()
    }
    fn empty_pools(&mut self, id: u16) -> anyhow::Result<()> {
        self.0.lock().unwrap().idle_legs.remove(&id);
        Ok(())
    }
    fn policy(&self, service: u32) -> anyhow::Result<Option<Policy>> {
        Ok(self.0.lock().unwrap().policies.get(&service).copied())
    }
    fn publish(&mut self, service: u32, policy: Policy) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let changed = memory.policies.insert(service, policy) != Some(policy);
        memory.published += u32::from(changed);
        Ok(changed)
    }
    fn rules(&self, listener: u32) -> anyhow::Result<Option<RuleSet>> {
        Ok(self.0.lock().unwrap().rules.get(&listener).copied())
    }
    fn publish_rules(&mut self, listener: u32, rules: Option<&RuleSet>) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let former = memory.rules.remove(&listener);
        memory.rules.extend(rules.map(|rules| (listener, *rules)));
        Ok(former.as_ref() != rules)
    }
    fn traffic(&self, _: u32, _: u32) -> anyhow::Result<Traffic> {
        let word = |value| Cell::new(value);
        Ok(Traffic {
            in_flight: word(self.0.lock().unwrap().in_flight),
            requests: word(7),
            issued: word(3),
            flows: word(2),
            born: word(3),
        })
    }
    fn outcomes(&self, _: u32, version: u32) -> anyhow::Result<Outcomes> {
        Ok(self.0.lock().unwrap().outcomes.get(&version).copied().unwrap_or_default())
    }
    fn reset_traffic(&mut self, _: u32, _: u32) -> anyhow::Result<()> {
        Ok(())
    }
    fn counters(&self) -> anyhow::Result<Vec<u64>> {
        let mut counters = vec![5, 0, 1];
        for (counter, value) in &self.0.lock().unwrap().counters {
            let counter = *counter as usize;
            counters.resize(counters.len().max(counter + 1), 0);
            counters[counter] = *value;
        }
        Ok(counters)
    }
    fn pins(&self) -> anyhow::Result<BTreeMap<PinKey, Pin>> {
        Ok(self.0.lock().unwrap().pins.clone())
    }
    fn source_pins(&self) -> anyhow::Result<BTreeMap<(SourceKey, u32), Pin>> {
        Ok(self.0.lock().unwrap().source_pins.clone())
    }
    fn set_pins(
        &mut self,
        wanted: &BTreeMap<PinKey, Pin>,
        sources: &BTreeMap<(SourceKey, u32), Pin>,
    ) -> anyhow::Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.pins.clone_from(wanted);
        memory.source_pins.clone_from(sources);
        Ok(())
    }
    fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.0.lock().unwrap().pins.get(key).copied()
    }
    fn source_pin(&self, key: &SourceKey) -> Option<Pin> {
        let memory = self.0.lock().unwrap();
        let longest = memory.source_pins.iter().filter(|((network, bits), _)| {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let [a, b] = [network.address, key.address].map(|address| u128::from_be_bytes(address.into()));
            network.service == key.service && a & mask == b & mask
        });
        longest.max_by_key(|((_, bits), _)| *bits).map(|(_, pin)| *pin)
    }
    fn told(&mut self) -> Vec<PinEvent> {
        std::mem::take(&mut self.0.lock().unwrap().told)
    }
    fn flows_of(&self, service: u32, version: u32) -> anyhow::Result<Vec<FlowSight>> {
        let flows = self.0.lock().unwrap().flows.clone();
        Ok(flows.into_iter().filter(|flow| (flow.service, flow.version) == (service, version)).collect())
    }
    fn release_held(&mut self, _: u32) -> anyhow::Result<u64> {
        self.0.lock().unwrap().released += 1;
        Ok(0)
    }
    fn close_flow(&mut self, flow: &FlowSight) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let before = memory.flows.len();
        memory.flows.retain(|other| other != flow);
        Ok(memory.flows.len() < before)
    }
    fn buckets(&self) -> u32 {
        BUCKETS
    }
    fn bucket(&self, index: u32) -> Option<Bucket> {
        let memory = self.0.lock().unwrap();
        let entries = memory.buckets.get(&index).cloned().unwrap_or_default();
        let entry = |way: usize| {
            let words = entries.get(way).copied().unwrap_or_default();
            let [tag, binding, times, bucket_hash] = words.map(Cell::new);
            Entry { tag, binding, times, bucket_hash }
        };
        Some(Bucket { entries: std::array::from_fn::<_, BUCKET_WAYS, _>(entry) })
    }
    fn sessions(&self) -> Arc<dyn SessionTable> {
        Arc::new(self.clone())
    }
    fn detach(&mut self) -> anyhow::Result<Vec<String>> {
        self.0.lock().unwrap().detached = true;
        Ok(vec!["links/tc-1-b1".to_owned()])
    }
}
