//! The verbs: what they ask for and what comes of them.

use serde::{Deserialize, Serialize};

use super::{Conditions, Refusal, State, add, adopt, flip, remove, rollback};
use crate::{config::Select, endpoint::Endpoint, label::Label, order::Order};

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    Add {
        label: Label,
        backends: Vec<Endpoint>,
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
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NewSessions => "new-sessions",
            Self::Forced => "forced",
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

/// What the config says about a service's versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    pub select: Select,
    pub order: Order,
}

/// What came of a verb, in sentences: before and after it is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub verb: &'static str,
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

/// Does `verb` to `service`. A refusal leaves a state that the caller must throw away: work on a clone.
pub fn apply(
    state: &mut State,
    service: &str,
    rules: Rules,
    conditions: &Conditions,
    verb: &Verb,
) -> Result<Outcome, Refusal> {
    match verb {
        Verb::Add { label, backends } => add::add(state, service, rules, conditions, label, backends),
        Verb::Remove { label } => remove::remove(state, service, rules, conditions, label),
        Verb::Flip { label, mode } => flip::flip(state, service, rules, conditions, label, *mode),
        Verb::Rollback { sessions } => rollback::rollback(state, service, rules, conditions, *sessions),
        Verb::Adopt { label } => adopt::adopt(state, service, label.as_ref()),
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

/// Refuses a version that could serve nobody. One that was not checked yet passes.
pub(super) fn check_healthy(service: &super::Service, conditions: &Conditions, label: &Label) -> Result<(), Refusal> {
    let Some(version) = service.version(label) else { return Ok(()) };
    if conditions.of_version(version) != super::Condition::Down {
        return Ok(());
    }
    let backends: Vec<String> = version.backends.iter().map(|backend| backend.address.to_string()).collect();
    Err(Refusal::Unhealthy { service: service.name.clone(), label: label.clone(), backends: backends.join(", ") })
}
