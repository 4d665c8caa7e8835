//! What an operator made: versions, which is active, and how it came to that.
//!
//! Pure: a verb takes a state and answers a changed one, or a refusal. Nothing here knows a map or a socket. What is
//! allocated (service ids, version indexes, backend ids, generations) is allocated here and kept in the state file, since
//! bindings in the kernel refer to it over restarts.

#![forbid(unsafe_code)]

mod add;
mod adopt;
mod alloc;
mod begin;
mod canary;
mod change;
mod condition;
pub mod drain;
mod flip;
mod history;
mod hold;
mod judge;
mod occasion;
pub mod pin;
mod refusal;
mod remove;
pub mod retire;
mod rollback;
mod select;
#[cfg(test)]
mod tests;
mod weigh;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use self::{
    begin::begin,
    canary::{Aborted, Canary, GuardDefault, GuardWish, Percent, give_up},
    change::{Circumstances, Entrance, Insistence, Mode, Outcome, Rules, Sessions, Table, Verb, apply},
    condition::{Condition, Conditions},
    drain::{Drain, Drainage, Then},
    history::{Change, MAX_HISTORY},
    hold::{Exclusive, OnTimeout, Opaque, Pause, Way},
    judge::{Guard, Over, Tally},
    occasion::Occasion,
    refusal::Refusal,
    retire::{Left, Retired},
    select::{Switch, reselect},
};
use crate::{
    endpoint::{Endpoint, Route, Weight},
    label::Label,
};

/// The format of the state file; another one is refused rather than guessed at.
pub const FORMAT: u32 = 1;

/// All that survives a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub format: u32,
    /// Also those that the config does not name at the moment: their ids stay theirs.
    pub services: Vec<Service>,
    /// Where the search for a free backend id goes on: an id is used again as late as possible, since flows may still
    /// refer to it.
    pub next_backend: u16,
    /// The number of the next pin.
    #[serde(default = "first_pin")]
    pub next_pin: u32,
    /// Oldest first.
    pub history: Vec<Change>,
    /// What the hook `post-flip` has not been told yet, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub untold: Vec<Occasion>,
    /// Fingerprint of the kernel object that the attached programs were loaded from.
    #[serde(default)]
    pub object: Option<u64>,
}

const fn first_pin() -> u32 {
    1
}

impl Default for State {
    fn default() -> Self {
        Self {
            format: FORMAT,
            services: Vec::new(),
            next_backend: 0,
            next_pin: first_pin(),
            history: Vec::new(),
            untold: Vec::new(),
            object: None,
        }
    }
}

/// One service's versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    /// Index into the kernel's service words.
    pub id: u32,
    /// Rises with every change of the service, whoever made it.
    #[serde(default)]
    pub generation: u64,
    /// The generation that the next version gets; never used twice (C15).
    pub next_generation: u32,
    /// Where the search for a free version index goes on.
    pub next_index: u32,
    /// In order of adding.
    pub versions: Vec<Version>,
    /// What new sessions get.
    pub active: Option<Label>,
    /// The version that ids known nowhere are adopted into (C9).
    #[serde(default)]
    pub adopt: Option<Label>,
    /// The version that a share of new sessions gets.
    #[serde(default)]
    pub canary: Option<Canary>,
    /// The last canary, if it was given up by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aborted: Option<Aborted>,
    /// Its requests are held until somebody resumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// An exclusive flip is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclusive: Option<Exclusive>,
    /// Formerly active versions that still exist, the latest last: where `rollback` goes.
    pub past: Vec<Label>,
    /// Versions that are gone, the latest last.
    #[serde(default)]
    pub retired: Vec<Retired>,
    #[serde(default)]
    pub pins: Vec<pin::Pin>,
}

/// One release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    pub label: Label,
    /// Its place in the service's policy block.
    pub index: u32,
    /// What its bindings carry.
    pub generation: u32,
    /// What its first bindings carried: it tells a version from another one that had its index before. Absent in states of
    /// older releases.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub birth: Option<u32>,
    /// Not to be chosen on its own.
    pub held: Option<Hold>,
    /// It gets no new sessions, and ends when nobody is left.
    #[serde(default)]
    pub drain: Option<Drain>,
    /// It has been active at some time: it may have sessions, and its return is no news.
    pub was_active: bool,
    /// Ids that end in a route of its backends are steered to it (C29): from when it serves users on, until its sessions are
    /// moved away. An id says for ever where it was issued, so a forced flip would move nobody otherwise.
    #[serde(default)]
    pub routed: bool,
    pub backends: Vec<Backend>,
}

