//! What health checks say, as far as choosing a version goes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Version;

/// Whether a backend, or a version, takes new work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    Down,
    /// No check has ended yet.
    #[default]
    Unknown,
    Up,
}

/// The condition of each backend by its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(pub BTreeMap<u16, Condition>);

impl Conditions {
    pub fn of_backend(&self, id: u16) -> Condition {
        self.0.get(&id).copied().unwrap_or_default()
    }

    /// A version is as well as its best backend.
    pub fn of_version(&self, version: &Version) -> Condition {
        let conditions = version.backends.iter().map(|backend| self.of_backend(backend.id));
        conditions.max().unwrap_or(Condition::Down)
    }
}
