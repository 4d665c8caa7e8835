//! The layout of everything that lies in a kernel map, read and written by the programs and by the daemon.
//!
//! Every type is `repr(C)`, without padding, enums, `bool` or `Option`, of integers in the machine's byte order unless a
//! comment says *network order*. [`VERSION`] names the pin directory: maps of another layout are never adopted.

mod address;
mod backend;
mod buffer;
mod errand;
mod flow;
mod globals;
mod hint;
mod leg;
mod listener;
mod outcomes;
mod pin;
mod policy;
mod rules;
mod session;
mod sieve;
mod stash;
#[cfg(test)]
mod tests;
mod traffic;

pub use address::*;
pub use backend::*;
pub use buffer::*;
pub use errand::*;
pub use flow::*;
pub use globals::*;
pub use hint::*;
pub use leg::*;
pub use listener::*;
pub use outcomes::*;
pub use pin::*;
pub use policy::*;
pub use rules::*;
pub use session::*;
pub use sieve::*;
pub use stash::*;
pub use traffic::*;

/// Changes whenever any layout below does.
pub const VERSION: u32 = 4;

/// Names of the maps, as pinned below `<bpffs>/balancer/<name>/v<VERSION>/`.
pub mod map {
    /// `HASH` [`super::ListenerKey`] → [`super::Listener`].
    pub const LISTENERS: &str = "LISTENERS";
    /// `ARRAY` service id → `u64` service word ([`super::ServiceWord`]), mmapable: a flip is one store here.
    pub const SERVICES: &str = "SERVICES";
    /// `ARRAY` policy block index → [`super::Policy`].
    pub const POLICIES: &str = "POLICIES";
    /// `ARRAY` index of a listener → `u64` word ([`super::ServiceWord`]) of its rules, mmapable; 0: it has none.
    pub const LISTENER_WORDS: &str = "LISTENER_WORDS";
    /// `ARRAY` index of a listener × [`super::RULE_BLOCKS`] and on → [`super::RuleSet`].
    pub const RULES: &str = "RULES";
    /// `ARRAY` backend id → [`super::Backend`].
    pub const BACKENDS: &str = "BACKENDS";
    /// `HASH` [`super::FlowKey`] → `u32` slot.
    pub const FLOW_KEYS: &str = "FLOW_KEYS";
    /// `ARRAY` [`super::HintPlace::bucket`] → [`super::Hints`], mmapable, so that a bucket is a line of cache.
    pub const FLOW_HINTS: &str = "FLOW_HINTS";
    /// `ARRAY` slot → [`super::FlowSlot`].
    pub const FLOWS: &str = "FLOWS";
    /// `ARRAY` slot of a leg → `u64` whose it is ([`super::owned_by`]). It is what each packet of a backend asks first: beside each other, eight
    /// of them share a line of cache and 512 a page, where a million of [`super::LegSlot`] are a miss of cache and TLB each.
    pub const LEG_OWNERS: &str = "LEG_OWNERS";
    /// `ARRAY` slot → [`super::LegSlot`].
    pub const LEGS: &str = "LEGS";
    /// `ARRAY` [`super::pool`] → [`super::PoolWord`], mmapable.
    pub const POOLS: &str = "POOLS";
    /// `ARRAY` stash index → [`super::Stash`].
    pub const STASHES: &str = "STASHES";
    /// `ARRAY` bucket → [`super::Bucket`].
    pub const SESSIONS: &str = "SESSIONS";
    /// `PERCPU_ARRAY` [`crate::verdict::Verdict`] as `u32` → `u64`.
    pub const COUNTERS: &str = "COUNTERS";
    /// `ARRAY` of one [`super::Globals`].
    pub const GLOBALS: &str = "GLOBALS";
    /// `ARRAY` of one [`super::Hands`].
    pub const HANDS: &str = "HANDS";
    /// `ARRAY` service id × [`super::MAX_VERSIONS`] + version → [`super::Traffic`].
    pub const TRAFFIC: &str = "TRAFFIC";
    /// `PERCPU_ARRAY`, indexed like `TRAFFIC` → [`super::Outcomes`].
    pub const OUTCOMES: &str = "OUTCOMES";
    /// `PERCPU_ARRAY` of one [`crate::work::Work`]: never pinned for anybody's eyes, scratch memory.
    pub const WORK: &str = "WORK";
    /// `HASH` [`super::PinKey`] → [`super::Pin`].
    pub const PINS: &str = "PINS";
    /// `LPM_TRIE` [`super::SourceKey`] → [`super::Pin`] (Linux 4.11).
    pub const SOURCE_PINS: &str = "SOURCE_PINS";
    /// `QUEUE` of slots of flows whose requests are held, as `u32` (Linux 4.20).
    pub const HELD: &str = "HELD";
    /// `RINGBUF` of [`super::PinEvent`] (Linux 5.8).
    pub const EVENTS: &str = "EVENTS";
    /// `HASH` ifindex `u32` → `u32` flags ([`super::INTERFACE_PEER`]).
    pub const INTERFACES: &str = "INTERFACES";
    /// `HASH` [`super::Address`] → `u32` of `ROLE_*`: the VIPs, the legs' source addresses, and the backends of `gateway`
    /// services.
    pub const ADDRESSES: &str = "ADDRESSES";
    /// `ARRAY` of one [`super::Sieve`] of them.
    pub const SIEVE: &str = "SIEVE";
}
