//! `retire`: a version that nobody is left on goes, and is remembered.
//!
//! It leaves the policy as with `version rm`, its place and its backends' come free. What `retire` adds is care: it refuses
//! while anything is left.

use serde::{Deserialize, Serialize};

use super::{
    Circumstances, Insistence, Outcome, Refusal, Service, State, adopt, canary,
    change::{check_version, find},
    pin,
};
use crate::{config::Select, label::Label};

/// Retired versions that are remembered.
pub const MAX_RETIRED: usize = 16;

/// A version that was retired.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retired {
    pub label: Label,
    /// Unix seconds.
    pub at: u64,
    /// As `version add` takes them.
    pub backends: Vec<String>,
}

impl Retired {
    /// The command that brings it back, without its sessions (C15).
    pub fn again(&self, service: &str) -> String {
        let backends: Vec<String> = self.backends.iter().map(|backend| format!("--backend {backend}")).collect();
        format!("balancer version add {service} {} {}", self.label, backends.join(" "))
    }
}

/// What is left on a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Sessions within their time-out: that somebody came back with, and that nobody did yet.
    pub sessions: u64,
    pub issued: u64,
    /// Requests without a complete response; a connection that changed protocols counts as one for as long as it lasts.
    pub in_flight: i64,
}

impl Left {
    pub const fn nobody(&self) -> bool {
        self.sessions == 0 && self.issued == 0 && self.in_flight <= 0
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sessions, issued, in_flight } = self;
        write!(f, "{sessions} sessions, {issued} that nobody has come back with yet, {in_flight} requests in flight")
    }
}

pub(super) fn retire(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    if service.version(label).is_none()
        && let Some(retired) = service.retired.iter().find(|retired| retired.label == *label)
    {
        let at = humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + std::time::Duration::from_secs(retired.at));
        let did = vec![format!("{name}: {label} was retired at {at} already; nothing changed")];
        return Ok(Outcome { did, version: Some(label.clone()), ..Outcome::default() });
    }
    check_version(service, label)?;
    if service.is_active(label) || service.active.is_none() {
        return Err(Refusal::RetiresActive {
            service: name.to_owned(),
            label: label.clone(),
            explicit: given.rules.select == Select::Explicit,
        });
    }
    if given.insistence == Insistence::None && !given.left.nobody() {
        return Err(Refusal::NotEmpty { service: name.to_owned(), label: label.clone(), left: given.left });
    }
    let heir = service.active.as_ref().map_or("nothing", Label::as_str).to_owned();
    let ended = take_away(service, label, given.now);
    let undo = service.retired.last().map(|retired| retired.again(name)).unwrap_or_default();
    let mut outcome = Outcome {
        did: vec![format!("{name}: {label} is retired")],
        undo,
        version: Some(label.clone()),
        changed: true,
        ..Outcome::default()
    };
    outcome.will.push(if given.left.nobody() {
        format!("nobody is left on {label}: it goes")
    } else {
        format!("{label} goes, with {}; its sessions get {heir} and begin anew there", given.left)
    });
    outcome.will.extend(ended);
    // C15.
    outcome.warnings.push(format!("adding {label} again does not bring its sessions back"));
    Ok(outcome)
}

/// Takes a version away that nobody is left on; what is to be said of it.
pub fn go(state: &mut State, name: &str, label: &Label, now: u64) -> Result<String, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    let mut said = "nobody is left on it: it is retired".to_owned();
    for more in take_away(service, label, now) {
        said.push_str(&format!("; {more}"));
    }
    Ok(said)
}

/// Takes a version out of the service and remembers it; what is to be said of what goes with it.
pub(super) fn take_away(service: &mut Service, label: &Label, now: u64) -> Vec<String> {
    let mut said = Vec::new();
    said.extend(canary::stop(service, |other| other == label));
    said.extend(adopt::stop(service, |other| other == label));
    said.extend(pin::drop_of(service, label));
    let Some(at) = service.versions.iter().position(|version| version.label == *label) else { return said };
    let removed = service.versions.remove(at);
    service.forget(label);
    service.retired.retain(|retired| retired.label != *label);
    let backends = removed.backends.iter().map(|backend| backend.endpoint().to_string()).collect();
    service.retired.push(Retired { label: label.clone(), at: now, backends });
    let surplus = service.retired.len().saturating_sub(MAX_RETIRED);
    service.retired.drain(..surplus);
    said
}

/// Versions that go by themselves once nobody is left on them (`retire = "empty"`, C39): those that were active, and that are
/// not among the `keep` that were active last (C43).
pub fn candidates(service: &Service, keep: usize) -> Vec<Label> {
    let mut kept: Vec<&Label> = Vec::new();
    for label in service.active.iter().chain(service.past.iter().rev()) {
        if kept.len() < keep.max(1) && !kept.contains(&label) {
            kept.push(label);
        }
    }
    let goes = |version: &&super::Version| {
        version.was_active
            && version.drain.is_none()
            && !kept.contains(&&version.label)
            && service.adopt.as_ref() != Some(&version.label)
            && service.canary.as_ref().is_none_or(|canary| canary.label != version.label)
    };
    service.versions.iter().filter(goes).map(|version| version.label.clone()).collect()
}
