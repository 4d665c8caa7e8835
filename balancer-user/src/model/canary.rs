//! Canaries: a share of new sessions gets another version (D17), until it is promoted or given up.
//!
//! Sessions stay where they began, on both sides. Who gets the canary is decided by a hash of the client's address with a salt
//! that stays while the share grows: nobody changes sides because of that.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    Circumstances, Guard, Hold, Outcome, Over, Refusal, Service, Sessions, State, Tally,
    change::{check_healthy, check_room, check_version, find},
    flip::{hold_above, move_sessions},
    hold,
};
use crate::label::Label;

/// A canary that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    pub label: Label,
    pub percent: Percent,
    pub salt: u64,
    /// Unix seconds.
    pub since: u64,
    /// New sessions that the canary and the active version had before: what is measured begins here.
    pub born: (u64, u64),
    /// When it is given up by itself; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// What had become of requests of the canary and of the active version before.
    #[serde(default)]
    pub before: (Tally, Tally),
}

/// A canary that was given up by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aborted {
    pub label: Label,
    /// Unix seconds.
    pub at: u64,
    pub why: String,
}

/// What an operator says of when a canary is to be given up; what he does not say is the config's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GuardWish {
    pub over: Option<Over>,
    pub min_requests: Option<u64>,
}

impl GuardWish {
    fn granted(self, default: GuardDefault) -> Option<Guard> {
        let Over(over) = self.over.unwrap_or(default.over);
        Some(Guard { over: over?, min_requests: self.min_requests.unwrap_or(default.min_requests) })
    }
}

/// What the config says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardDefault {
    pub over: Over,
    pub min_requests: u64,
    /// What becomes of the canary's sessions.
    pub sessions: Sessions,
}

impl Default for GuardDefault {
    fn default() -> Self {
        Self { over: Over(Some(Percent(500))), min_requests: 50, sessions: Sessions::Move }
    }
}

/// A share of new sessions: hundredths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Percent(u32);

impl Percent {
    /// Of 2³², as the data path has it; all of them is one less.
    pub fn share(self) -> u32 {
        u32::try_from((u64::from(self.0) << 32) / 10_000).unwrap_or(u32::MAX)
    }
}

impl TryFrom<f64> for Percent {
    type Error = String;

    fn try_from(percent: f64) -> Result<Self, String> {
        let hundredths = (percent * 100.0).round();
        if !(1.0..=10_000.0).contains(&hundredths) {
            return Err(format!("{percent} is not a share of new sessions: write 0.01 to 100"));
        }
        Ok(Self(hundredths as u32))
    }
}

impl From<Percent> for f64 {
    fn from(percent: Percent) -> Self {
        Self::from(percent.0) / 100.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: f64 = text
            .trim_end_matches('%')
            .parse()
            .map_err(|_| format!("`{text}` is not a share of new sessions: write 0.01 to 100"))?;
        number.try_into()
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", f64::from(*self))
    }
}

/// `flip --mode percent`.
pub(super) fn begin(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
    percent: Percent,
    wish: GuardWish,
) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    check_healthy(service, given, label)?;
    check_room(service, given)?;
    if service.is_active(label) {
        return Err(Refusal::CanaryActive { service: name.to_owned(), label: label.clone() });
    }
    if let Some(other) = service.canary.as_ref().filter(|canary| canary.label != *label) {
        return Err(Refusal::OtherCanary { service: name.to_owned(), label: other.label.clone() });
    }
    let before = service.canary.clone();
    let guard = match &before {
        Some(before) if wish == GuardWish::default() => before.guard,
        _ => wish.granted(given.guard),
    };
    let mut outcome = Outcome {
        version: Some(label.clone()),
        mode: Some(format!("percent {percent}")),
        changed: before.as_ref().is_none_or(|before| before.percent != percent || before.guard != guard),
        ..Outcome::default()
    };
    if !outcome.changed {
        outcome.did.push(format!("{name}: {label} is a canary with {percent} % already; nothing changed"));
        return Ok(outcome);
    }
    outcome.undo = match &before {
        Some(before) => format!("balancer flip {name} {label} --mode percent --percent {}", before.percent),
        None => format!("balancer abort {name}"),
    };
    service.canary = Some(match before {
        Some(before) => Canary { percent, guard, ..before },
        None => Canary {
            label: label.clone(),
            percent,
            salt: given.random,
            since: given.now,
            born: given.born,
            guard,
            before: given.before,
        },
    });
    service.aborted = None;
    if let Some(version) = service.version_mut(label) {
        version.held = Some(Hold::Canary);
        version.drain = None;
        version.routed = true;
    }
    let active = service.active.as_ref().map_or("nothing", Label::as_str);
    outcome
        .will
        .push(format!("{percent} % of new sessions get {label}, the others {active}; all stay where they begin"));
    outcome.will.push("sessions that are bound stay where they are".to_owned());
    if let Some(Guard { over, min_requests }) = guard {
        outcome.will.push(format!(
            "{label} is given up by itself if its failures exceed {active}'s by more than {over} points, after {min_requests} requests"
        ));
    }
    outcome.did.push(format!("{name}: {label} is a canary with {percent} % of new sessions"));
    Ok(outcome)
}

