//! What the daemon asks of the kernel's maps, so that everything above can be tested without a kernel.

#![forbid(unsafe_code)]

use std::{collections::BTreeMap, sync::Arc};

use balancer_ebpf::layout::{
    Address, Backend, Bucket, FlowKey, Globals, Listener, ListenerKey, Pin, PinEvent, PinKey, Policy, RuleSet,
    SourceKey, Traffic,
};

use crate::model::Tally;

/// An entry of the session table, as it was at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub tag: u64,
    /// A [`balancer_ebpf::layout::Binding`].
    pub binding: u64,
    /// Seconds: last seen (low half), made (high half).
    pub times: u64,
    pub bucket_hash: u64,
}

/// The session table, to be read while the programs change it.
pub trait SessionTable: Send + Sync {
    /// Visits the entries in use, each whole.
    fn each(&self, visit: &mut dyn FnMut(Image));
}

/// A client's connection that has a leg, as it was at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSight {
    pub slot: u32,
    pub key: FlowKey,
    pub service: u32,
    /// Index of the version.
    pub version: u32,
    /// Its requests or responses are not followed: it changed protocols, or is a tunnel.
    pub opaque: bool,
    /// Requests without a complete response.
    pub outstanding: u32,
}

/// What became of a version's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    pub tally: Tally,
    /// The millisecond of the boot clock in which a client left last whose request was being worked on; 0: none ever did.
    pub left_at: u64,
    /// Requests that were answered with a 503 because the version is gone, or has no backend that takes work.
    pub missing: u64,
}

/// The maps of a running director.
pub trait Dataplane: Send {
    fn globals(&self) -> anyhow::Result<Globals>;

    /// Addresses and what they are to the director: `ROLE_*`.
    fn addresses(&self) -> anyhow::Result<BTreeMap<Address, u32>>;
    fn set_addresses(&mut self, wanted: &BTreeMap<Address, u32>) -> anyhow::Result<()>;

    fn listeners(&self) -> anyhow::Result<Vec<(ListenerKey, Listener)>>;
    fn set_listener(&mut self, key: ListenerKey, listener: Listener) -> anyhow::Result<()>;
    fn remove_listener(&mut self, key: ListenerKey) -> anyhow::Result<()>;

    fn backend(&self, id: u16) -> anyhow::Result<Backend>;
    /// Writes a backend, but for what the programs keep in it.
    fn set_backend(&mut self, id: u16, backend: &Backend) -> anyhow::Result<()>;

    /// Forgets what the programs noted about a backend that did not answer: it is passed over no longer.
    fn forgive(&mut self, id: u16) -> anyhow::Result<()>;

    /// Legs to a backend that wait for a request.
    fn idle_legs(&self, id: u16) -> u64;
    /// Gives a backend's idle legs up: each is reset when its slot is used again.
    fn empty_pools(&mut self, id: u16) -> anyhow::Result<()>;

    /// The policy that decides the service's requests now.
    fn policy(&self, service: u32) -> anyhow::Result<Option<Policy>>;
    /// Makes `policy` decide from one instant on; false if it does already.
    fn publish(&mut self, service: u32, policy: Policy) -> anyhow::Result<bool>;

    /// The rules of a listener, by its index.
    fn rules(&self, listener: u32) -> anyhow::Result<Option<RuleSet>>;
    /// Makes these the rules of a listener from one instant on; false if they are already.
    fn publish_rules(&mut self, listener: u32, rules: Option<&RuleSet>) -> anyhow::Result<bool>;

    fn traffic(&self, service: u32, version: u32) -> anyhow::Result<Traffic>;
    /// What became of a version's requests, over all CPUs.
    fn outcomes(&self, service: u32, version: u32) -> anyhow::Result<Outcomes>;
    /// Forgets what a former version counted at this index, but for what still goes on.
    fn reset_traffic(&mut self, service: u32, version: u32) -> anyhow::Result<()>;
    /// By index, over all CPUs.
    fn counters(&self) -> anyhow::Result<Vec<u64>>;

    /// Pins that requests carry, and those by where they come from.
    fn pins(&self) -> anyhow::Result<BTreeMap<PinKey, Pin>>;
    fn source_pins(&self) -> anyhow::Result<BTreeMap<(SourceKey, u32), Pin>>;
    /// Makes the pins these; the second of a source's key is how many bits of it count.
    fn set_pins(
        &mut self,
        wanted: &BTreeMap<PinKey, Pin>,
        sources: &BTreeMap<(SourceKey, u32), Pin>,
    ) -> anyhow::Result<()>;
    /// One pin, as the data path finds it.
    fn pin(&self, key: &PinKey) -> Option<Pin>;
    fn source_pin(&self, key: &SourceKey) -> Option<Pin>;
    /// What the programs have told since the last time.
    fn told(&mut self) -> Vec<PinEvent>;

    /// The connections that have a leg to a version.
    fn flows_of(&self, service: u32, version: u32) -> anyhow::Result<Vec<FlowSight>>;
    /// Resets both ends of a connection; false if it has ended, or is another one by now.
    fn close_flow(&mut self, flow: &FlowSight) -> anyhow::Result<bool>;
    /// Lets the requests of a service come in again that are held; how many did.
    fn release_held(&mut self, service: u32) -> anyhow::Result<u64>;

    /// Buckets of the session table.
    fn buckets(&self) -> u32;
    /// A copy of a bucket.
    fn bucket(&self, index: u32) -> Option<Bucket>;
    /// Forgets the sessions that are bound to a backend; how many there were.
    fn forget_sessions(&mut self, id: u16) -> anyhow::Result<u64>;
    /// All of the table, for whoever does not want to keep the director waiting.
    fn sessions(&self) -> Arc<dyn SessionTable>;

    /// Takes links and pins away; answers what was removed.
    fn detach(&mut self) -> anyhow::Result<Vec<String>>;
}
