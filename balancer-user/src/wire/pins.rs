//! Pins.

use serde::{Deserialize, Serialize};

use crate::model::pin::Network;

/// A pin that was made: its value is said this once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinMade {
    pub id: u32,
    /// What requests have to carry; `None` for sources and sessions.
    pub value: Option<String>,
}

/// `POST /v1/services/NAME/pins`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddPin {
    /// A version, or `never`.
    pub to: String,
    pub source: Option<Network>,
    /// One of these four, or none of them with a source: names, and the id of a session.
    pub cookie: Option<String>,
    pub header: Option<String>,
    pub query: Option<String>,
    pub session: Option<String>,
    /// Only together with a source; else one is made.
    pub value: Option<String>,
    pub ttl_seconds: Option<u64>,
    pub forever: bool,
    pub note: Option<String>,
    pub trace: bool,
}

/// `GET /v1/pins` and `GET /v1/services/NAME/pins`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinList {
    pub pins: Vec<PinStatus>,
}

/// A pin, without its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinStatus {
    pub service: String,
    pub id: u32,
    pub to: String,
    pub carrier: String,
    pub source: Option<Network>,
    /// The first half of the hash's tag of its value or session.
    pub hash: Option<String>,
    pub seconds_left: Option<u64>,
    pub trace: bool,
    pub note: Option<String>,
}
