//! What metrics are made of: the status, all counters, and what this daemon has done.

use super::{Director, counters};
use crate::{
    exit::Failure,
    metrics::{Counted, Sample, Tallies, ready},
    model::{Mode, Verb},
};

/// How a verb changes what new sessions get, if it does: one of [`crate::metrics::FLIPS`].
const fn flip(verb: &Verb) -> Option<&'static str> {
    match verb {
        Verb::Flip { mode: mode @ (Mode::NewSessions | Mode::Forced | Mode::Exclusive), .. } => Some(mode.as_str()),
        Verb::Canary { .. } => Some("percent"),
        Verb::Rollback { .. } => Some("rollback"),
        Verb::Promote => Some("promote"),
        Verb::Abort { .. } => Some("abort"),
        Verb::Pause { .. }
        | Verb::Resume
        | Verb::Add { .. }
        | Verb::Remove { .. }
        | Verb::Adopt { .. }
        | Verb::Drain { .. }
        | Verb::Retire { .. }
        | Verb::AddPin { .. }
        | Verb::RemovePin { .. }
        | Verb::Weigh { .. } => None,
    }
}

/// Counts something.
fn count<K: Ord>(tally: &mut std::collections::BTreeMap<K, u64>, key: K) {
    *tally.entry(key).or_default() += 1;
}

impl Director {
    /// All that metrics tell. Sessions are counted anew as seldom as for `status`.
    pub fn sample(&mut self) -> Result<Sample, Failure> {
        let status = self.status(true)?;
        let values = self.plane.counters()?;
        let counters = counters::all().map(|(index, what, name)| Counted {
            what,
            name,
            value: values.get(index).copied().unwrap_or_default(),
        });
        Ok(Sample {
            status,
            counters: counters.collect(),
            tallies: Tallies { events_dropped: self.journal.dropped(), ..self.tallies.clone() },
            table_full: self.table_is_full(),
            state_unsaved: self.unsaved.is_some(),
        })
    }

    /// What is in the way of serving.
    pub fn readiness(&mut self) -> Result<Vec<String>, Failure> {
        Ok(ready(&self.status(false)?, self.table_is_full()))
    }

    /// Counts a change that an operator made.
    pub(super) fn tally(&mut self, service: &str, verb: &Verb) {
        count(&mut self.tallies.changes, (service.to_owned(), verb.name().to_owned()));
        if let Some(how) = flip(verb) {
            count(&mut self.tallies.flips, (service.to_owned(), how));
        }
    }

    /// Counts one that the director decided on.
    pub(super) fn tally_own(&mut self, service: &str, verb: &str) {
        count(&mut self.tallies.changes, (service.to_owned(), verb.to_owned()));
        if verb == "select" {
            count(&mut self.tallies.flips, (service.to_owned(), "select"));
        }
    }
}
