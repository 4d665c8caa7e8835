//! What ought to happen: a model of policies, bindings and mishaps that knows nothing of packets.
//!
//! It learns of requests from clients, of what became of them from backends, and of policies from the daemon. Between a
//! request's departure and its arrival the policy may change; whatever was right at any moment in between is right.

use std::collections::{BTreeMap, BTreeSet};

use crate::http::Head;

/// A request, from its client's plan to its end.
pub(crate) struct Record {
    /// Its head, byte for byte: what a backend has to see.
    pub(crate) head: Vec<u8>,
    pub(crate) body_len: usize,
    pub(crate) body_hash: u64,
    pub(crate) is_head: bool,
    /// Its body is in chunks: from here on nothing is decided on its connection.
    pub(crate) is_chunked: bool,
    /// Session ids, in the order in which they count.
    pub(crate) ids: Vec<String>,
    /// The client's host and port.
    pub(crate) from: ([u8; 4], u16),
    pub(crate) sent: u64,
    /// The backend that has read its head.
    pub(crate) arrived: Option<usize>,
    /// What a session is bound to that is born in it.
    pub(crate) born: Option<Bound>,
    pub(crate) answer: Option<Answer>,
    /// A response or an excusable error has ended it.
    pub(crate) over: bool,
    /// Why an error would be nobody's fault.
    pub(crate) excuse: Option<&'static str>,
}

/// What a backend answered.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) backend: usize,
    pub(crate) status: u16,
    pub(crate) len: usize,
    pub(crate) seed: u64,
    /// The session that it ends.
    pub(crate) deletes: Option<String>,
}

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
    wild: bool,
}

impl Bound {
    /// Whether it may hold under the present generation of its version, and whether it may not.
    fn holds(&self, rules: &Rules) -> (bool, bool) {
        let now = rules.versions.get(self.version).map_or(0, |(generation, _)| *generation);
        let may = now != 0 && self.generations.contains(&now);
        (may, !may || self.generations.iter().any(|generation| *generation != now))
    }
}

/// The model.
#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) records: Vec<Record>,
    rules: Vec<(u64, Rules)>,
    bindings: BTreeMap<String, Bound>,
    /// Every id that a backend ever issued.
    pub(crate) issued: BTreeSet<String>,
    /// Connections that something has happened to.
    lost: BTreeSet<([u8; 4], u16)>,
    /// Connections on which nothing is decided any more, and the backend that they stay with.
    settled: BTreeMap<([u8; 4], u16), usize>,
    /// When each backend was not to be relied on, and why.
    troubles: Vec<Vec<(u64, u64, &'static str)>>,
}

impl Oracle {
    pub(crate) fn new(backends: usize) -> Self {
        Self { troubles: vec![Vec::new(); backends], ..Self::default() }
    }

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

    fn troubled(&self, backend: usize, since: u64) -> bool {
        self.troubles[backend].iter().any(|(_, until, _)| *until >= since)
    }

    fn rules_since(&self, since: u64) -> &[(u64, Rules)] {
        let first = self.rules.iter().rposition(|(at, _)| *at < since).unwrap_or(0);
        &self.rules[first..]
    }

