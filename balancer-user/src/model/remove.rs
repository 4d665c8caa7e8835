//! `version rm`.

use super::{
    Circumstances, Outcome, Refusal, State, adopt, canary,
    change::{check_version, find},
    pin,
    select::reselect,
};
use crate::{config::Select, label::Label};

pub(super) fn remove(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
) -> Result<Outcome, Refusal> {
    let Circumstances { rules, conditions, .. } = *given;
    let service = find(state, name)?;
    check_version(service, label)?;
    if service.versions.len() == 1 {
        return Err(Refusal::Last { service: name.to_owned(), label: label.clone() });
    }
    let was_active = service.is_active(label);
    if was_active && rules.select == Select::Explicit {
        return Err(Refusal::Active { service: name.to_owned(), label: label.clone() });
    }

    let at = service.versions.iter().position(|version| version.label == *label).unwrap_or_default();
    let removed = service.versions.remove(at);
    service.forget(label);
    if was_active {
        service.active = None;
        reselect(service, rules, conditions);
        // What is active now needs no entry to go back to it.
        if service.past.last() == service.active.as_ref() {
            service.past.pop();
        }
    }

    let heir = service.active.as_ref().map_or("nothing", Label::as_str).to_owned();
    let backends: Vec<String> = removed.backends.iter().map(|b| format!("--backend {}", b.endpoint())).collect();
    let mut outcome = Outcome {
        will: vec![format!("sessions of {label} get {heir} at their next request, and begin anew there")],
        did: vec![format!("{name}: {label} is removed: its users get {heir}")],
        undo: format!("balancer version add {name} {label} {}", backends.join(" ")),
        version: Some(label.clone()),
        changed: true,
        ..Outcome::default()
    };
    let service = find(state, name)?;
    outcome.will.extend(adopt::stop(service, |other| other == label));
    outcome.will.extend(canary::stop(service, |other| other == label));
    outcome.will.extend(pin::drop_of(service, label));
    if was_active {
        outcome.will.push(format!("new sessions get {heir} instead of {label}"));
    }
    // C15.
    outcome.warnings.push(format!("adding {label} again does not bring its sessions back"));
    Ok(outcome)
}
