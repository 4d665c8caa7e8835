//! A reload of the config: what is different between the file and what runs, and what becomes of each difference. Pure.
//!
//! One table of keys for the director, one for services. A difference is made at once, or needs somebody who insists, or a
//! start; or it is about what the state decides, and the file says only for a first start. A reload is made as a whole or not
//! at all, and never undoes what was decided at run time: versions, which is active, adoption.

#![forbid(unsafe_code)]

mod keys;
mod services;
mod show;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use self::keys::Keys;
use crate::{
    config::Config,
    exit::Failure,
    model::{Conditions, State},
    wire::{Difference, How},
};

/// What is to be known besides the two configs.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    pub state: &'a State,
    pub conditions: &'a Conditions,
    /// Who is on each service now.
    pub users: &'a BTreeMap<String, Users>,
}

/// Who is on a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Users {
    pub sessions: u64,
    pub flows: u64,
    pub in_flight: i64,
}

impl Users {
    fn nobody(self) -> bool {
        self.sessions == 0 && self.flows == 0 && self.in_flight <= 0
    }
}

impl std::fmt::Display for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sessions, flows, in_flight } = self;
        write!(f, "{sessions} sessions, {flows} connections and {in_flight} requests in flight")
    }
}

/// What is different in `new`, and what a reload makes of it.
pub fn differences(old: &Config, new: &Config, given: &Given<'_>) -> Vec<Difference> {
    let mut all = director(old, new);
    for service in &new.services {
        match old.service(&service.name) {
            Some(former) => all.extend(services::changed(former, service, given)),
            None => all.push(services::added(service, given)),
        }
        all.extend(services::versions(service, given.state));
    }
    all.extend(listeners(old, new));
    let gone = old.services.iter().filter(|former| new.service(&former.name).is_none());
    all.extend(gone.map(|former| services::removed(former, given)));
    all
}

/// What belongs to no service.
fn director(old: &Config, new: &Config) -> Vec<Difference> {
    const RESTART: &str = "restart the daemon: connections and sessions stay";
    const DETACH: &str = "run `balancer detach`, which ends connections and keeps sessions, and start the daemon again";
    let mut keys = Keys::of(None);
    let list = |items: &[String]| items.join(", ");
    let sources = |config: &Config| list(&config.sources.iter().map(ToString::to_string).collect::<Vec<_>>());
    let path = |path: &std::path::Path| path.display().to_string();
    keys.restart("name", &old.name, &new.name, "another name is another director", "start a daemon of its own for it");
    keys.restart("socket", &path(&old.socket), &path(&new.socket), "the daemon listens there already", RESTART);
    keys.restart("state", &path(&old.state), &path(&new.state), "the daemon has its files there", RESTART);
    keys.restart("bpffs", &path(&old.bpffs), &path(&new.bpffs), "programs and maps are pinned there", DETACH);
    keys.restart("hook", &show::value(old.hook), &show::value(new.hook), "programs are attached at a start", RESTART);
    keys.restart(
        "interfaces",
        &list(&old.interfaces),
        &list(&new.interfaces),
        "programs are attached at a start",
        RESTART,
    );
    keys.restart(
        "sources",
        &sources(old),
        &sources(new),
        "open connections use these addresses, each by its place in the list",
        "only add behind the present ones, and restart the daemon; else `balancer detach` first, which ends connections",
    );
    keys.restart("flows", &old.flows.to_string(), &new.flows.to_string(), "maps have their size for life", DETACH);
    keys.restart(
        "sessions",
        &old.sessions.to_string(),
        &new.sessions.to_string(),
        "maps have their size for life",
        DETACH,
    );
    keys.restart(
        "flow_idle",
        &show::time(old.flow_idle),
        &show::time(new.flow_idle),
        "the programs get it at a start",
        RESTART,
    );
    let every = |config: &Config| config.snapshot_every.map_or("never".to_owned(), show::time);
    keys.live("snapshot.every", &every(old), &every(new), "counted from now on");
    let metrics = |config: &Config| config.metrics.map_or("nowhere".to_owned(), |listen| listen.to_string());
    keys.live("metrics.listen", &metrics(old), &metrics(new), "scrapes that are under way are answered");
    keys.found
}

/// What is different about rules. They change by one store, and hurt nobody by themselves: whoever has a session keeps it, on the
/// service that it is of.
fn listeners(old: &Config, new: &Config) -> Vec<Difference> {
    let mut keys = Keys::of(None);
    let both = old.listeners.iter().chain(&new.listeners).map(|listener| listener.listen);
    let all: BTreeSet<std::net::SocketAddrV4> = both.collect();
    for listen in all {
        let rules = |config: &Config| match config.listener(listen) {
            Some(listener) if listener.rules.is_empty() => "none".to_owned(),
            Some(listener) => listener.rules.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
            None => "none".to_owned(),
        };
        let default =
            |config: &Config| show::maybe(config.listener(listen).and_then(|listener| listener.default.clone()));
        let ambiguous =
            |config: &Config| show::maybe(config.listener(listen).map(|listener| show::value(listener.on_ambiguous)));
        let next = "from the next request on, also on open connections; sessions stay with their service";
        keys.live(&format!("{listen} rules"), &rules(old), &rules(new), next);
        keys.live(&format!("{listen} default"), &default(old), &default(new), next);
        keys.live(&format!("{listen} on_ambiguous"), &ambiguous(old), &ambiguous(new), next);
    }
    keys.found
}

/// What keeps the differences from being made, if anything does: all of it, so that nobody has to find out one by one.
pub fn refusal(differences: &[Difference], force: bool) -> Option<Failure> {
    let refused = |how: How| how == How::Restart || (how == How::Force && !force);
    let refused: Vec<&Difference> = differences.iter().filter(|difference| refused(difference.how)).collect();
    if refused.is_empty() {
        return None;
    }
    let what: Vec<String> = refused.iter().map(|difference| format!("{difference}: {}", difference.what)).collect();
    let mut fixes: Vec<&str> = refused.iter().map(|difference| difference.fix.as_str()).collect();
    fixes.dedup();
    Some(Failure::refused(
        format!("the config is not reloaded, nothing changed: {}", what.join("; ")),
        format!("put the former values back; or {}", fixes.join("; or ")),
    ))
}
