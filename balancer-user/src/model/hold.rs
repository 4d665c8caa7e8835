//! Holds that are written down: `pause`, and exclusive flips while they are under way.
//!
//! The kernel holds until a point in time by itself. What is here is for a daemon that is started again: it goes on with a pause, and
//! with a flip.

use serde::{Deserialize, Serialize};

use super::{Circumstances, Mode, Outcome, Refusal, Service, State, change::find};
use crate::label::Label;

/// A service's requests are held, until somebody resumes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pause {
    /// Unix seconds.
    pub since: u64,
    /// Unix milliseconds: requests go on then, whoever is there.
    pub until: u64,
}

/// An exclusive flip that is under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusive {
    pub label: Label,
    /// Unix seconds.
    pub since: u64,
    /// Who asked for it.
    pub who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default)]
    pub force: bool,
    /// How it goes about it.
    #[serde(default)]
    pub way: Way,
    /// The hook `during` is running, or was when the daemon ended.
    #[serde(default)]
    pub hook: bool,
}

/// How an exclusive flip goes about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Way {
    /// Unix milliseconds: until then requests are held at most. No two flips of a service have the same.
    pub until: u64,
    /// For how long that was when it began.
    pub hold_milliseconds: u64,
    pub on_timeout: OnTimeout,
    pub opaque: Opaque,
    /// For so long a request counts whose client went away.
    pub abandon_after_milliseconds: u64,
}

/// What an exclusive flip does when requests of the old version do not end in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimeout {
    /// Everything is as it was.
    #[default]
    Return,
    /// They are reset, and it flips.
    Cut,
}

/// What an exclusive flip does with connections that changed protocols, or are not followed for another reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Opaque {
    /// It waits for their end.
    #[default]
    Wait,
    /// It resets them.
    Close,
}

/// `abort` of an exclusive flip: what it has held goes on, and everything is as before.
pub(super) fn give_up(service: &mut Service, flip: Exclusive) -> Outcome {
    let Exclusive { label, who, .. } = flip;
    let (name, active) = (&service.name, service.active.as_ref().map_or("nothing", Label::as_str));
    Outcome {
        will: vec![
            format!("the exclusive flip to {label}, which {who} asked for, is given up; {active} stays active"),
            "requests that are held go on at once".to_owned(),
        ],
        did: vec![format!("{name}: the exclusive flip to {label} is given up, {active} stays active")],
        undo: format!("balancer flip {name} {label} --mode exclusive"),
        version: Some(label),
        mode: Some(Mode::Exclusive.as_str().to_owned()),
        changed: true,
        ..Outcome::default()
    }
}

/// `pause`.
pub(super) fn pause(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    until: u64,
    said: &str,
) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    let again = service.pause.is_some();
    let since = service.pause.map_or(given.now, |pause| pause.since);
    service.pause = Some(Pause { since, until });
    Ok(Outcome {
        will: vec![
            format!("new requests are held until it is resumed, for {said} at most; those in flight go on"),
            "what was asked meanwhile is answered then; who does not wait so long gets no answer".to_owned(),
        ],
        did: vec![format!("{name}: requests are held for {said} at most{}", if again { ", from now on" } else { "" })],
        undo: format!("balancer resume {name}"),
        mode: Some(said.to_owned()),
        changed: true,
        ..Outcome::default()
    })
}

/// What whoever changes a paused service should know.
pub(super) fn still(service: &Service) -> Option<String> {
    service.pause.map(|_| format!("requests are still held by a pause: balancer resume {}", service.name))
}

/// `resume`.
pub(super) fn resume(state: &mut State, name: &str) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    if service.pause.take().is_none() {
        return Err(Refusal::NotPaused { service: name.to_owned() });
    }
    let active = service.active.as_ref().map_or("nothing", Label::as_str);
    Ok(Outcome {
        will: vec![format!("requests go on at once; new sessions get {active}")],
        did: vec![format!("{name}: requests go on")],
        changed: true,
        ..Outcome::default()
    })
}
