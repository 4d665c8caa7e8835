//! `service adopt`: what becomes of ids that nobody knows (C9).
//!
//! For the day on which the director is put in front of an application that is already running: its users carry ids that no
//! response in the director's sight has issued. Off by default, since anybody can make up an id.

use super::{
    Outcome, Refusal, Service, State,
    change::{check_version, find},
};
use crate::label::Label;

pub(super) fn adopt(state: &mut State, name: &str, label: Option<&Label>) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    if let Some(label) = label {
        check_version(service, label)?;
    }
    let before = std::mem::replace(&mut service.adopt, label.cloned());
    let command = |label: Option<&Label>| format!("balancer service adopt {name} {}", shown(label));
    let mut outcome = Outcome {
        undo: command(before.as_ref()),
        version: label.cloned(),
        changed: before.as_ref() != label,
        ..Outcome::default()
    };
    match label {
        _ if !outcome.changed => {
            outcome.undo.clear();
            outcome.did.push(format!("{name}: adopt is {} already; nothing changed", shown(label)));
        }
        Some(label) => {
            outcome.will.push(format!("ids that nobody knows get {label}, and are bound to the backend they come to"));
            outcome.did.push(format!("{name}: unknown ids are adopted into {label}"));
            let off = command(None);
            outcome.warnings.push(format!("anybody can make up an id: when the users have come by once, {off}"));
        }
        None => {
            outcome.will.push("ids that nobody knows get what new sessions get, and are not bound".to_owned());
            outcome.did.push(format!("{name}: unknown ids are no longer adopted"));
        }
    }
    Ok(outcome)
}

fn shown(label: Option<&Label>) -> &str {
    label.map_or("off", Label::as_str)
}

/// Ends the adoption into a version that is to have no sessions any more; what is to be said of it.
pub(super) fn stop(service: &mut Service, which: impl Fn(&Label) -> bool) -> Option<String> {
    let label = service.adopt.take_if(|label| which(label))?;
    Some(format!("ids that nobody knows are no longer adopted into {label}"))
}