/// `promote`: the canary is active.
pub(super) fn promote(state: &mut State, name: &str, given: &Circumstances<'_>) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    let Some(Canary { label, .. }) = service.canary.clone() else {
        return Err(Refusal::NoCanary { service: name.to_owned() });
    };
    check_healthy(service, given, &label)?;
    check_room(service, given)?;
    let old = service.active.clone();
    service.canary = None;
    service.aborted = None;
    service.activate(&label);
    hold_above(service, given.rules, &label, Hold::Above);
    let old = old.as_ref().map_or("nothing", Label::as_str);
    Ok(Outcome {
        will: vec![
            format!("all new sessions get {label} instead of {old}"),
            "sessions that are bound stay where they are".to_owned(),
        ],
        did: vec![format!("{name}: {label} is active (was {old})")],
        undo: format!("balancer rollback {name} --sessions keep"),
        version: Some(label),
        warnings: hold::still(service).into_iter().collect(),
        changed: true,
        ..Outcome::default()
    })
}

/// `abort`: an exclusive flip that is under way is given up; else the canary gets no more.
pub(super) fn abort(state: &mut State, name: &str, sessions: Sessions) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    if let Some(flip) = service.exclusive.take() {
        return Ok(hold::give_up(service, flip));
    }
    stop_canary(service, sessions)
}

/// The canary gets no more.
fn stop_canary(service: &mut Service, sessions: Sessions) -> Result<Outcome, Refusal> {
    let name = service.name.clone();
    let name = name.as_str();
    let Some(Canary { label, percent, .. }) = service.canary.take() else {
        return Err(Refusal::NoCanary { service: name.to_owned() });
    };
    if let Some(version) = service.version_mut(&label) {
        version.held = Some(Hold::RolledBack);
    }
    let moved = match sessions {
        Sessions::Move => move_sessions(service, |other| *other == label).1,
        Sessions::Keep => None,
    };
    let active = service.active.as_ref().map_or("nothing", Label::as_str);
    let mut outcome = Outcome {
        will: vec![format!("all new sessions get {active}; {label} is held until it is flipped to")],
        did: vec![format!("{name}: {label} is no longer a canary")],
        undo: format!("balancer flip {name} {label} --mode percent --percent {percent}"),
        version: Some(label.clone()),
        mode: Some(sessions.as_str().to_owned()),
        changed: true,
        ..Outcome::default()
    };
    outcome.will.push(match sessions {
        Sessions::Move => format!("sessions born on {label} get {active} at their next request, and begin anew there"),
        Sessions::Keep => format!("sessions born on {label} stay there"),
    });
    outcome.will.extend(moved);
    Ok(outcome)
}

/// Gives a canary up that fails; what is to be said of it.
pub fn give_up(state: &mut State, name: &str, sessions: Sessions, why: &str, now: u64) -> Result<String, Refusal> {
    let outcome = stop_canary(find(state, name)?, sessions)?;
    let label = outcome.version.clone();
    if let (Some(service), Some(label)) = (state.service_mut(name), label) {
        service.aborted = Some(Aborted { label, at: now, why: why.to_owned() });
    }
    Ok(format!("it is given up as a canary: {why}"))
}

/// Ends the canary where another change has made it pointless; what is to be said of it.
pub(super) fn stop(service: &mut Service, which: impl Fn(&Label) -> bool) -> Option<String> {
    let canary = service.canary.take_if(|canary| which(&canary.label))?;
    if let Some(version) = service.version_mut(&canary.label)
        && version.held == Some(Hold::Canary)
    {
        version.held = Some(Hold::Above);
    }
    Some(format!("{} is no longer a canary", canary.label))
}
