//! The verbs: what they ask for and what comes of them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{
    Conditions, Drainage, GuardDefault, GuardWish, Left, Percent, Refusal, State, Tally, add, adopt, canary, drain,
    flip, hold, pin, remove, retire, rollback, weigh,
};
use crate::{
    config::Select,
    endpoint::{Endpoint, Weight},
    family::Family,
    label::Label,
    order::Order,
};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Add {
        label: Label,
        backends: Vec<Endpoint>,
        entrance: Entrance,
    },
    Remove {
        label: Label,
    },
    Flip {
        label: Label,
        mode: Mode,
    },
    Rollback {
        sessions: Sessions,
    },
    /// `None`: off.
    Adopt {
        label: Option<Label>,
    },
    Drain {
        label: Label,
        drainage: Drainage,
    },
    Retire {
        label: Label,
    },
    /// A share of new sessions.
    Canary {
        label: Label,
        percent: Percent,
        guard: GuardWish,
    },
    Promote,
    Abort {
        sessions: Sessions,
    },
    /// Holds requests until a millisecond of the wall clock.
    Pause {
        until: u64,
        /// The same as a time, for people.
        said: String,
    },
    Resume,
    AddPin {
        /// Without its number, which it gets.
        pin: Box<pin::Pin>,
    },
    RemovePin {
        id: u32,
    },
    Weigh {
        label: Label,
        address: SocketAddr,
        weight: Weight,
    },
}

/// How a version comes in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Entrance {
    /// Rules and health may choose it.
    #[default]
    Normal,
    /// It waits for a flip, whatever its rank.
    Staged,
}

/// Whom a flip moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Nobody who is bound (D7).
    #[default]
    NewSessions,
    /// Everybody, at their next request (D9).
    Forced,
    /// The same, and the old version has ended all of its requests before the new one gets any (D10). Who applies it has seen
    /// to that.
    Exclusive,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewSessions => "new-sessions",
            Self::Forced => "forced",
            Self::Exclusive => "exclusive",
        }
    }
}

/// What becomes of sessions born on a version that is rolled back from (D18).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sessions {
    #[default]
    Move,
    Keep,
}

impl Sessions {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Keep => "keep",
        }
    }
}

/// What the config says about a service's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub select: Select,
    pub order: Order,
    /// Of the listener, and so of all backends.
    pub family: Family,
}

/// What a verb has to know besides the state.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    pub rules: Rules,
    pub conditions: &'a Conditions,
    pub insistence: Insistence,
    pub table: Table,
    /// Unix seconds.
    pub now: u64,
    /// For salts.
    pub random: u64,
    /// Of the version that is to be retired.
    pub left: Left,
    /// New sessions that the canary-to-be and the active version had so far.
    pub born: (u64, u64),
    /// What had become of requests of the two.
    pub before: (Tally, Tally),
    /// What the config says of canaries that fail.
    pub guard: GuardDefault,
}

impl<'a> Circumstances<'a> {
    /// Nobody insists on anything.
    pub fn new(rules: Rules, conditions: &'a Conditions) -> Self {
        let left = Left { sessions: 0, issued: 0, in_flight: 0 };
        Self {
            rules,
            conditions,
            insistence: Insistence::None,
            table: Table::HasRoom,
            now: 0,
            random: 0,
            left,
            born: (0, 0),
            before: <(Tally, Tally)>::default(),
            guard: GuardDefault::default(),
        }
    }
}

/// Whether an operator wants a thing done that is refused for somebody's good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Insistence {
    #[default]
    None,
    /// `--force`.
    Force,
}

/// Whether sessions find a place in the kernel's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Table {
    #[default]
    HasRoom,
    /// Some did not, a moment ago: whoever is not bound goes where new sessions go, so a flip moves them (D13).
    Full,
}

/// What came of a verb, in sentences: before and after it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What will happen.
    pub will: Vec<String>,
    /// What happened.
    pub did: Vec<String>,
    pub warnings: Vec<String>,
    /// The command that takes it back.
    pub undo: String,
    /// What the verb was about.
    pub version: Option<Label>,
    pub mode: Option<String>,
    /// The state is another one now.
    pub changed: bool,
}

impl Verb {
    /// Its name in the history and the audit log.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Add { .. } => "version add",
            Self::Remove { .. } => "version rm",
            Self::Flip { .. } => "flip",
            Self::Rollback { .. } => "rollback",
            Self::Adopt { .. } => "service adopt",
            Self::Drain { .. } => "drain",
            Self::Retire { .. } => "retire",
            Self::Canary { .. } => "flip",
            Self::Promote => "promote",
            Self::Abort { .. } => "abort",
            Self::Pause { .. } => "pause",
            Self::Resume => "resume",
            Self::AddPin { .. } => "pin add",
            Self::RemovePin { .. } => "pin rm",
            Self::Weigh { .. } => "backend weight",
        }
    }

    /// How a flip is to be done.
    pub const fn mode(&self) -> Option<&'static str> {
        match self {
            Self::Flip { mode, .. } => Some(mode.as_str()),
            _ => None,
        }
    }

    /// The version that it names.
    pub fn about(&self) -> Option<&Label> {
        match self {
            Self::Add { label, .. }
            | Self::Remove { label }
            | Self::Flip { label, .. }
            | Self::Drain { label, .. }
            | Self::Retire { label }
            | Self::Canary { label, .. }
            | Self::Weigh { label, .. } => Some(label),
            Self::Adopt { label } => label.as_ref(),
            Self::AddPin { pin } => match &pin.to {
                pin::Target::Version(label) => Some(label),
                pin::Target::Never => None,
            },
            Self::Rollback { .. }
            | Self::Promote
            | Self::Abort { .. }
            | Self::Pause { .. }
            | Self::Resume
            | Self::RemovePin { .. } => None,
        }
    }
}

