//! What was changed, when, by whom, and how to take it back.

use serde::{Deserialize, Serialize};

use super::State;
use crate::label::Label;

/// Changes that are kept; older ones are forgotten.
pub const MAX_HISTORY: usize = 1000;

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// RFC 3339, UTC.
    pub at: String,
    /// The user at the other end of the socket, or the part of the director that did it by itself: `health`, `config`, `drain` or
    /// `ttl`.
    pub who: String,
    pub service: String,
    /// The verb of the command line, or `select` for a version that became active by itself.
    pub verb: String,
    /// What was active before.
    pub from: Option<Label>,
    /// What is active since.
    pub to: Option<Label>,
    /// What the verb was about, where that is not `to`.
    pub version: Option<Label>,
    pub mode: Option<String>,
    /// The command that takes it back; empty for what nobody commanded.
    pub undo: String,
    /// Why, if somebody said so.
    #[serde(default)]
    pub reason: Option<String>,
    /// The service's generation since.
    #[serde(default)]
    pub generation: u64,
}

impl State {
    /// Writes a change down, which makes another generation of its service.
    pub fn record(&mut self, mut change: Change) {
        if let Some(service) = self.service_mut(&change.service) {
            service.generation += 1;
            change.generation = service.generation;
        }
        self.history.push(change);
        let surplus = self.history.len().saturating_sub(MAX_HISTORY);
        self.history.drain(..surplus);
    }
}
