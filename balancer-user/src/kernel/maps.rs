//! The pinned maps as typed values: the daemon's [`Dataplane`].

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    mem::{self, size_of},
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray, PerCpuValues};
use balancer_ebpf::layout::{
    self, Address, BACKEND_UP, BUCKET_WAYS, Backend, Binding, Bucket, Entry, Errand, FLOW_OPENING, FLOW_SPLICED,
    FlowKey, FlowSlot, Globals, LEG_CLASSES, Listener, ListenerKey, MAX_VERSIONS, NONE, Pin, PinEvent, PinKey, Policy,
    PoolWord, REQUESTS_UNFRAMED, RESPONSES_UNFRAMED, RULE_BLOCKS, RuleSet, SERVICE_BLOCKS, STASH_HELD, ServiceWord,
    Sieve, SourceKey, TUNNEL, Traffic, map, pool,
};

use super::{
    errand::Runner,
    held::Held,
    mmap::{Access, MappedArray},
    object,
    pinmaps::PinMaps,
    pins::Pins,
    table::{LiveTable, WORDS},
    values::{from_bytes, to_bytes},
};
use crate::{
    dataplane::{Dataplane, FlowSight, Outcomes, SessionTable},
    model::Tally,
};

/// A block is written again only when no CPU can still be reading it: a program runs for microseconds.
const GRACE: Duration = Duration::from_millis(100);
const BUCKET_WORDS: usize = size_of::<Bucket>() / 8;
const BACKEND_WORDS: usize = size_of::<Backend>() / 8;
// Of a backend's words: each is stored in one piece. Address and port are those before the flags.
const FLAGS_WORD: usize = mem::offset_of!(Backend, flags) / 8;
const _: () = assert!(mem::offset_of!(Backend, address) == 0 && mem::offset_of!(Backend, port) / 8 < FLAGS_WORD);
const SHUNNED_WORD: usize = mem::offset_of!(Backend, shunned_until) / 8;
const FAILURES_WORD: usize = mem::offset_of!(Backend, failures) / 8;

type Bytes<const N: usize> = Array<MapData, [u8; N]>;

/// Handles of the maps.
pub struct Maps {
    pins: Pins,
    globals: Bytes<{ size_of::<Globals>() }>,
    listeners: HashMap<MapData, [u8; size_of::<ListenerKey>()], [u8; size_of::<Listener>()]>,
    addresses: HashMap<MapData, [u8; size_of::<Address>()], u32>,
    sieve: Array<MapData, [u8; size_of::<Sieve>()]>,
    interfaces: HashMap<MapData, u32, u32>,
    /// Health is one store here, which leaves alone what the programs keep beside it.
    backends: MappedArray,
    /// Lists of idle legs, which the programs change all the time.
    pools: MappedArray,
    policies: Bytes<{ size_of::<Policy>() }>,
    traffic: Bytes<{ size_of::<Traffic>() }>,
    outcomes: PerCpuArray<MapData, [u64; size_of::<layout::Outcomes>() / 8]>,
    counters: PerCpuArray<MapData, u64>,
    /// Service words: a flip is one store here.
    services: MappedArray,
    rules: Bytes<{ size_of::<RuleSet>() }>,
    /// Of listeners that have rules: a change of them is one store here.
    listener_words: MappedArray,
    sessions: Arc<MappedArray>,
    pinned: PinMaps,
    held: Held,
    flow_keys: HashMap<MapData, [u8; size_of::<FlowKey>()], u32>,
    flows: Bytes<{ size_of::<FlowSlot>() }>,
    /// When a policy block was replaced, by its index; and a block of rules.
    replaced: BTreeMap<u32, Instant>,
    replaced_rules: BTreeMap<u32, Instant>,
    started: Instant,
}

