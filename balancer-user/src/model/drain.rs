//! `drain`: a version gets no new sessions, and ends when nobody is left on it, or at a deadline.
//!
//! An end has up to three steps, each a change of its own that a restarted daemon carries on from: the sessions that are left
//! move ([`close`]), what is still under way is closed, which is not the state's business, and then the version goes or stays
//! ([`finish`]).

use serde::{Deserialize, Serialize};

use super::{
    Circumstances, Hold, Outcome, Refusal, Service, State, adopt, canary,
    change::{check_version, find},
    flip::move_sessions,
    retire,
    select::reselect,
};
use crate::{config::Select, label::Label};

/// A drain that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Unix seconds, as all times here.
    pub since: u64,
    /// When it ends at the latest; `None`: when nobody is left.
    pub deadline: Option<u64>,
    pub then: Then,
    /// When its sessions were moved and the closing of what is left began.
    #[serde(default)]
    pub closing: Option<u64>,
}

/// What becomes of a version whose drain has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Then {
    /// It is retired. At a deadline its last sessions move and its last connections are closed before.
    #[default]
    Retire,
    /// It stays, with the sessions that it has (D11).
    Keep,
    /// Its last sessions move and its last connections are closed, and it stays.
    Close,
}

impl Then {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Retire => "retire",
            Self::Keep => "keep",
            Self::Close => "close",
        }
    }
}

/// What `drain` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drainage {
    Begin { deadline: Option<u64>, then: Then },
    Cancel,
}

pub(super) fn drain(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
    drainage: Drainage,
) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    match drainage {
        Drainage::Begin { deadline, then } => begin(service, given, label, deadline, then),
        Drainage::Cancel => Ok(cancel(service, label)),
    }
}

fn begin(
    service: &mut Service,
    given: &Circumstances<'_>,
    label: &Label,
    deadline: Option<u64>,
    then: Then,
) -> Result<Outcome, Refusal> {
    let name = service.name.clone();
    let was_active = service.is_active(label);
    if was_active && given.rules.select == Select::Explicit {
        return Err(Refusal::DrainsActive { service: name, label: label.clone() });
    }
    let before = service.clone();
    let ended = canary::stop(service, |other| other == label);
    let adopted = adopt::stop(service, |other| other == label);
    let Some(version) = service.version_mut(label) else { return Ok(Outcome::default()) };
    let since = version.drain.map_or(given.now, |drain| drain.since);
    version.drain = Some(Drain { since, deadline, then, closing: version.drain.and_then(|drain| drain.closing) });
    version.held = Some(Hold::Draining);
    if was_active {
        reselect(service, given.rules, given.conditions);
        if service.is_active(label) {
            return Err(Refusal::NobodyElse { service: name, label: label.clone() });
        }
        // It was drained, so it is no version to go back to.
        service.past.retain(|other| other != label);
    }
    let heir = service.active.as_ref().map_or("nothing", Label::as_str).to_owned();
    let mut outcome = Outcome {
        version: Some(label.clone()),
        mode: Some(then.as_str().to_owned()),
        changed: *service != before,
        ..Outcome::default()
    };
    if !outcome.changed {
        outcome.did.push(format!("{name}: {label} is draining like that already; nothing changed"));
        return Ok(outcome);
    }
    outcome.undo = if was_active {
        format!("balancer flip {name} {label}")
    } else {
        format!("balancer drain {name} {label} --cancel")
    };
    if was_active {
        outcome.will.push(format!("new sessions get {heir} instead of {label}"));
    }
    outcome.will.push(format!("{label} gets no new sessions; those that it has stay on it"));
    outcome.will.push(prospect(label, &heir, deadline.map(|deadline| deadline.saturating_sub(given.now)), then));
    outcome.will.extend(ended);
    outcome.will.extend(adopted);
    outcome.did.push(format!("{name}: {label} is draining"));
    Ok(outcome)
}

/// What will become of it.
fn prospect(label: &Label, heir: &str, seconds: Option<u64>, then: Then) -> String {
    let end = match (then, seconds) {
        (Then::Retire, _) => format!("{label} is retired"),
        (Then::Keep, _) => format!("{label} stays"),
        (Then::Close, _) => format!("{label} stays, without sessions and connections"),
    };
    let Some(seconds) = seconds else { return format!("when nobody is left on it, {end}") };
    let wait = humantime::format_duration(std::time::Duration::from_secs(seconds));
    match then {
        Then::Keep => format!("when nobody is left on it, or in {wait}, {end} with what it has"),
        Then::Retire | Then::Close => format!(
            "when nobody is left on it, {end}; in {wait} at the latest: then its last sessions get {heir} and its last \
             connections are closed"
        ),
    }
}

fn cancel(service: &mut Service, label: &Label) -> Outcome {
    let name = service.name.clone();
    let before = service.version_mut(label).and_then(|version| version.drain.take());
    let mut outcome = Outcome { version: Some(label.clone()), changed: before.is_some(), ..Outcome::default() };
    if before.is_none() {
        outcome.did.push(format!("{name}: {label} is not draining; nothing changed"));
        return outcome;
    }
    if let Some(version) = service.version_mut(label)
        && version.held == Some(Hold::Draining)
    {
        // Not to be chosen on its own all the same: whoever drained it did not want it to be.
        version.held = Some(Hold::Above);
    }
    outcome.mode = Some("cancel".to_owned());
    outcome.will.push(format!("{label} stays as it is; it gets new sessions when it is flipped to"));
    outcome.did.push(format!("{name}: {label} is no longer draining"));
    outcome.undo = format!("balancer drain {name} {label}");
    outcome
}

/// The deadline has come: the sessions that are left move. Answers what is to be said of it.
pub fn close(state: &mut State, name: &str, label: &Label, now: u64) -> Result<String, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    if let Some(drain) = service.version_mut(label).and_then(|version| version.drain.as_mut()) {
        drain.closing = Some(now);
    }
    let (_, stopped) = move_sessions(service, |other| other == label);
    let heir = service.active.as_ref().map_or("nothing", Label::as_str);
    let mut said = format!("its deadline has come: its last sessions get {heir}, its last connections are closed");
    said.extend(stopped.map(|stopped| format!("; {stopped}")));
    Ok(said)
}

/// The drain is over, however it came to that. Answers what is to be said of it.
pub fn finish(state: &mut State, name: &str, label: &Label, now: u64) -> Result<String, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    let Some(drain) = service.version_mut(label).and_then(|version| version.drain.take()) else {
        return Ok("it was not draining".to_owned());
    };
    let how = match (drain.closing, drain.deadline.is_some_and(|deadline| deadline <= now)) {
        (Some(_), _) => "it was closed at its deadline",
        (None, true) => "its deadline has come",
        (None, false) => "nobody is left on it",
    };
    Ok(match drain.then {
        Then::Retire => {
            retire::take_away(service, label, now);
            format!("{how}: it is retired")
        }
        Then::Keep | Then::Close => format!("{how}: it stays, and gets no new sessions until it is flipped to"),
    })
}
