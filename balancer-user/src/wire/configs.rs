//! The configuration, compared with another one or exported.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `POST /v1/config/diff`, the body optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DiffConfig {
    /// A config to compare with; `None`: what the daemon's own file says now.
    pub text: Option<String>,
}

/// What is different between what runs and a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigDiff {
    /// The daemon's own file.
    pub file: PathBuf,
    pub differences: Vec<Difference>,
}

/// A key whose value is another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// `None`: the director as a whole.
    pub service: Option<String>,
    pub key: String,
    /// What runs.
    pub from: String,
    /// What the file says.
    pub to: String,
    pub how: How,
    /// What a reload would mean, or why there is none.
    pub what: String,
    /// What to do instead; empty if nothing has to be.
    pub fix: String,
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, key, from, to, .. } = self;
        service.iter().try_for_each(|service| write!(f, "{service}: "))?;
        write!(f, "{key} {from} -> {to}")
    }
}

/// What a reload makes of a difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is made.
    Live,
    /// It is made if somebody insists; else the reload is refused.
    Force,
    /// The reload is refused.
    Restart,
    /// Nothing: the state decides that.
    FirstStart,
}

/// `GET /v1/config/export`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub config: String,
}