    /// A backend has read the head of request `number`. An error says whose request it should have been.
    pub(crate) fn arrived(&mut self, number: usize, backend: usize) -> Result<(), String> {
        let record = self.records.get(number).ok_or("a request that nobody sent")?;
        // A backend that dies may take the acknowledgement of a request with it, which then goes to another one.
        if let Some(first) = record.arrived.filter(|_| record.excuse.is_none()) {
            return Err(format!("request {number} arrived at backend {backend}, and before at {first}"));
        }
        if let Some(stays) = self.settled.get(&record.from) {
            if *stays != backend {
                return Err(format!(
                    "request {number} arrived at backend {backend}; its connection stays with {stays}"
                ));
            }
            // The generation is the one of the last decision, whenever that was.
            let mut born = self.bound_to(backend, record.sent);
            born.wild = true;
            self.records[number].born = Some(born);
            self.records[number].arrived = Some(backend);
            return Ok(());
        }
        if record.is_chunked {
            self.settled.insert(record.from, backend);
        }
        let record = &self.records[number];
        let id = record.ids.iter().find(|id| self.bindings.contains_key(*id)).cloned();
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
            return Err(format!("request {number} arrived at backend {backend}, not at {}", wanted.join(" or ")));
        }
        if let (Some(wild), Some(id)) = (moved.map(|bound| bound.wild), id) {
            let mut bound = self.bound_to(backend, record.sent);
            // The binding names what was tried first, which nobody can tell from here.
            bound.wild = wild || (0..self.troubles.len()).any(|backend| self.troubled(backend, record.sent));
            self.bindings.insert(id, bound);
        }
        self.records[number].born = Some(self.bound_to(backend, self.records[number].sent));
        self.records[number].arrived = Some(backend);
        Ok(())
    }

    /// The binding of what is born on `backend` in a request that was sent at `since`.
    fn bound_to(&self, backend: usize, since: u64) -> Bound {
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

    /// A backend answers a request, and issues a session by it if `issues` says so.
    pub(crate) fn answers(&mut self, number: usize, answer: Answer, issues: Option<&str>) -> Result<(), String> {
        let record = &self.records[number];
        if record.answer.is_some() && record.excuse.is_none() {
            return Err(format!("request {number} was executed twice"));
        }
        if let Some(id) = issues {
            // A session belongs to the version as it was when its request was decided.
            let bound = record.born.clone().ok_or("an answer without a request")?;
            self.bindings.insert(id.to_owned(), bound);
            self.issued.insert(id.to_owned());
        }
        if let Some(bound) = answer.deletes.as_ref().and_then(|id| self.bindings.get_mut(id)) {
            // Gone as soon as the response has passed the director, and nobody can tell when that will be.
            bound.wild = true;
        }
        self.records[number].answer = Some(answer);
        Ok(())
    }

    /// A response's head and body have reached the client.
    pub(crate) fn ends(&mut self, number: usize, head: &Head, body: &[u8], expected: &[u8]) -> Result<(), String> {
        let record = &mut self.records[number];
        let Some(answer) = &record.answer else { return Err(format!("request {number} was answered by nobody")) };
        if head.number("X-Request") != Some(number) || head.number("X-Backend") != Some(answer.backend) {
            return Err(format!(
                "request {number} got the answer to {:?} by {:?}",
                head.field("X-Request"),
                head.field("X-Backend")
            ));
        }
        if head.status != answer.status || body.len() != answer.len || body != expected {
            return Err(format!("the response to request {number} is damaged"));
        }
        record.over = true;
        let (from, deletes) = (record.from, answer.deletes.clone());
        // The director does not know which of several requests is answered, and forgets nothing then.
        let followed = self.records[number + 1..].iter().any(|later| later.from == from && !later.over);
        if let Some(id) = deletes.filter(|_| !followed) {
            self.bindings.remove(&id);
        }
        Ok(())
    }

    /// Request `number` ended in an error: a violation if there is no excuse.
    pub(crate) fn fails(&mut self, number: usize, now: u64, how: &str) -> Result<(), String> {
        let sent = self.records[number].sent;
        let hopeless = self.rules_since(sent).iter().any(|(_, rules)| {
            let down = |version: usize| {
                rules.versions.get(version).is_none_or(|(_, of)| of.iter().all(|b| self.troubled(*b, sent)))
            };
            down(rules.active) && down(rules.fallback)
        });
        let record = &mut self.records[number];
        record.over = true;
        for id in record.ids.clone() {
            if let Some(bound) = self.bindings.get_mut(&id) {
                bound.wild = true;
            }
        }
        let record = &self.records[number];
        if record.excuse.is_some() || hopeless || self.lost.contains(&record.from) {
            return Ok(());
        }
        let place = record.arrived.map_or("no backend had it".to_owned(), |b| format!("backend {b} had it"));
        Err(format!("request {number} failed after {} ms: {how}; {place}", (now - sent) / 1000))
    }

    /// A client begins a connection.
    pub(crate) fn connects(&mut self, from: ([u8; 4], u16)) {
        self.lost.remove(&from);
        self.settled.remove(&from);
    }

    /// Whether the last request of a connection, at least, was excused.
    pub(crate) fn is_excused(&self, from: ([u8; 4], u16)) -> bool {
        self.lost.contains(&from)
    }

    /// Whatever the connection `from` has under way may fail.
    pub(crate) fn excuse(&mut self, from: ([u8; 4], u16), why: &'static str) {
        self.lost.insert(from);
        for record in self.records.iter_mut().filter(|record| record.from == from && !record.over) {
            record.excuse = Some(why);
        }
    }
}
