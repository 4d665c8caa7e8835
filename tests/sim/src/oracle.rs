//! What ought to happen: a model of policies, bindings and mishaps that knows nothing of packets.
//!
//! It learns of requests from clients, of what became of them from backends, and of policies from the daemon. Between a
//! request's departure and its arrival the policy may change; whatever was right at any moment in between is right.

mod rules;
mod stays;

pub(crate) use rules::{Bound, Rules};
pub(crate) use stays::{Stay, Why};

use std::collections::{BTreeMap, BTreeSet};

use crate::message::{Reply, Request};
use crate::tally::{Feature, Tally};

/// A client's host and port.
pub(crate) type From = ([u8; 4], u16);

/// A request, from its client's plan to its end.
pub(crate) struct Record {
    /// Every byte of it, and what there is to know of it.
    pub(crate) request: Request,
    pub(crate) from: From,
    pub(crate) sent: u64,
    /// The backends that have read its head, one after the other.
    pub(crate) attempts: Vec<Attempt>,
    /// A response or an excusable error has ended it.
    pub(crate) over: bool,
    /// It was a response.
    pub(crate) answered: bool,
    /// Why an error would be nobody's fault.
    pub(crate) excuse: Option<&'static str>,
}

/// A backend that works on a request.
pub(crate) struct Attempt {
    pub(crate) backend: usize,
    /// What a session is bound to that is born in it.
    born: Bound,
    /// The request has been read as far as the backend wants it, so that it has had its effect.
    pub(crate) executed: bool,
    /// The backend, or its connection, died in the middle of it.
    pub(crate) died: bool,
    /// The director has passed some of its answer on.
    spoke: bool,
    /// The answer as far as it has been made.
    pub(crate) reply: Reply,
    /// The session that it ends.
    deletes: Option<String>,
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
    lost: BTreeSet<From>,
    /// Connections that a backend has reset without a word of what it had heard.
    unsure: BTreeSet<From>,
    /// Connections on which a backend spoke unasked.
    unasked: BTreeSet<From>,
    /// Connections on which not every request is decided any more.
    stays: BTreeMap<From, Stay>,
    /// When each backend was not to be relied on, and why.
    troubles: Vec<Vec<(u64, u64, &'static str)>>,
}

impl Oracle {
    pub(crate) fn new(backends: usize) -> Self {
        Self { troubles: vec![Vec::new(); backends], ..Self::default() }
    }

    /// A client begins a connection.
    pub(crate) fn connects(&mut self, from: From) {
        self.lost.remove(&from);
        self.unasked.remove(&from);
        self.unsure.remove(&from);
        self.stays.remove(&from);
    }

    /// A client plans a request.
    pub(crate) fn asks(&mut self, now: u64, from: From, request: Request) {
        self.records.push(Record {
            request,
            from,
            sent: now,
            attempts: Vec::new(),
            over: false,
            answered: false,
            excuse: None,
        });
    }

    /// A backend has read the head of request `number`: the how manieth to do so? An error says whose request it should
    /// have been.
    pub(crate) fn arrived(&mut self, number: usize, backend: usize) -> Result<usize, String> {
        let record = self.records.get(number).ok_or("a request that nobody sent")?;
        if let Some(before) = record.attempts.last() {
            let place = format!("request {number} arrived at backend {backend}, and before at {}", before.backend);
            // A leg that says nothing may be given up for what is safe; else it has to have died.
            if !before.died && !record.request.is_safe {
                return Err(format!("{place}, which lives"));
            }
            if before.spoke {
                return Err(format!("{place}, whose answer had begun to reach the client"));
            }
            if before.executed && !record.request.is_safe {
                return Err(format!("{place}, which executed it, and it is not safe to repeat"));
            }
        }
        let stay = self.stays.get(&record.from).copied();
        let stayed = stay.is_some_and(|stay| stay.backend == backend);
        if let Some(stay) = stay.filter(|stay| stay.surely && !stayed) {
            return Err(format!("request {number} arrived at backend {backend}; its connection stays with {stay}"));
        }
        let mut born = self.bound_to(backend, self.records[number].sent);
        if stayed {
            // The generation may be the one of the last decision, whenever that was.
            born.wild = true;
            self.may_have_decided(number);
        } else {
            self.decided(number, backend)?;
        }
        let record = &mut self.records[number];
        if let Some(why) = Why::of_request(&record.request) {
            self.stays.insert(record.from, Stay { backend, why, surely: true });
        }
        if !record.attempts.is_empty() {
            record.request.features.add(Feature::Twice);
        }
        record.attempts.push(Attempt {
            backend,
            born,
            executed: false,
            died: false,
            spoke: false,
            reply: Reply::default(),
            deletes: None,
        });
        Ok(record.attempts.len() - 1)
    }

    /// A backend says something before its final answer.
    pub(crate) fn says(&mut self, number: usize, attempt: usize, reply: &Reply) {
        self.records[number].attempts[attempt].reply = reply.clone();
    }

