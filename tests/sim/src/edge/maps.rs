//! The maps: vectors that live as long as one simulation.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;

use balancer_ebpf::decide::Backends;
use balancer_ebpf::host::{Entered, Machine, Maps};
use balancer_ebpf::layout::{
    Address, Backend, Bucket, Flow, FlowKey, Globals, Hands, Hints, LEG_CLASSES, Leg, LegSlot, Listener, ListenerKey,
    MAX_VERSIONS, NONE, Outcomes, Pin, PinEvent, PinKey, Policy, REMEMBERED, Remembered, RuleSet, SERVICE_BLOCKS,
    SourceKey, Stash, Traffic, hint_buckets,
};
use balancer_ebpf::pins::Pins;
use balancer_ebpf::plain::Plain;
use balancer_ebpf::sessions::Table;
use balancer_ebpf::splice;
use balancer_ebpf::verdict::COUNTERS;
use rand::{RngExt as _, SeedableRng as _};

use crate::plan::Random;

/// Backends that have pools: more than a simulation has backends.
const POOLED_BACKENDS: usize = 64;

/// What the kernel's maps hold, for one service on one listener.
pub struct SimMaps {
    pub globals: Globals,
    pub hands: Hands,
    /// Addresses and their `ROLE_*` bits.
    pub roles: Vec<(Address, u32)>,
    pub listener: (ListenerKey, Listener),
    pub word: Cell<u64>,
    pub policies: Vec<Policy>,
    pub backends: Vec<Backend>,
    pub buckets: Vec<Bucket>,
    pub traffic: Vec<Traffic>,
    pub outcomes: Vec<Outcomes>,
    /// Looked up only, never walked: its order is not the same from run to run.
    pub keys: RefCell<HashMap<FlowKey, u32>>,
    pub hints: Vec<Hints>,
    pub flows: Vec<RefCell<Flow>>,
    pub stashes: Vec<RefCell<Stash>>,
    pub leg_owners: Vec<Cell<u64>>,
    pub legs: Vec<RefCell<LegSlot>>,
    /// As long as there are backends.
    pub pools: Vec<Cell<u64>>,
    /// Nanoseconds since boot.
    pub now: Cell<u64>,
    pub counters: Vec<Cell<u64>>,
    /// What goes wrong with the maps of itself, if anything does.
    pub fault: Option<Fault>,
}

/// Maps that refuse: a table's bucket is locked or its memory used up, a flow is in another CPU's hands for too long, every leg is in
/// use.
pub struct Fault {
    often: f64,
    random: RefCell<Random>,
    /// Whether it happened since somebody looked.
    pub(crate) happened: Cell<bool>,
}

impl Fault {
    /// Happens so often, as a seed determines.
    pub(crate) fn new(often: f64, seed: u64) -> Self {
        Self { often, random: RefCell::new(Random::seed_from_u64(seed)), happened: Cell::new(false) }
    }

    fn happens(&self) -> bool {
        let now = self.often > 0.0 && self.random.borrow_mut().random_bool(self.often);
        self.happened.set(self.happened.get() || now);
        now
    }
}

impl SimMaps {
    /// Empty maps of the sizes that `globals` names.
    pub fn new(
        globals: Globals,
        roles: Vec<(Address, u32)>,
        listener: (ListenerKey, Listener),
        policy: Policy,
    ) -> Self {
        let stash = Stash { owner: Cell::new(0), data: balancer_ebpf::layout::Buffer::new() };
        let entry = balancer_ebpf::layout::Entry {
            tag: Cell::new(0),
            binding: Cell::new(0),
            times: Cell::new(0),
            bucket_hash: Cell::new(0),
        };
        let leg = LegSlot { below: Cell::new(0), reached: Cell::new(0), leg: Leg::default() };
        let bucket = Bucket { entries: std::array::from_fn(|_| entry.clone()) };
        let traffic = Traffic {
            in_flight: Cell::new(0),
            requests: Cell::new(0),
            issued: Cell::new(0),
            flows: Cell::new(0),
            born: Cell::new(0),
        };
        Self {
            hands: Hands { flow: Cell::new(0), stash: Cell::new(0), reset_budget: Cell::new(0), leg: Cell::new(0) },
            roles,
            listener,
            word: Cell::new(0),
            policies: vec![policy; SERVICE_BLOCKS as usize],
            backends: Vec::new(),
            buckets: vec![bucket; globals.bucket_mask as usize + 1],
            traffic: vec![traffic; MAX_VERSIONS as usize],
            outcomes: vec![Outcomes::default(); MAX_VERSIONS as usize],
            keys: RefCell::default(),
            hints: vec![Hints::default(); hint_buckets(globals.flows) as usize],
            flows: (0..globals.flows).map(|_| RefCell::default()).collect(),
            stashes: (0..globals.stashes).map(|_| RefCell::new(stash.clone())).collect(),
            leg_owners: vec![Cell::new(0); globals.flows as usize],
            legs: (0..globals.flows).map(|_| RefCell::new(leg.clone())).collect(),
            pools: vec![Cell::new(0); POOLED_BACKENDS * LEG_CLASSES as usize],
            now: Cell::new(0),
            counters: vec![Cell::new(0); COUNTERS as usize],
            globals,
            fault: None,
        }
    }