/// Why a version is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hold {
    /// A lower version was flipped to. A flip to this one or a higher one lifts the hold.
    Above,
    /// It was rolled back from. Only a flip to it lifts the hold.
    RolledBack,
    /// It drains, or has drained. Only a flip to it lifts the hold.
    Draining,
    /// It was added to be tried first: it is reached by pins, or as a canary, until it is flipped to.
    Staged,
    /// A share of new sessions gets it; it is not to get all of them on its own.
    Canary,
}

/// An address that serves a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backend {
    /// Index into the kernel's backends.
    pub id: u16,
    pub address: SocketAddr,
    #[serde(default)]
    pub route: Option<Route>,
    #[serde(default)]
    pub weight: Weight,
}

impl Backend {
    /// As an operator writes it.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { address: self.address, route: self.route, weight: self.weight }
    }
}

impl Version {
    /// The generation that it began with.
    pub fn birth(&self) -> u32 {
        self.birth.unwrap_or(self.generation)
    }
}

impl State {
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    pub fn service_mut(&mut self, name: &str) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.name == name)
    }

    /// The service and version that a backend id belongs to.
    pub fn backend(&self, id: u16) -> Option<(&Service, &Version, Backend)> {
        self.services.iter().find_map(|service| {
            service.versions.iter().find_map(|version| {
                let backend = version.backends.iter().find(|backend| backend.id == id)?;
                Some((service, version, *backend))
            })
        })
    }
}

impl Service {
    pub fn version(&self, label: &Label) -> Option<&Version> {
        self.versions.iter().find(|version| version.label == *label)
    }

    pub fn version_mut(&mut self, label: &Label) -> Option<&mut Version> {
        self.versions.iter_mut().find(|version| version.label == *label)
    }

    /// The version at an index of the policy, and its backend with that id.
    pub fn backend(&self, index: u32, id: u32) -> Option<(&Version, Backend)> {
        let version = self.versions.iter().find(|version| version.index == index)?;
        let backend = version.backends.iter().find(|backend| u32::from(backend.id) == id)?;
        Some((version, *backend))
    }

    /// The version that new sessions get.
    pub fn active(&self) -> Option<&Version> {
        self.version(self.active.as_ref()?)
    }

    fn is_active(&self, label: &Label) -> bool {
        self.active.as_ref() == Some(label)
    }

    /// The service's versions, lowest first.
    pub fn sorted(&self, order: crate::order::Order) -> Vec<&Version> {
        order.sort(&self.labels()).into_iter().map(|at| &self.versions[at]).collect()
    }

    /// All labels, in order of adding.
    pub fn labels(&self) -> Vec<Label> {
        self.versions.iter().map(|version| version.label.clone()).collect()
    }

    /// The versions above `label`.
    fn above(&self, order: crate::order::Order, label: &Label) -> Vec<Label> {
        let sorted = self.sorted(order).into_iter().map(|version| version.label.clone());
        sorted.skip_while(|other| other != label).skip(1).collect()
    }

    /// Nobody goes back to a version that goes away; nor, because of that, from a version to itself.
    fn forget(&mut self, label: &Label) {
        let last = self.past.last() == Some(label);
        self.past.retain(|other| other != label);
        if last && self.past.last() == self.active.as_ref() {
            self.past.pop();
        }
    }

    /// Makes `label` the active version and remembers the present one for a rollback.
    fn activate(&mut self, label: &Label) {
        if self.is_active(label) {
            return;
        }
        if let Some(old) = self.active.take()
            && self.past.last() != Some(&old)
        {
            self.past.push(old);
        }
        self.set_active(label);
    }

    /// Makes `label` the active version without remembering the present one.
    fn set_active(&mut self, label: &Label) {
        self.active = Some(label.clone());
        if let Some(version) = self.version_mut(label) {
            version.was_active = true;
            version.routed = true;
            version.held = None;
            version.drain = None;
        }
    }
}
