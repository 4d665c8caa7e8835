//! Holds that are written down: `pause`, and exclusive flips while they are under way.
//!
//! The kernel holds until a point in time by itself. What is here is for a daemon that is started again: it goes on with a pause,
//! and knows that a flip was cut off.

use serde::{Deserialize, Serialize};

use super::{Circumstances, Outcome, Refusal, State, change::find};
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
    /// The hook `during` is running, or was when the daemon ended.
    #[serde(default)]
    pub hook: bool,
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
    if let Some(flip) = &service.exclusive {
        return Err(Refusal::FlipHolds { service: name.to_owned(), label: flip.label.clone() });
    }
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

/// `resume`.
pub(super) fn resume(state: &mut State, name: &str) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    if service.pause.take().is_none() {
        return Err(match &service.exclusive {
            Some(flip) => Refusal::FlipHolds { service: name.to_owned(), label: flip.label.clone() },
            None => Refusal::NotPaused { service: name.to_owned() },
        });
    }
    let active = service.active.as_ref().map_or("nothing", Label::as_str);
    Ok(Outcome {
        will: vec![format!("requests go on at once; new sessions get {active}")],
        did: vec![format!("{name}: requests go on")],
        changed: true,
        ..Outcome::default()
    })
}