impl Maps {
    /// Opens the pinned maps: handles of our own, since the loaded object's have to stay open until its programs are loaded.
    pub fn open(pins: Pins) -> anyhow::Result<Self> {
        fn open<T: TryFrom<Map>>(pins: &Pins, name: &str, kind: fn(MapData) -> Map) -> anyhow::Result<T>
        where
            T::Error: std::error::Error + Send + Sync + 'static,
        {
            let data = MapData::from_pin(pins.map(name)).with_context(|| format!("open the map {name}"))?;
            T::try_from(kind(data)).with_context(|| format!("use the map {name}"))
        }
        let services = mapped(&pins, map::SERVICES, size_of::<u64>(), Access::ReadWrite)?;
        let listener_words = mapped(&pins, map::LISTENER_WORDS, size_of::<u64>(), Access::ReadWrite)?;
        let backends = mapped(&pins, map::BACKENDS, size_of::<Backend>(), Access::ReadWrite)?;
        let pools = mapped(&pins, map::POOLS, size_of::<PoolWord>(), Access::ReadWrite)?;
        let sessions = mapped(&pins, map::SESSIONS, size_of::<Bucket>(), Access::ReadWrite)?.into();
        Ok(Self {
            globals: open(&pins, map::GLOBALS, Map::Array)?,
            listeners: open(&pins, map::LISTENERS, Map::HashMap)?,
            addresses: open(&pins, map::ADDRESSES, Map::HashMap)?,
            sieve: open(&pins, map::SIEVE, Map::Array)?,
            interfaces: open(&pins, map::INTERFACES, Map::HashMap)?,
            backends,
            pools,
            policies: open(&pins, map::POLICIES, Map::Array)?,
            traffic: open(&pins, map::TRAFFIC, Map::Array)?,
            outcomes: open(&pins, map::OUTCOMES, Map::PerCpuArray)?,
            counters: open(&pins, map::COUNTERS, Map::PerCpuArray)?,
            pinned: PinMaps::open(&pins)?,
            flow_keys: open(&pins, map::FLOW_KEYS, Map::HashMap)?,
            held: Held::open(&pins)?,
            flows: open(&pins, map::FLOWS, Map::Array)?,
            services,
            sessions,
            replaced: BTreeMap::new(),
            replaced_rules: BTreeMap::new(),
            rules: open(&pins, map::RULES, Map::Array)?,
            listener_words,
            started: Instant::now(),
            pins,
        })
    }

    pub fn set_globals(&mut self, globals: &Globals) -> anyhow::Result<()> {
        self.globals.set(0, to_bytes(globals), 0).context("write GLOBALS")
    }

    pub fn set_interfaces(&mut self, wanted: &BTreeMap<u32, u32>) -> anyhow::Result<()> {
        sync(&mut self.interfaces, wanted).context("write INTERFACES")
    }

    /// Indexes of the interfaces that the map knows.
    pub fn interfaces(&self) -> Vec<u32> {
        self.interfaces.keys().filter_map(Result::ok).collect()
    }

    fn word(&self, service: u32) -> ServiceWord {
        ServiceWord(self.services.load(service as usize).unwrap_or_default())
    }

    fn listener_word(&self, listener: u32) -> ServiceWord {
        ServiceWord(self.listener_words.load(listener as usize).unwrap_or_default())
    }

    fn read_policy(&self, block: u32) -> anyhow::Result<Policy> {
        let bytes = self.policies.get(&block, 0).with_context(|| format!("read policy block {block}"))?;
        Ok(from_bytes(&bytes))
    }
}

/// The session table, to be filled.
pub fn open_table(pins: &Pins) -> anyhow::Result<LiveTable> {
    Ok(LiveTable::new(mapped(pins, map::SESSIONS, size_of::<Bucket>(), Access::ReadWrite)?))
}

/// Where the words of a backend's pools are, one for each class of legs.
fn pools(id: u16) -> impl Iterator<Item = usize> {
    (0..LEG_CLASSES).map(move |class| pool(u32::from(id), class) as usize)
}

/// Where a backend begins.
fn backend_word(id: u16) -> usize {
    usize::from(id) * BACKEND_WORDS
}