    fn refuses(&self) -> bool {
        self.fault.as_ref().is_some_and(Fault::happens)
    }

    /// Adds one to a counter.
    pub fn count(&self, counter: u32) {
        let counter = &self.counters[counter as usize];
        counter.set(counter.get() + 1);
    }
}

impl Machine for SimMaps {
    type Cpu = Plain;
}

impl Backends for SimMaps {
    fn backend(&self, id: u32) -> Option<&Backend> {
        self.backends.get(id as usize)
    }
}

impl Table for SimMaps {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(index as usize)
    }
}

impl Pins for SimMaps {
    /// Nobody is pinned here.
    fn pin(&self, _: &PinKey) -> Option<&Pin> {
        None
    }
    fn source_pin(&self, _: &SourceKey) -> Option<&Pin> {
        None
    }
}

impl Maps for SimMaps {
    type Flow<'a> = RefMut<'a, Flow>;
    type Stash<'a> = RefMut<'a, Stash>;
    type Leg<'a> = RefMut<'a, LegSlot>;

    fn globals(&self) -> Option<&Globals> {
        Some(&self.globals)
    }

    fn hands(&self) -> Option<&Hands> {
        Some(&self.hands)
    }

    fn role(&self, _: &mut [Remembered; REMEMBERED], address: &Address) -> Option<u32> {
        self.roles.iter().find(|(known, _)| known == address).map(|(_, role)| *role)
    }

    fn listener(&self, key: &ListenerKey) -> Option<&Listener> {
        (self.listener.0 == *key).then_some(&self.listener.1)
    }

    fn service_word(&self, service: u32) -> u64 {
        if service == 0 { self.word.get() } else { 0 }
    }

    fn listener_word(&self, _index: u32) -> u64 {
        // One service has its listener for itself.
        0
    }
    fn rules(&self, _block: u32) -> Option<&RuleSet> {
        None
    }
    fn policy(&self, block: u32) -> Option<&Policy> {
        self.policies.get(block as usize)
    }

    fn traffic(&self, index: u32) -> Option<&Traffic> {
        self.traffic.get(index as usize)
    }

    fn outcomes(&self, index: u32) -> Option<&Outcomes> {
        self.outcomes.get(index as usize)
    }

    fn flow_slot(&self, key: &FlowKey) -> Option<u32> {
        self.keys.borrow().get(key).copied()
    }

    fn hints(&self, bucket: u32) -> Option<&Hints> {
        self.hints.get(bucket as usize)
    }
    fn seems(&self, slot: u32, key: &FlowKey) -> bool {
        self.flows.get(slot as usize).is_some_and(|flow| flow.borrow().is_live_of(key))
    }
    fn enter(&self, key: &FlowKey, slot: u32) -> Entered {
        if self.refuses() {
            return Entered::Refused;
        }
        match self.keys.borrow_mut().entry(*key) {
            std::collections::hash_map::Entry::Occupied(_) => Entered::Exists,
            std::collections::hash_map::Entry::Vacant(entry) => {
                entry.insert(slot);
                Entered::Done
            }
        }
    }

    fn leave(&self, key: &FlowKey, slot: u32) {
        if self.flow_slot(key) == Some(slot) {
            self.keys.borrow_mut().remove(key);
        }
    }

    fn flow(&self, slot: u32) -> Option<Self::Flow<'_>> {
        // A flow that is locked twice by one packet would hang a CPU in the kernel: `None` makes it a verdict that no
        // simulation forgives, but for one that the fault made.
        if self.refuses() {
            return None;
        }
        self.flows.get(slot as usize)?.try_borrow_mut().ok()
    }

    fn stash(&self, index: u32) -> Option<Self::Stash<'_>> {
        self.stashes.get(index as usize)?.try_borrow_mut().ok()
    }

    fn leg_owner(&self, slot: u32) -> Option<&Cell<u64>> {
        self.leg_owners.get(slot as usize)
    }

    fn claim_leg(&self, globals: &Globals, flow: u32) -> u32 {
        if self.refuses() { NONE } else { splice::claim_leg(self, globals, flow) }
    }

    fn leg(&self, slot: u32) -> Option<Self::Leg<'_>> {
        self.legs.get(slot as usize)?.try_borrow_mut().ok()
    }

    fn pool(&self, index: u32) -> Option<&Cell<u64>> {
        self.pools.get(index as usize)
    }

    fn keep_held(&self, _: u32) {}
    fn tell(&self, _: &PinEvent) {}
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn note(&self, counter: u32) {
        self.count(counter);
    }
}