    /// A backend has made its final answer, and ends a session by it if `deletes` says so. `early`: before the request's body
    /// had come.
    pub(crate) fn answers(
        &mut self,
        number: usize,
        attempt: usize,
        reply: Reply,
        deletes: Option<String>,
        early: bool,
    ) {
        let from = self.records[number].from;
        let followed = self.records[number + 1..].iter().any(|later| later.from == from && !later.over);
        let record = &mut self.records[number];
        let attempt = &mut record.attempts[attempt];
        if let Some(Some(id)) = &reply.cookie {
            // A session belongs to the version as it was when its request was decided; or when another one was that waits behind
            // it on the connection, if its answer is still under way then.
            let mut born = attempt.born.clone();
            born.wild |= followed;
            self.bindings.insert(id.clone(), born);
            self.issued.insert(id.clone());
        }
        // What was presented is gone when the response has passed the director, or, if that gives the session another id, a
        // while behind that (C34): nobody can tell when.
        for id in record.request.ids.iter().filter(|_| reply.cookie.is_some()) {
            if let Some(bound) = self.bindings.get_mut(id) {
                bound.wild = true;
            }
        }
        if let Some(why) = Why::of_reply(&reply, early) {
            let stay = Stay { backend: attempt.backend, why, surely: false };
            // Had it stayed with another backend before, this one had not answered.
            let old = self.stays.entry(from).or_insert(stay);
            *old = if old.surely { *old } else { stay };
        }
        attempt.executed = true;
        attempt.deletes = deletes;
        let closes = reply.closes && early;
        attempt.reply = reply;
        if closes {
            self.excuse(from, "the backend has answered and closes, whatever may still come");
        }
    }

    /// The whole answer of an attempt has reached the client, byte for byte.
    pub(crate) fn ends(&mut self, number: usize, attempt: usize) {
        let record = &mut self.records[number];
        record.over = true;
        record.answered = true;
        let (from, deletes) = (record.from, record.attempts[attempt].deletes.clone());
        // The director does not know which of several requests is answered, and forgets nothing then.
        let followed = self.records[number + 1..].iter().any(|later| later.from == from && !later.over);
        if let Some(id) = deletes.filter(|_| !followed) {
            self.bindings.remove(&id);
        }
    }

    /// Request `number` ended in an error: a violation if there is no excuse.
    pub(crate) fn fails(&mut self, number: usize, now: u64, how: &str) -> Result<(), String> {
        let sent = self.records[number].sent;
        let hopeless = self.is_hopeless(sent);
        let died = (0..self.troubles.len()).any(|backend| self.is_dead(backend, sent));
        let record = &mut self.records[number];
        record.over = true;
        for id in &record.request.ids {
            if let Some(bound) = self.bindings.get_mut(id) {
                bound.wild = true;
            }
        }
        let stays = self.stays.contains_key(&record.from) || Why::of_request(&record.request).is_some();
        // What may have been executed is not sent again, and nobody can tell.
        let unsure = !record.request.is_safe && (died || self.unsure.contains(&record.from));
        if record.excuse.is_some() || hopeless || stays || unsure || self.lost.contains(&record.from) {
            return Ok(());
        }
        let place = record.attempts.last().map(|last| format!("backend {} had it", last.backend));
        let place = place.unwrap_or_else(|| "no backend had it".to_owned());
        Err(format!("request {number} failed after {} ms: {how}; {place}", (now - sent) / 1000))
    }

    /// The director passes some of an attempt's answer on to the client.
    pub(crate) fn spoke(&mut self, number: usize, attempt: usize) {
        self.records[number].attempts[attempt].spoke = true;
    }

    /// The leg of an attempt died before the answer had gone.
    pub(crate) fn died(&mut self, number: usize, attempt: usize) {
        self.records[number].attempts[attempt].died = true;
    }

    /// Whatever the connection `from` has under way may fail.
    pub(crate) fn excuse(&mut self, from: From, why: &'static str) {
        self.lost.insert(from);
        for record in self.records.iter_mut().filter(|record| record.from == from && !record.over) {
            record.excuse = Some(why);
        }
    }

    /// A backend has said something that nobody asked for on a connection that `from` was the last to use. If it still does,
    /// it cannot go on.
    pub(crate) fn speaks_unasked(&mut self, from: From) {
        self.excuse(from, "the backend spoke unasked");
        self.unasked.insert(from);
    }

    /// A backend has reset the connection of `from` without a word of what it had heard.
    pub(crate) fn is_unsure(&mut self, from: From) {
        self.unsure.insert(from);
    }

    /// Whether it may hear so.
    pub(crate) fn may_hear_unasked(&self, from: From) -> bool {
        self.unasked.contains(&from)
    }

    /// Whether a connection may end although nobody said that it would.
    pub(crate) fn may_end(&self, from: From) -> bool {
        self.lost.contains(&from) || self.stays.contains_key(&from)
    }

    /// How requests of every kind ended.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for record in self.records.iter().filter(|record| record.over) {
            let mut features = record.request.features;
            if let Some(last) = record.attempts.last() {
                features.merge(last.reply.features);
            }
            tally.ended(features, record.answered);
        }
        tally
    }
}
