//! How many entries the big maps get, and what memory all of them take.

#![forbid(unsafe_code)]

use balancer_ebpf::layout::{BUCKET_WAYS, PORTS_PER_SOURCE, hint_buckets, map};

use crate::{config::Config, plan};

/// Entries of the maps that the config sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Slots of the flow table, as the map is made. A source that is added later makes more of them usable.
    pub flows: u32,
    /// Slots that the sources have ports for.
    pub usable_flows: u32,
    pub stashes: u32,
    /// Buckets of the session table: a power of two.
    pub buckets: u32,
}

impl Sizes {
    pub fn of(config: &Config) -> Self {
        // A slot may get a leg of either family, so the one with fewer sources counts.
        let sources = plan::sources(config).1.into_iter().filter(|sources| *sources != 0).min();
        let ports = sources.unwrap_or_default().saturating_mul(PORTS_PER_SOURCE);
        // Half full at the number that was asked for, so that even an unlucky bucket has room.
        let buckets = (config.sessions / (BUCKET_WAYS as u32 / 2)).max(1).next_power_of_two();
        Self {
            flows: config.flows,
            usable_flows: config.flows.min(ports),
            // A stash is held only while a leg opens: at 1 ms per opening, 4096 of them carry 4 M openings a second.
            stashes: (config.flows / 64).clamp(256, 16_384),
            buckets,
        }
    }

    /// The entries of `name`, if the config sizes it.
    pub fn entries(&self, name: &str) -> Option<u32> {
        match name {
            map::FLOWS | map::LEG_OWNERS | map::LEGS => Some(self.flows),
            // A flow whose leg starts at the client's address is found by the leg too.
            map::FLOW_KEYS => Some(self.flows.saturating_mul(2)),
            map::FLOW_HINTS => Some(hint_buckets(self.flows)),
            map::STASHES => Some(self.stashes),
            map::SESSIONS => Some(self.buckets),
            _ => None,
        }
    }

    /// The key of the config that `name` is sized by.
    pub fn key(name: &str) -> &'static str {
        match name {
            map::SESSIONS => "sessions",
            _ => "flows",
        }
    }
}

/// A kind of map, as far as its memory goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Array,
    PerCpu,
    Hash,
    /// Of bytes, not entries.
    Ring,
}

/// Bytes that a map takes, near enough: the kernel's own bookkeeping per map is not counted.
pub fn memory(kind: Kind, key: u32, value: u32, entries: u32, cpus: u32) -> u64 {
    let rounded = |bytes: u32| u64::from(bytes).next_multiple_of(8);
    let entries = u64::from(entries);
    match kind {
        Kind::Array => rounded(value) * entries,
        Kind::PerCpu => rounded(value) * entries * u64::from(cpus),
        // An element's header is 48 bytes (`struct htab_elem`), and there is a bucket of 16 for each.
        Kind::Hash => (rounded(key) + rounded(value) + 48 + 16) * entries,
        Kind::Ring => entries,
    }
}

/// Bytes for a person.
pub fn human(bytes: u64) -> String {
    const MIB: u64 = 1 << 20;
    match bytes {
        0..MIB => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes.div_ceil(MIB)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(sources: usize, flows: u32, sessions: u32) -> Sizes {
        let sources: Vec<String> = (1..=sources).map(|n| format!("\"10.0.0.{n}\"")).collect();
        let text = format!(
            "name = \"x\"\ninterfaces = [\"a\"]\nsources = [{}]\nflows = {flows}\nsessions = {sessions}\n\
             [[service]]\nname = \"s\"\nlisten = \"10.0.1.1:80\"\n",
            sources.join(",")
        );
        Sizes::of(&Config::parse(&text).unwrap())
    }

    #[test]
    fn sources_limit_flows_and_buckets_are_half_full() {
        assert_eq!(sizes(1, 262_144, 1_048_576).usable_flows, 64_512);
        assert_eq!(sizes(5, 262_144, 1_048_576).usable_flows, 262_144);
        assert_eq!(sizes(1, 1000, 1_048_576).usable_flows, 1000);
        assert_eq!(sizes(1, 1000, 1_048_576).buckets, 262_144);
        assert_eq!(sizes(1, 1000, 1_000_000).buckets, 262_144);
        assert_eq!(sizes(1, 1000, 100).buckets, 32);
        assert_eq!(sizes(1, 262_144, 100).stashes, 4096);
    }

    #[test]
    fn memory_of_the_default_session_table() {
        assert_eq!(human(memory(Kind::Array, 4, 256, 262_144, 2)), "64 MiB");
        assert_eq!(human(memory(Kind::PerCpu, 4, 8, 16, 2)), "1 KiB");
    }
}
