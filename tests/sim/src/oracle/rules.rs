//! Policies, bindings, and backends that are not to be relied on: which backend is right for a request.

use super::Oracle;

/// A policy as the oracle sees it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) active: usize,
    pub(crate) fallback: usize,
    /// Generation (0 for none) and backends of each version.
    pub(crate) versions: Vec<(u32, Vec<usize>)>,
}

/// A session's binding.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    version: usize,
    /// Generations that it may carry: more than one if the policy changed while it was made.
    generations: Vec<u32>,
    /// `None` if it may be any of the version.
    backend: Option<usize>,
    /// Nothing is known any more: a request with it got lost.
    pub(super) wild: bool,
}

impl Bound {
    /// Whether it may hold under the present generation of its version, and whether it may not.
    fn holds(&self, rules: &Rules) -> (bool, bool) {
        let now = rules.versions.get(self.version).map_or(0, |(generation, _)| *generation);
        let may = now != 0 && self.generations.contains(&now);
        (may, !may || self.generations.iter().any(|generation| *generation != now))
    }
}

impl Oracle {
    /// The daemon has written a policy.
    pub(crate) fn ruled(&mut self, now: u64, rules: Rules) {
        self.rules.push((now, rules));
    }

    /// A backend is not to be relied on from `from` until `until`.
    pub(crate) fn trouble(&mut self, backend: usize, from: u64, until: u64, why: &'static str) {
        self.troubles[backend].push((from, until, why));
    }

    /// The trouble that began with `why` ends.
    pub(crate) fn relief(&mut self, backend: usize, now: u64, why: &'static str) {
        for trouble in self.troubles[backend].iter_mut().filter(|t| t.2 == why && t.1 == u64::MAX) {
            trouble.1 = now;
        }
    }

    pub(super) fn troubled(&self, backend: usize, since: u64) -> bool {
        self.troubles[backend].iter().any(|(_, until, _)| *until >= since)
    }

    /// Whether a backend has been dead at some moment since `since`, or was said to be.
    pub(super) fn is_dead(&self, backend: usize, since: u64) -> bool {
        self.troubles[backend].iter().any(|(_, until, why)| *until >= since && *why == "is dead")
    }

    fn rules_since(&self, since: u64) -> &[(u64, Rules)] {
        let first = self.rules.iter().rposition(|(at, _)| *at < since).unwrap_or(0);
        &self.rules[first..]
    }

    /// Whether at some moment since `since` no backend could have taken a request.
    pub(super) fn is_hopeless(&self, since: u64) -> bool {
        self.rules_since(since).iter().any(|(_, rules)| {
            let down = |version: usize| {
                rules.versions.get(version).is_none_or(|(_, of)| of.iter().all(|b| self.troubled(*b, since)))
            };
            down(rules.active) && down(rules.fallback)
        })
    }

    /// A backend has got a request by a decision: an error if none since it was sent could have been that.
    pub(super) fn decided(&mut self, number: usize, backend: usize) -> Result<(), String> {
        let record = &self.records[number];
        let id = record.request.ids.iter().find(|id| self.bindings.contains_key(*id)).cloned();
        let bound = id.as_ref().and_then(|id| self.bindings.get(id));
        let mut moved = None;
        let mut right = bound.is_some_and(|bound| bound.wild);
        let mut wanted = Vec::new();
        for (_, rules) in self.rules_since(record.sent) {
            let of = |version: usize| rules.versions.get(version).map_or(&[][..], |(_, backends)| backends);
            let down = |version: usize| of(version).iter().all(|backend| self.troubled(*backend, record.sent));
            let serves = |version: usize| of(version).contains(&backend);
            let substitute = serves(rules.active) || (down(rules.active) && serves(rules.fallback));
            let (holds, gone) = bound.map_or((false, true), |bound| bound.holds(rules));
            if let Some(bound) = bound.filter(|_| holds) {
                right |= match bound.backend {
                    Some(own) => own == backend || (serves(bound.version) && self.troubled(own, record.sent)),
                    None => serves(bound.version),
                };
                right |= down(bound.version) && substitute;
                wanted.push(format!("its session's backend {:?} of version {}", bound.backend, bound.version));
            }
            if gone {
                wanted.push(format!("version {}", rules.active));
                if substitute {
                    right = true;
                    moved = bound;
                }
            }
        }
        if !right {
            let (ids, wanted) = (&record.request.ids, wanted.join(" or "));
            return Err(format!(
                "request {number} of {ids:?}, {bound:?}, arrived at backend {backend}, not at {wanted}"
            ));
        }
        if let (Some(wild), Some(id)) = (moved.map(|bound| bound.wild), id) {
            let mut bound = self.bound_to(backend, record.sent);
            // The binding names what was tried first, which nobody can tell from here.
            bound.wild = wild || (0..self.troubles.len()).any(|backend| self.troubled(backend, record.sent));
            self.bindings.insert(id, bound);
        }
        Ok(())
    }

    /// A backend has got a request that may have been decided or not: its session's binding may have moved.
    pub(super) fn may_have_decided(&mut self, number: usize) {
        for id in &self.records[number].request.ids {
            if let Some(bound) = self.bindings.get_mut(id) {
                bound.wild = true;
            }
        }
    }

    /// The binding of what is born on `backend` in a request that was sent at `since`.
    pub(super) fn bound_to(&self, backend: usize, since: u64) -> Bound {
        let mut bound = Bound { version: usize::MAX, generations: Vec::new(), backend: Some(backend), wild: false };
        for (_, rules) in self.rules_since(since) {
            for (index, (generation, backends)) in rules.versions.iter().enumerate() {
                if *generation != 0 && backends.contains(&backend) {
                    bound.version = index;
                    bound.generations.push(*generation);
                }
            }
        }
        bound
    }
}
