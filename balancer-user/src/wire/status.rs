//! `status`: the director, its services, versions and backends.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Hook, OnAmbiguous, OnUnframed, Pool, ReturnPath, Select},
    endpoint::{Route, Weight},
    label::Label,
    model::{Condition, Guard, Percent, Tally, Then},
    order::Order,
};

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    pub name: String,
    pub pid: u32,
    pub uptime_seconds: u64,
    pub interfaces: Vec<Interface>,
    pub sources: Vec<IpAddr>,
    /// Flows that there is room for.
    pub flows_limit: u32,
    /// Sessions that there is room for; the table has twice as many entries, so that no bucket fills before the others.
    pub sessions_limit: u32,
    pub memory_bytes: u64,
    pub services: Vec<ServiceStatus>,
    /// Addresses with rules.
    #[serde(default)]
    pub listeners: Vec<ListenerStatus>,
    pub snapshots: SnapshotStatus,
    /// Events that their hook was too slow for, since the start.
    #[serde(default)]
    pub hook_events_dropped: u64,
    /// How often each verdict was given, without those that never were.
    pub counters: Vec<Counter>,
}

/// An address whose requests are told apart by rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    pub listen: SocketAddr,
    /// The service of requests that no rule matches.
    pub default: Option<String>,
    pub on_ambiguous: OnAmbiguous,
    /// In their order.
    pub rules: Vec<RuleStatus>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleStatus {
    /// What it asks for: `path /shop, host shop.example.org`.
    pub asks: String,
    pub service: String,
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
    pub listen: SocketAddr,
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
    pub canary: Option<CanaryStatus>,
    /// The rules of its address, where there are any.
    #[serde(default)]
    pub listener: Option<ListenerStatus>,
    /// The last canary, if it was given up by itself.
    #[serde(default)]
    pub aborted: Option<AbortedStatus>,
    /// Its requests are held.
    #[serde(default)]
    pub hold: Option<HoldStatus>,
    /// Lowest first.
    pub versions: Vec<VersionStatus>,
    /// Those that are gone, the latest last.
    pub retired: Vec<RetiredStatus>,
    pub warnings: Vec<String>,
}

/// A share of new sessions, as asked for and as measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryStatus {
    pub version: Label,
    pub percent: Percent,
    /// Of the sessions that began since; `None` before the first.
    pub measured_percent: Option<f64>,
    pub new_sessions: u64,
    pub since: String,
    /// When it is given up by itself; `None`: never.
    #[serde(default)]
    pub guard: Option<Guard>,
    /// What became of requests since: of the canary, and of the active version.
    #[serde(default)]
    pub outcomes: Tally,
    #[serde(default)]
    pub active_outcomes: Tally,
}

/// A canary that was given up by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbortedStatus {
    pub version: Label,
    pub at: String,
    pub why: String,
}

/// Requests are held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldStatus {
    /// For so long at most.
    pub milliseconds: u64,
    /// For an exclusive flip to this version.
    pub flip_to: Option<Label>,
    /// Until somebody resumes.
    pub paused: bool,
}

/// A version that was retired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetiredStatus {
    pub label: Label,
    pub at: String,
    pub backends: Vec<String>,
}

/// How far a drain is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainStatus {
    pub since: String,
    /// `None`: when nobody is left.
    pub deadline: Option<String>,
    pub seconds_left: Option<u64>,
    pub then: Then,
    /// Its sessions were moved, and what is under way is being closed.
    pub closing: bool,
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
    pub drain: Option<DrainStatus>,
    pub flows: u64,
    pub in_flight: i64,
    pub requests: u64,
    /// Sessions that its backends issued, ever.
    pub issued: u64,
    /// Of those, the new ones: not another id of a session that was known.
    #[serde(default)]
    pub born: u64,
    /// What became of its requests, ever.
    #[serde(default)]
    pub outcomes: Tally,
}

/// Bindings that count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionCount {
    /// Nobody has come back with them yet.
    pub issued: u64,
    /// Somebody has, within the time-out: the active ones (C42).
    pub presented: u64,
    /// Age of the oldest of both.
    pub oldest_seconds: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendStatus {
    pub id: u16,
    pub address: SocketAddr,
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
    /// For how long requests still pass it over, because it did not answer some.
    #[serde(default)]
    pub passed_over_seconds: Option<u64>,
}

/// A version's state, as shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// New sessions get it.
    Active,
    /// Never was active; waits for health or a flip.
    Staged,
    /// Was active, or is drained; keeps its sessions until they end.
    Draining,
    /// A share of new sessions gets it.
    Canary,
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
            Self::Canary => "canary",
            Self::Held => "held",
            Self::Failed => "failed",
        }
    }
}
