//! What the director does as time passes, once a second. Nothing in the path of a request waits for it: with the daemon dead,
//! what is here stays as it was last said.

use std::{collections::BTreeMap, time::Duration};

use balancer_ebpf::layout::MAX_VERSIONS;
use log::warn;

use super::Director;
use crate::{exit::Failure, model};

/// How often.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// How often what the programs tell is taken in: who follows `events` should not wait for it.
pub(super) const LISTEN: Duration = Duration::from_millis(200);

/// One thing that is done, and how its failure is spoken of.
type Part = (&'static str, fn(&mut Director) -> Result<(), Failure>);

const PARTS: &[Part] = &[
    ("look for tables that are full", Director::watch_tables),
    ("look for missing versions", Director::watch_missing),
    ("write weights", Director::grow_weights),
    ("look at what requests found of backends", Director::look_at_back_offs),
    ("go on with a drain", Director::look_at_drains),
    ("look at a canary", Director::look_at_canaries),
    ("take expired pins away", Director::expire_pins),
    ("write the state", Director::save_again),
];

impl Director {
    pub(super) fn tick(&mut self) {
        for (what, part) in PARTS {
            if let Err(failure) = part(self) {
                warn!("cannot {what}: {failure}");
            }
        }
    }

    /// Notices requests that are answered with a 503 because their version is missing (D12).
    fn watch_missing(&mut self) -> Result<(), Failure> {
        let mut missed = BTreeMap::new();
        for service in &self.state.services {
            for index in 0..MAX_VERSIONS {
                missed.insert((service.id, index), self.plane.outcomes(service.id, index)?.missing);
            }
        }
        let Some(before) = self.missed.replace(missed.clone()) else { return Ok(()) };
        for service in &self.state.services {
            for index in 0..MAX_VERSIONS {
                let at = (service.id, index);
                let count = |of: &BTreeMap<_, u64>| of.get(&at).copied().unwrap_or_default();
                // A version that is new at its index begins anew.
                let more = count(&missed).checked_sub(count(&before)).unwrap_or_else(|| count(&missed));
                if more == 0 {
                    continue;
                }
                let down = |version: &&model::Version| self.conditions.of_version(version) == model::Condition::Down;
                let version = service.versions.iter().find(|version| version.index == index).filter(down);
                let requests = if more == 1 { "1 request was" } else { &format!("{more} requests were") };
                let text = match version {
                    Some(version) => {
                        format!("{requests} answered with a 503: {} has no healthy backend", version.label)
                    }
                    None => format!("{requests} answered with a 503: their version is missing"),
                };
                warn!("{}: {text}", service.name);
                self.journal.add(Some(&service.name), "missing", text);
            }
        }
        Ok(())
    }
}