/// Maps a pinned array into memory; the mapping outlives the descriptor.
fn mapped(pins: &Pins, name: &str, value_size: usize, access: Access) -> anyhow::Result<MappedArray> {
    let map = || -> anyhow::Result<MappedArray> {
        let data = MapData::from_pin(pins.map(name))?;
        let info = data.info()?;
        if info.value_size() as usize != value_size {
            anyhow::bail!("its values have {} bytes, not {value_size}", info.value_size());
        }
        MappedArray::new(data.fd().as_fd(), info.value_size(), info.max_entries(), access)
    };
    map().with_context(|| format!("map {name} into memory"))
}

/// Makes a map say `wanted`: new entries first, so that nothing is missing meanwhile.
fn sync<K: aya::Pod + Ord>(map: &mut HashMap<MapData, K, u32>, wanted: &BTreeMap<K, u32>) -> anyhow::Result<()> {
    for (key, value) in wanted {
        if !matches!(map.get(key, 0), Ok(present) if present == *value) {
            map.insert(*key, value, 0)?;
        }
    }
    let present: Vec<K> = map.keys().collect::<Result<_, _>>()?;
    for key in present.iter().filter(|key| !wanted.contains_key(key)) {
        map.remove(key)?;
    }
    Ok(())
}

impl Dataplane for Maps {
    fn globals(&self) -> anyhow::Result<Globals> {
        Ok(from_bytes(&self.globals.get(&0, 0).context("read GLOBALS")?))
    }

    fn addresses(&self) -> anyhow::Result<BTreeMap<Address, u32>> {
        let entry =
            |entry: Result<([u8; 16], u32), _>| entry.map(|(address, role)| (Address::from_bytes(address), role));
        self.addresses.iter().map(entry).collect::<Result<_, _>>().context("read ADDRESSES")
    }

    fn set_addresses(&mut self, wanted: &BTreeMap<Address, u32>) -> anyhow::Result<()> {
        let before: Sieve = from_bytes(&self.sieve.get(&0, 0).context("read SIEVE")?);
        let changing = before.changes.wrapping_add(1);
        let present = self.addresses()?;
        let all = Sieve::of(present.keys().chain(wanted.keys()), changing);
        self.sieve.set(0, to_bytes(&all), 0).context("write SIEVE")?;
        let roles = wanted.iter().map(|(address, role)| ((*address).into(), *role)).collect();
        sync(&mut self.addresses, &roles).context("write ADDRESSES")?;
        let changed = Sieve::of(wanted.keys(), changing.wrapping_add(1));
        self.sieve.set(0, to_bytes(&changed), 0).context("write SIEVE")
    }

    fn listeners(&self) -> anyhow::Result<Vec<(ListenerKey, Listener)>> {
        let entries: Result<Vec<_>, _> = self.listeners.iter().collect();
        let entries = entries.context("read LISTENERS")?;
        Ok(entries.iter().map(|(key, value)| (from_bytes(key), from_bytes(value))).collect())
    }

    fn set_listener(&mut self, key: ListenerKey, listener: Listener) -> anyhow::Result<()> {
        self.listeners.insert(to_bytes(&key), to_bytes(&listener), 0).context("write LISTENERS")
    }

    fn remove_listener(&mut self, key: ListenerKey) -> anyhow::Result<()> {
        self.listeners.remove(&to_bytes(&key)).context("write LISTENERS")
    }

    fn backend(&self, id: u16) -> anyhow::Result<Backend> {
        let words: Option<Vec<u64>> = (0..BACKEND_WORDS).map(|at| self.backends.load(backend_word(id) + at)).collect();
        let bytes: Option<Vec<u8>> = words.map(|words| words.into_iter().flat_map(u64::to_ne_bytes).collect());
        let bytes: Option<[u8; size_of::<Backend>()]> = bytes.and_then(|bytes| bytes.try_into().ok());
        Ok(from_bytes(&bytes.with_context(|| format!("there is no backend {id}"))?))
    }

