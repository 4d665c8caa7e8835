//! What changes nothing but is only looked at: events, sessions, explanations, the history; and the end.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{label::Label, model::Change};

/// `GET /v1/events[?since=N][&wait=SECONDS][&service=S][&limit=N]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    pub events: Vec<Event>,
    /// Where to go on.
    pub next: u64,
    /// Those that were wanted and are forgotten.
    pub lost: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub number: u64,
    pub at: String,
    pub service: Option<String>,
    /// `change`, `flip`, `health`, `table`, `missing`, `state`, `pin` or `hook`.
    pub kind: String,
    pub text: String,
}

/// `GET /v1/services/NAME/sessions?limit=N`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionList {
    pub total: u64,
    pub sessions: Vec<Session>,
}

/// One binding. The id itself never leaves the kernel, which does not keep it either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// The first half of the hash's tag, for telling sessions apart.
    pub hash: String,
    pub version: Label,
    pub backend: Option<SocketAddr>,
    /// `issued` (nobody has come back with it), `presented`, `renamed` (its session has another id now), or `adopted`
    /// (somebody came with it once, and nobody knows who issued it).
    pub kind: String,
    pub age_seconds: u64,
    pub idle_seconds: u64,
}

/// `POST /v1/services/NAME/explain`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// Values of the session cookie, in the order of the request.
    #[serde(default)]
    pub cookies: Vec<String>,
    #[serde(default)]
    pub path: Option<String>,
    /// The host that is asked; `None`: the listener's address.
    #[serde(default)]
    pub host: Option<String>,
    /// Other headers, each as `Name: value`: where a pin may stand.
    #[serde(default)]
    pub headers: Vec<String>,
    pub source: IpAddr,
}

/// Why a request goes where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The service that the listener's rules lead to; `None` where they lead nowhere, or where there are none.
    #[serde(default)]
    pub service: Option<String>,
    pub version: Option<Label>,
    pub backend: Option<SocketAddr>,
    /// `pin`, `override`, `bound`, `moved`, `route`, `adopted`, `canary`, `active`; `rejected` (with a 503) or
    /// `none`; `unmatched` (a 404) or `ambiguous` (a 400) where the listener's rules lead to no service.
    pub reason: String,
    /// How it came to that, one sentence a step.
    pub steps: Vec<String>,
}

/// `GET /v1/history`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct History {
    pub changes: Vec<Change>,
}

/// `POST /v1/detach`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detached {
    pub removed: Vec<String>,
}
