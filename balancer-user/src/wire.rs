//! What goes over the socket: JSON, the same for the command line, for curl and for `--json`.

#![forbid(unsafe_code)]

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use serde::{Deserialize, Serialize};

use crate::{
    config::{Hook, OnAmbiguous, OnUnframed, Pool, ReturnPath, Select},
    endpoint::{Route, Weight},
    label::Label,
    model::{Change, Condition, Guard, OnTimeout, Opaque, Over, Percent, Sessions, Tally, Then, pin::Network},
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
    /// `change`, `health`, `table`, `missing`, `pin` or `hook`.
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