    fn set_backend(&mut self, id: u16, backend: &Backend) -> anyhow::Result<()> {
        let present = self.backend(id)?;
        let bytes: [u8; size_of::<Backend>()] = to_bytes(backend);
        let (words, _) = bytes.as_chunks::<8>();
        let store = |at: usize| {
            let stored =
                words.get(at).is_some_and(|word| self.backends.store(backend_word(id) + at, u64::from_ne_bytes(*word)));
            anyhow::ensure!(stored, "write backend {id}");
            Ok(())
        };
        if (present.address, present.port) != (backend.address, backend.port) {
            // Another server: what the programs noted about the former one is not its fault. No policy names it yet, and nobody takes
            // it for one that works while its address is half the former's.
            anyhow::ensure!(self.backends.store(backend_word(id) + FLAGS_WORD, 0), "write backend {id}");
            (0..FLAGS_WORD).try_for_each(store)?;
        }
        let came_up = present.flags & BACKEND_UP == 0 && backend.flags & BACKEND_UP != 0;
        if came_up || (present.address, present.port) != (backend.address, backend.port) {
            // The checks reach it, whatever requests found a while ago.
            store(SHUNNED_WORD)?;
            store(FAILURES_WORD)?;
        }
        store(FLAGS_WORD)
    }

    fn forgive(&mut self, id: u16) -> anyhow::Result<()> {
        let done = [SHUNNED_WORD, FAILURES_WORD].iter().all(|at| self.backends.store(backend_word(id) + at, 0));
        anyhow::ensure!(done, "write backend {id}");
        Ok(())
    }

    fn idle_legs(&self, id: u16) -> u64 {
        pools(id).filter_map(|at| self.pools.load(at)).map(|word| u64::from(PoolWord(word).count())).sum()
    }

    fn empty_pools(&mut self, id: u16) -> anyhow::Result<()> {
        for at in pools(id) {
            // A program that puts a leg back at this instant wins, and is met again.
            while let Some(word) = self.pools.load(at).filter(|word| PoolWord(*word).count() != 0) {
                self.pools
                    .exchange(at, word, PoolWord(word).with(0, 0).0)
                    .with_context(|| format!("empty the pools of backend {id}"))?;
            }
        }
        Ok(())
    }

    fn policy(&self, service: u32) -> anyhow::Result<Option<Policy>> {
        match self.word(service) {
            ServiceWord(0) => Ok(None),
            word => self.read_policy(word.block()).map(Some),
        }
    }

    fn publish(&mut self, service: u32, mut policy: Policy) -> anyhow::Result<bool> {
        let word = self.word(service);
        let first = service * SERVICE_BLOCKS;
        let next = if word.0 == 0 { 0 } else { (word.block().wrapping_sub(first) + 1) % SERVICE_BLOCKS };
        if let Some(present) = self.policy(service)? {
            policy.generation = present.generation;
            if policy == present {
                return Ok(false);
            }
        }
        let block = first + next;
        // A daemon that was just started does not know what its predecessor replaced when.
        let replaced = self.replaced.get(&block).copied().unwrap_or(self.started);
        std::thread::sleep((replaced + GRACE).saturating_duration_since(Instant::now()));

        policy.generation = word.generation().checked_add(1).unwrap_or(1);
        self.policies.set(block, to_bytes(&policy), 0).with_context(|| format!("write policy block {block}"))?;
        if !self.services.store(service as usize, ServiceWord::new(block, policy.generation).0) {
            anyhow::bail!("there is no service {service}");
        }
        if word.0 != 0 {
            self.replaced.insert(word.block(), Instant::now());
        }
        Ok(true)
    }

    fn rules(&self, listener: u32) -> anyhow::Result<Option<RuleSet>> {
        match self.listener_word(listener) {
            ServiceWord(0) => Ok(None),
            word => {
                let block = word.block();
                let bytes = self.rules.get(&block, 0).with_context(|| format!("read block {block} of rules"))?;
                Ok(Some(from_bytes(&bytes)))
            }
        }
    }

