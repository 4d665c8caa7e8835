//! What goes over the socket: JSON, the same for the command line, for curl and for `--json`.

#![forbid(unsafe_code)]

use std::{
    net::{Ipv4Addr, SocketAddrV4},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Hook, OnUnframed, Pool, ReturnPath, Select},
    endpoint::{Route, Weight},
    label::Label,
    model::{Change, Condition, Mode, Sessions},
    order::Order,
};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    pub pid: u32,
    pub uptime_seconds: u64,
    pub interfaces: Vec<Interface>,
    pub sources: Vec<Ipv4Addr>,
    /// Flows that there is room for.
    pub flows_limit: u32,
    /// Sessions that there is room for; the table has twice as many entries, so that no bucket fills before the others.
    pub sessions_limit: u32,
    pub memory_bytes: u64,
    pub services: Vec<ServiceStatus>,
    pub snapshots: SnapshotStatus,
    /// How often each verdict was given, without those that never were.
    pub counters: Vec<Counter>,
}

/// What a reboot now would bring back, and what the start brought back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatus {
    /// `None`: only when the daemon ends, and when asked.
    pub every_milliseconds: Option<u64>,
    /// The last one that this daemon took.
    pub last: Option<Snapshot>,
    pub age_seconds: Option<u64>,
    /// Why there was none since.
    pub problem: Option<String>,
    /// `None` where the table was in the kernel.
    pub restored: Option<Restored>,
}

/// `POST /v1/snapshot`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    pub at: String,
    pub path: PathBuf,
    pub sessions: u64,
    pub bytes: u64,
    pub milliseconds: u64,
}

/// What became of the sessions of a table that is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restored {
    /// Where they came from, for a person.
    pub from: String,
    /// Those that are known again.
    pub sessions: u64,
    /// Those that nobody used for too long.
    pub expired: u64,
    /// Those of versions, or of backends, that are not there any more.
    pub gone: u64,
    /// Those that a smaller table had no place for.
    pub no_room: u64,
    /// Why there are none, or not all.
    pub problem: Option<String>,
}

/// An interface and what hangs on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    pub name: String,
    pub index: u32,
    /// What was chosen: never `auto`.
    pub hook: Hook,
    pub why: String,
    /// Packets for it go to the other end of the veth pair without a queue.
    pub peer: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    pub name: String,
    pub value: u64,
}

/// `GET /v1/services/NAME`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    pub name: String,
    pub listen: SocketAddrV4,
    pub select: Select,
    pub order: Order,
    pub cookie: String,
    pub parameter: String,
    #[serde(rename = "return")]
    pub return_path: ReturnPath,
    pub pool: Pool,
    /// Idle legs that are kept for each backend at most.
    pub pool_legs: u32,
    pub on_unframed: OnUnframed,
    /// Rises with every change; `--if-generation` compares it.
    pub generation: u64,
    pub active: Option<Label>,
    /// Where a rollback would go.
    pub previous: Option<Label>,
    /// The version that ids known nowhere are adopted into.
    pub adopt: Option<Label>,
    /// Lowest first.
    pub versions: Vec<VersionStatus>,
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionStatus {
    pub label: Label,
    pub state: VersionState,
    pub index: u32,
    pub generation: u32,
    pub backends: Vec<BackendStatus>,
    /// `None` where the table was not counted (`?sessions=false`).
    pub sessions: Option<SessionCount>,
    pub flows: u64,
    pub in_flight: i64,
    pub requests: u64,
    /// Sessions that its backends issued, ever.
    pub issued: u64,
}

/// Bindings that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCount {
    /// Nobody has come back with them yet.
    pub issued: u64,
    pub presented: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    pub id: u16,
    pub address: SocketAddrV4,
    /// What ids that it issues end in.
    pub route: Option<Route>,
    pub condition: Condition,
    /// Its share of new sessions, relative to the others of its version; and what it is while it starts slowly.
    pub weight: Weight,
    pub weight_now: u32,
    /// What the last check said.
    pub detail: String,
    /// Flows that have a leg to it now.
    pub legs_busy: u64,
    /// Legs to it that wait for a request of any flow.
    pub legs_idle: u64,
}

/// A version's state, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// New sessions get it.
    Active,
    /// Never was active; waits for health or a flip.
    Staged,
    /// Was active; keeps its sessions until they end.
    Draining,
    /// Not chosen on its own.
    Held,
    /// No healthy backend.
    Failed,
}

impl VersionState {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Staged => "staged",
            Self::Draining => "draining",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }
}

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
    pub mode: Mode,
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
    pub backend: SocketAddrV4,
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
    pub backend: Option<SocketAddrV4>,
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
    pub source: Ipv4Addr,
}

/// Why a request goes where it goes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    pub version: Option<Label>,
    pub backend: Option<SocketAddrV4>,
    /// `bound`, `moved`, `route`, `adopted`, `active` or `none`.
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
