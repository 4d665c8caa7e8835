//! Metrics for Prometheus, and whether the director lives and is ready, over HTTP on an address of the host.
//!
//! Pure but for `server`: [`page`] makes a page of a [`Sample`], `text` writes it down, [`ready`] says what is in the way of
//! serving. No label has an id of a session or an address: a service, a version and the number of a backend name everything,
//! and how many series there are does not depend on who comes.

#![forbid(unsafe_code)]

mod page;
mod ready;
mod server;
#[cfg(test)]
mod testing;
mod text;

use std::collections::BTreeMap;

pub use self::{
    page::page,
    ready::ready,
    server::{Exporter, Pulse, bind, serve},
};
use crate::{hooks::Point, wire::Status};

/// What a page is made of.
#[derive(Clone, Debug)]
pub struct Sample {
    pub status: Status,
    /// All counters of the programs, also those that never counted.
    pub counters: Vec<Counted>,
    pub tallies: Tallies,
    /// Sessions found no place a moment ago.
    pub table_full: bool,
    /// The present state is not on disk.
    pub state_unsaved: bool,
}

/// A counter of the programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub what: What,
    pub name: &'static str,
    pub value: u64,
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Packets, each once: by what became of them.
    Verdict,
    /// Things that happened on the way.
    Note,
    /// Connections whose requests cannot be told apart any more, by reason.
    Unframed,
}

/// What this daemon has counted of its own doings since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    /// By service and verb.
    pub changes: BTreeMap<(String, String), u64>,
    /// By service and one of [`FLIPS`].
    pub flips: BTreeMap<(String, &'static str), u64>,
    /// Reloads of the config: those that were made, and those that were refused or failed.
    pub reloads: (u64, u64),
    /// Whether the last one was made; `None`: there was none, and what was loaded at the start is good.
    pub last_reload: Option<bool>,
    /// Hooks that were run, and whether that went well.
    pub hooks: BTreeMap<(Point, bool), u64>,
    /// Events that the hook for events had no room for.
    pub events_dropped: u64,
}

/// How new sessions can come to get another version: the modes of a flip, the verbs that are flips as well, and `select`, where
/// rules and health chose.
pub const FLIPS: [&str; 8] =
    ["new-sessions", "forced", "exclusive", "percent", "rollback", "promote", "abort", "select"];
