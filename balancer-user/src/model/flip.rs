//! `flip`.

use super::{
    Circumstances, Hold, Mode, Outcome, Refusal, Rules, Service, State, adopt, canary,
    change::{check_healthy, check_room, check_version, find},
    hold,
};
use crate::{config::Select, label::Label};

pub(super) fn flip(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
    mode: Mode,
) -> Result<Outcome, Refusal> {
    let rules = given.rules;
    let service = find(state, name)?;
    check_version(service, label)?;
    check_healthy(service, given, label)?;
    check_room(service, given)?;
    if mode == Mode::Exclusive {
        // It is over with this change.
        service.exclusive = None;
    }
    let before = service.clone();

    service.canary.take_if(|canary| canary.label == *label);
    service.aborted.take_if(|aborted| aborted.label == *label);
    service.activate(label);
    let held = hold_above(service, rules, label, Hold::Above);
    let (moved, stopped) = match mode {
        Mode::NewSessions => (Vec::new(), None),
        Mode::Forced | Mode::Exclusive => move_sessions(service, |other| other != label),
    };
    let ended = canary::stop(service, |_| true);

    let old = before.active.as_ref().map_or("nothing", Label::as_str);
    let mut outcome = Outcome {
        undo: format!(
            "balancer flip {name} {old}{}",
            match mode {
                Mode::NewSessions => "",
                Mode::Forced => " --mode forced",
                Mode::Exclusive => " --mode exclusive",
            }
        ),
        version: Some(label.clone()),
        mode: Some(mode.as_str().to_owned()),
        changed: *service != before,
        ..Outcome::default()
    };
    if !outcome.changed {
        outcome.will.push(format!("nothing: new sessions get {label} already"));
        outcome.did.push(format!("{name}: {label} was active already; nothing changed"));
        outcome.undo.clear();
        return Ok(outcome);
    }
    if before.is_active(label) {
        outcome.will.push(format!("new sessions go on getting {label}"));
        outcome.did.push(format!("{name}: {label} stays active"));
        // There is no flip that takes back a flip to what was active already.
        outcome.undo.clear();
    } else {
        outcome.will.push(format!("new sessions get {label} instead of {old}"));
        outcome.did.push(format!("{name}: {label} is active (was {old})"));
    }
    match mode {
        Mode::NewSessions => outcome.will.push("sessions that are bound stay where they are".to_owned()),
        Mode::Forced | Mode::Exclusive => {
            if mode == Mode::Exclusive {
                outcome
                    .will
                    .insert(0, "new requests are held until those in flight on other versions have ended".to_owned());
            }
            let from = if moved.is_empty() { "other versions".to_owned() } else { join(&moved) };
            outcome
                .will
                .push(format!("sessions of {from} get {label} at their next request, also on open connections"));
            outcome.will.push("those that the versions do not share begin anew".to_owned());
            outcome.will.extend(stopped);
            outcome.did.push(format!("every session gets {label} at its next request"));
        }
    }
    outcome.will.extend(ended);
    outcome.warnings.extend(hold::still(service));
    if !held.is_empty() {
        outcome.will.push(format!("{} will be held: not chosen on its own until flipped to", join(&held)));
        outcome.did.push(format!("{} held", join(&held)));
    }
    Ok(outcome)
}

/// Under `highest`, pins `label` as the top: holds what is above it and lifts such holds at and below it.
///
/// Answers what is newly held.
pub(super) fn hold_above(service: &mut Service, rules: Rules, label: &Label, hold: Hold) -> Vec<Label> {
    if rules.select == Select::Explicit {
        return Vec::new();
    }
    let above = service.above(rules.order, label);
    let mut newly = Vec::new();
    for version in &mut service.versions {
        if version.label == *label {
            version.held = None;
        } else if above.contains(&version.label) {
            if version.held.is_none() {
                newly.push(version.label.clone());
                version.held = Some(hold);
            }
        } else if version.held == Some(Hold::Above) {
            version.held = None;
        }
    }
    newly
}

/// Moves the sessions of the versions that `which` names: a new generation, so that their bindings count no more, and
/// neither routes nor adoption lead there. Answers whom it concerns, and what is to be said of adoption.
pub(super) fn move_sessions(service: &mut Service, which: impl Fn(&Label) -> bool) -> (Vec<Label>, Option<String>) {
    let labels: Vec<Label> = service.labels().into_iter().filter(|label| which(label)).collect();
    for label in &labels {
        let generation = service.take_generation();
        if let Some(version) = service.version_mut(label) {
            version.generation = generation;
            version.routed = false;
        }
    }
    (labels, adopt::stop(service, which))
}

fn join(labels: &[Label]) -> String {
    labels.iter().map(Label::as_str).collect::<Vec<_>>().join(", ")
}