impl Verb {
    /// Whether it has to wait while an exclusive flip is under way: it would change which version gets what, or take away one that
    /// is waited for.
    const fn waits_for_flips(&self) -> bool {
        match self {
            // The flip's own end.
            Self::Flip { mode: Mode::Exclusive, .. } => false,
            Self::Flip { .. }
            | Self::Canary { .. }
            | Self::Promote
            | Self::Rollback { .. }
            | Self::Remove { .. }
            | Self::Retire { .. }
            | Self::Drain { drainage: Drainage::Begin { .. }, .. }
            | Self::Pause { .. }
            | Self::Resume => true,
            Self::Add { .. }
            | Self::Adopt { .. }
            | Self::Drain { drainage: Drainage::Cancel, .. }
            | Self::Abort { .. }
            | Self::AddPin { .. }
            | Self::RemovePin { .. }
            | Self::Weigh { .. } => false,
        }
    }
}

/// Does `verb` to `service`. A refusal leaves a state that the caller must throw away: work on a clone.
pub fn apply(state: &mut State, service: &str, given: &Circumstances<'_>, verb: &Verb) -> Result<Outcome, Refusal> {
    if let Some(flip) = state.service(service).and_then(|service| service.exclusive.as_ref())
        && verb.waits_for_flips()
    {
        return Err(Refusal::FlipHolds { service: service.to_owned(), label: flip.label.clone() });
    }
    match verb {
        Verb::Add { label, backends, entrance } => add::add(state, service, given, label, backends, *entrance),
        Verb::Remove { label } => remove::remove(state, service, given, label),
        Verb::Flip { label, mode } => flip::flip(state, service, given, label, *mode),
        Verb::Rollback { sessions } => rollback::rollback(state, service, given, *sessions),
        Verb::Adopt { label } => adopt::adopt(state, service, label.as_ref()),
        Verb::Drain { label, drainage } => drain::drain(state, service, given, label, *drainage),
        Verb::Retire { label } => retire::retire(state, service, given, label),
        Verb::Canary { label, percent, guard } => canary::begin(state, service, given, label, *percent, *guard),
        Verb::Promote => canary::promote(state, service, given),
        Verb::Abort { sessions } => canary::abort(state, service, *sessions),
        Verb::Pause { until, said } => hold::pause(state, service, given, *until, said),
        Verb::Resume => hold::resume(state, service),
        Verb::AddPin { pin } => pin::add(state, service, pin),
        Verb::RemovePin { id } => pin::remove(state, service, *id),
        Verb::Weigh { label, address, weight } => weigh::weigh(state, service, label, *address, *weight),
    }
}

/// The service of that name, or a refusal that names the others.
pub(super) fn find<'a>(state: &'a mut State, name: &str) -> Result<&'a mut super::Service, Refusal> {
    let known = state.services.iter().map(|service| service.name.clone()).collect();
    state.service_mut(name).ok_or(Refusal::NoService { name: name.to_owned(), known })
}

/// The version of that label, or a refusal that names the others.
pub(super) fn check_version(service: &super::Service, label: &Label) -> Result<(), Refusal> {
    if service.version(label).is_some() {
        return Ok(());
    }
    Err(Refusal::NoVersion { service: service.name.clone(), label: label.clone(), known: service.labels() })
}

/// Refuses to change what new sessions get while sessions find no place in the table, unless somebody insists (D13).
pub(super) fn check_room(service: &super::Service, given: &Circumstances<'_>) -> Result<(), Refusal> {
    if given.table == Table::Full && given.insistence == Insistence::None {
        return Err(Refusal::TableFull { service: service.name.clone() });
    }
    Ok(())
}

/// Refuses a version that could serve nobody, unless somebody insists. One that was not checked yet passes.
pub(super) fn check_healthy(service: &super::Service, given: &Circumstances<'_>, label: &Label) -> Result<(), Refusal> {
    let Some(version) = service.version(label) else { return Ok(()) };
    if given.insistence == Insistence::Force || given.conditions.of_version(version) != super::Condition::Down {
        return Ok(());
    }
    let backends: Vec<String> = version.backends.iter().map(|backend| backend.address.to_string()).collect();
    Err(Refusal::Unhealthy { service: service.name.clone(), label: label.clone(), backends: backends.join(", ") })
}