    fn publish_rules(&mut self, listener: u32, rules: Option<&RuleSet>) -> anyhow::Result<bool> {
        let word = self.listener_word(listener);
        let present = self.rules(listener)?;
        let generation = present.as_ref().map_or(0, |present| present.generation);
        let wanted = rules.map(|rules| RuleSet { generation, ..*rules });
        if present == wanted {
            return Ok(false);
        }
        let mut next = ServiceWord(0);
        if let Some(mut rules) = wanted {
            let first = listener * RULE_BLOCKS;
            let behind = if word.0 == 0 { 0 } else { (word.block().wrapping_sub(first) + 1) % RULE_BLOCKS };
            let block = first + behind;
            let replaced = self.replaced_rules.get(&block).copied().unwrap_or(self.started);
            std::thread::sleep((replaced + GRACE).saturating_duration_since(Instant::now()));
            rules.generation = generation.checked_add(1).unwrap_or(1);
            self.rules.set(block, to_bytes(&rules), 0).with_context(|| format!("write block {block} of rules"))?;
            next = ServiceWord::new(block, rules.generation);
        }
        if !self.listener_words.store(listener as usize, next.0) {
            anyhow::bail!("there is no listener {listener}");
        }
        if word.0 != 0 {
            self.replaced_rules.insert(word.block(), Instant::now());
        }
        Ok(true)
    }

    fn traffic(&self, service: u32, version: u32) -> anyhow::Result<Traffic> {
        let bytes = self.traffic.get(&(service * MAX_VERSIONS + version), 0).context("read TRAFFIC")?;
        Ok(from_bytes(&bytes))
    }

    fn reset_traffic(&mut self, service: u32, version: u32) -> anyhow::Result<()> {
        let traffic = self.traffic(service, version)?;
        traffic.requests.set(0);
        traffic.issued.set(0);
        traffic.born.set(0);
        let index = service * MAX_VERSIONS + version;
        self.traffic.set(index, to_bytes(&traffic), 0).context("write TRAFFIC")?;
        let cpus = self.outcomes.get(&index, 0).context("read OUTCOMES")?.len();
        let nothing = PerCpuValues::try_from(vec![[0; _]; cpus]).context("count the CPUs")?;
        self.outcomes.set(index, nothing, 0).context("write OUTCOMES")
    }

    fn outcomes(&self, service: u32, version: u32) -> anyhow::Result<Outcomes> {
        let cpus = self.outcomes.get(&(service * MAX_VERSIONS + version), 0).context("read OUTCOMES")?;
        Ok(cpus.iter().fold(Outcomes::default(), |sum, [answers, errors, resets, unanswered, left_at, missing]| {
            Outcomes {
                tally: sum.tally
                    + Tally { answers: *answers, errors: *errors, resets: *resets, unanswered: *unanswered },
                left_at: sum.left_at.max(*left_at),
                missing: sum.missing + missing,
            }
        }))
    }

    fn counters(&self) -> anyhow::Result<Vec<u64>> {
        let values: Result<Vec<_>, _> = self.counters.iter().collect();
        let values = values.context("read COUNTERS")?;
        Ok(values.iter().map(|cpus| cpus.iter().sum()).collect())
    }

    fn pins(&self) -> anyhow::Result<BTreeMap<PinKey, Pin>> {
        self.pinned.pins()
    }

    fn source_pins(&self) -> anyhow::Result<BTreeMap<(SourceKey, u32), Pin>> {
        self.pinned.sources()
    }

    fn set_pins(
        &mut self,
        wanted: &BTreeMap<PinKey, Pin>,
        sources: &BTreeMap<(SourceKey, u32), Pin>,
    ) -> anyhow::Result<()> {
        self.pinned.set(wanted, sources)
    }

    fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.pinned.pin(key)
    }

    fn source_pin(&self, key: &SourceKey) -> Option<Pin> {
        self.pinned.source(key)
    }

    fn told(&mut self) -> Vec<PinEvent> {
        self.pinned.told()
    }

    fn flows_of(&self, service: u32, version: u32) -> anyhow::Result<Vec<FlowSight>> {
        const OPAQUE: u32 = REQUESTS_UNFRAMED | RESPONSES_UNFRAMED | TUNNEL;
        let mut found = Vec::new();
        for entry in self.flow_keys.iter() {
            // An entry that is changed while it is read: its flow has just begun or ended.
            let Ok((_, slot)) = entry else { continue };
            let bytes = self.flows.get(&slot, 0).context("read FLOWS")?;
            let FlowSlot { flow, .. } = from_bytes(&bytes);
            let has_leg = matches!(flow.state, FLOW_OPENING | FLOW_SPLICED) && flow.leg.backend != NONE;
            if has_leg && flow.leg.service == service && flow.leg.version == version {
                let (opaque, outstanding) = (flow.flags & OPAQUE != 0, flow.outstanding);
                found.push(FlowSight { slot, key: flow.key, service, version, opaque, outstanding });
            }
        }
        // Legs of `gateway` services have keys of their own, which lead to the same slots.
        found.sort_by_key(|flow| flow.slot);
        found.dedup_by_key(|flow| flow.slot);
        Ok(found)
    }

    fn close_flow(&mut self, flow: &FlowSight) -> anyhow::Result<bool> {
        let FlowSight { slot, key, service, version, .. } = *flow;
        Runner::open(&self.pins, object::CLOSE)?.run(Errand { key, slot, service, version })
    }

    fn release_held(&mut self, service: u32) -> anyhow::Result<u64> {
        let runner = Runner::open(&self.pins, object::RELEASE)?;
        let (mut released, mut others, mut seen) = (0, Vec::new(), BTreeSet::new());
        while let Some(slot) = self.held.pop()? {
            if !seen.insert(slot) {
                // It is held again: this would go round and round for as long as it is.
                others.push(slot);
                break;
            }
            let bytes = self.flows.get(&slot, 0).context("read FLOWS")?;
            let FlowSlot { flow, .. } = from_bytes(&bytes);
            if flow.flags & STASH_HELD == 0 {
                // It went on by itself, when its client sent it again.
                continue;
            }
            if flow.service == service {
                released += u64::from(runner.run(Errand { key: flow.key, slot, service, version: NONE })?);
            } else {
                others.push(slot);
            }
        }
        others.into_iter().try_for_each(|slot| self.held.keep(slot))?;
        Ok(released)
    }

    fn buckets(&self) -> u32 {
        (self.sessions.words() / BUCKET_WORDS) as u32
    }

    fn bucket(&self, index: u32) -> Option<Bucket> {
        let first = index as usize * BUCKET_WORDS;
        self.sessions.load(first)?;
        let word = |at: usize| Cell::new(self.sessions.load(first + at).unwrap_or_default());
        let entries: [Entry; BUCKET_WAYS] = std::array::from_fn(|way| Entry {
            tag: word(way * WORDS.entry + WORDS.tag),
            binding: word(way * WORDS.entry + WORDS.binding),
            times: word(way * WORDS.entry + WORDS.times),
            bucket_hash: word(way * WORDS.entry + WORDS.hash),
        });
        Some(Bucket { entries })
    }

    fn forget_sessions(&mut self, id: u16) -> anyhow::Result<u64> {
        let mut forgotten = 0;
        for first in (0..self.sessions.words()).step_by(WORDS.entry) {
            let Some(image) = WORDS.whole(|at| self.sessions.load(first + at).unwrap_or_default()) else { continue };
            if Binding(image.binding).backend() == u32::from(id) {
                // Whoever gives the entry to another id at this instant wins.
                let gone = self.sessions.exchange(first + WORDS.tag, image.tag, 0).context("write SESSIONS")?;
                forgotten += u64::from(gone);
            }
        }
        Ok(forgotten)
    }

    fn sessions(&self) -> Arc<dyn SessionTable> {
        self.sessions.clone()
    }

    fn detach(&mut self) -> anyhow::Result<Vec<String>> {
        super::pins::detach(&self.pins, &self.interfaces())
    }
}
