//! What the daemon and its operator do: policies, flips, health. All of it as the real daemon writes it: a block that
//! nobody reads, then one store of the service's word.

use std::fmt;

use balancer_ebpf::layout::{
    BACKEND_UP, BACKEND_USED, Name, POLICY_POOL, Policy, SERVICE_BLOCKS, ServiceWord, SessionRule, VERSION_BACKENDS,
    VERSION_SERVES, VersionPolicy,
};
use rand::RngExt as _;

use crate::edge::SimMaps;
use crate::message::COOKIE;
use crate::oracle::{Oracle, Rules};
use crate::plan::Random;

/// The versions of the one service.
pub(crate) struct Daemon {
    /// By index; generation 0 for none.
    versions: Vec<(u32, Vec<usize>)>,
    active: usize,
    /// Backends that serve no version.
    spare: Vec<usize>,
    healthy: Vec<bool>,
    next_generation: u32,
    word: u32,
    /// Idle legs that are kept for each backend.
    pool: u32,
}

/// A policy without versions.
pub(crate) fn policy() -> Policy {
    let name = |text: &str| Name::new(text.as_bytes()).expect("a short name");
    Policy::new(SessionRule::new(name(COOKIE), name("jsessionid")))
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (generation, backends)) in self.versions.iter().enumerate().filter(|(_, (g, _))| *g != 0) {
            write!(f, "{index} of generation {generation} on {backends:?}, ")?;
        }
        write!(f, "active {}, fallback {}", self.active, self.fallback())
    }
}

impl Daemon {
    /// Deals the backends out: to one to three versions, and some to none.
    pub(crate) fn new(random: &mut Random, backends: usize, pool: u32) -> Self {
        let mut daemon = Self {
            versions: vec![(0, Vec::new()); 6],
            active: 0,
            spare: (0..backends).collect(),
            healthy: vec![true; backends],
            next_generation: 0,
            word: 0,
            pool,
        };
        daemon.add(random);
        for _ in 0..random.random_range(0..2) {
            daemon.add(random);
        }
        daemon
    }

    /// Writes the state of things, for the programs and for the oracle.
    pub(crate) fn write(&mut self, now: u64, maps: &mut SimMaps, oracle: &mut Oracle) {
        let mut policy = policy();
        self.word += 1;
        policy.generation = self.word;
        policy.active = self.active as u32;
        policy.fallback = self.fallback() as u32;
        policy.flags = if self.pool == 0 { 0 } else { POLICY_POOL };
        policy.pool_limit = self.pool;
        for (entry, (generation, backends)) in policy.versions.iter_mut().zip(&self.versions) {
            if *generation == 0 {
                continue;
            }
            let mut ids = [0u16; VERSION_BACKENDS];
            for (id, backend) in ids.iter_mut().zip(backends) {
                *id = *backend as u16;
            }
            *entry = VersionPolicy {
                generation: *generation,
                flags: VERSION_SERVES,
                backend_count: backends.len() as u32,
                birth: *generation,
                backends: ids,
            };
        }
        let block = self.word % SERVICE_BLOCKS;
        maps.policies[block as usize] = policy;
        maps.word.set(ServiceWord::new(block, self.word).0);
        oracle.ruled(now, Rules { active: self.active, fallback: self.fallback(), versions: self.versions.clone() });
    }

    /// The health checks have found out about a backend.
    pub(crate) fn noticed(&mut self, maps: &mut SimMaps, backend: usize, up: bool) {
        self.healthy[backend] = up;
        maps.backends[backend].flags = BACKEND_USED | if up { BACKEND_UP } else { 0 };
        maps.backends[backend].shunned_until.set(0);
    }

    /// Does one of the things that operators do; answers what, or nothing if it cannot be done now.
    pub(crate) fn operate(&mut self, random: &mut Random) -> Option<String> {
        let others: Vec<usize> =
            (0..self.versions.len()).filter(|v| self.versions[*v].0 != 0 && *v != self.active).collect();
        let pick = |random: &mut Random| (!others.is_empty()).then(|| others[random.random_range(0..others.len())]);
        match random.random_range(0..8) {
            0..=2 => {
                self.active = pick(random)?;
                Some(format!("flip to {}, new sessions", self.active))
            }
            3..=5 => {
                self.active = pick(random)?;
                for version in 0..self.versions.len() {
                    if self.versions[version].0 != 0 && version != self.active {
                        self.next_generation += 1;
                        self.versions[version].0 = self.next_generation;
                    }
                }
                Some(format!("flip to {}, forced", self.active))
            }
            6 => {
                let added = self.add(random)?;
                if random.random_bool(0.5) {
                    self.active = added;
                }
                Some(format!("add {added}, active {}", self.active))
            }
            _ => {
                let removed = pick(random)?;
                let (generation, backends) = std::mem::take(&mut self.versions[removed]);
                self.spare.extend(backends);
                Some(format!("remove {removed} of generation {generation}"))
            }
        }
    }

    fn fallback(&self) -> usize {
        let usable = |version: &usize| {
            let (generation, backends) = &self.versions[*version];
            *generation != 0 && *version != self.active && backends.iter().any(|backend| self.healthy[*backend])
        };
        (0..self.versions.len()).rev().find(usable).unwrap_or(self.active)
    }

    fn add(&mut self, random: &mut Random) -> Option<usize> {
        let free = self.versions.iter().position(|(generation, _)| *generation == 0)?;
        if self.spare.is_empty() {
            return None;
        }
        let take = random.random_range(1..=self.spare.len().min(3));
        self.next_generation += 1;
        self.versions[free] = (self.next_generation, self.spare.drain(..take).collect());
        Some(free)
    }
}
