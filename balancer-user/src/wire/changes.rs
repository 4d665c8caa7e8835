//! Changes of a service: what they ask for, on which terms, and what is answered.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::pins::PinMade;
use crate::{
    endpoint::Weight,
    label::Label,
    model::{OnTimeout, Opaque, Over, Percent, Sessions, Then},
};

/// The terms on which a change is made. They stand in the body of every change, beside what it asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Only say what would happen.
    pub dry_run: bool,
    /// Why, for the history and the audit log.
    pub reason: Option<String>,
    /// Only if the service is still at this generation.
    pub if_generation: Option<u64>,
    /// Also where the director would refuse for somebody's good.
    pub force: bool,
}

/// `POST /v1/services/NAME/versions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddVersion {
    pub version: Label,
    pub backends: Vec<String>,
    /// Not to be chosen on its own before it is flipped to.
    #[serde(default)]
    pub stage: bool,
}

/// What a change asks for that has nothing but terms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// `POST /v1/services/NAME/flip`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flip {
    pub version: Label,
    #[serde(default)]
    pub mode: FlipMode,
    /// For [`FlipMode::Percent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<Percent>,
    /// For [`FlipMode::Exclusive`]: for how long requests are held at most; 30 s if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hold_milliseconds: Option<u64>,
    /// For [`FlipMode::Exclusive`]: what becomes of requests that do not end in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<OnTimeout>,
    /// The same, of connections that are not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opaque: Option<Opaque>,
    /// The same: for so long a request counts whose client went away; 5 s if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abandon_after_milliseconds: Option<u64>,
    /// For [`FlipMode::Percent`]: when it is given up by itself; as the config has it if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abort_over: Option<Over>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_requests: Option<u64>,
}

/// `POST /v1/services/NAME/pause`, the body optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// 30 s if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_hold_milliseconds: Option<u64>,
}

/// How a flip goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlipMode {
    /// Sessions stay where they are.
    #[default]
    NewSessions,
    /// Everybody moves.
    Forced,
    /// Everybody moves, once the old version has finished what it works on; new requests wait for that.
    Exclusive,
    /// A share of new sessions.
    Percent,
}

/// `POST /v1/services/NAME/versions/LABEL/drain`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainVersion {
    #[serde(default)]
    pub deadline_seconds: Option<u64>,
    #[serde(default)]
    pub then: Then,
    /// It is no longer to be drained.
    #[serde(default)]
    pub cancel: bool,
}

/// `POST /v1/services/NAME/abort`, the body optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Abort {
    #[serde(default)]
    pub sessions: Sessions,
}

/// `POST /v1/services/NAME/rollback`, the body optional.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    #[serde(default)]
    pub sessions: Sessions,
}

/// `POST /v1/services/NAME/adopt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adopt {
    /// Where ids go that nobody knows; `null`: nowhere in particular.
    pub version: Option<Label>,
}

/// `POST /v1/services/NAME/versions/LABEL/backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weigh {
    pub backend: SocketAddr,
    pub weight: Weight,
}

/// The answer to every change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    pub will: Vec<String>,
    /// Empty for a dry run.
    pub did: Vec<String>,
    pub warnings: Vec<String>,
    /// The command that takes it back; empty if there is none.
    pub undo: String,
    pub active: Option<Label>,
    /// The service's generation now.
    pub generation: u64,
    /// What was pinned, if that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<PinMade>,
}
