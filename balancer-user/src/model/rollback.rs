//! `rollback`: to the version that was active before, without an argument (D18).

use super::{
    Circumstances, Hold, Outcome, Refusal, Sessions, State, canary,
    change::{check_healthy, find},
    flip::{hold_above, move_sessions},
    hold,
};
use crate::{config::Select, label::Label};

pub(super) fn rollback(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    sessions: Sessions,
) -> Result<Outcome, Refusal> {
    let rules = given.rules;
    let service = find(state, name)?;
    let Some(target) = service.past.pop() else {
        return Err(Refusal::NothingBefore { service: name.to_owned() });
    };
    check_healthy(service, given, &target)?;
    // After a fall-back the version before is active already; what is rolled back then is the one that it stands in for.
    let bad = if service.is_active(&target) {
        let sorted = service.sorted(rules.order);
        sorted.iter().rev().find(|version| version.held.is_none()).map(|version| version.label.clone())
    } else {
        service.active.clone()
    };

    let ended = canary::stop(service, |_| true);
    service.set_active(&target);
    let mut held = hold_above(service, rules, &target, Hold::Above);
    if let Some(bad) = bad.as_ref().filter(|bad| **bad != target)
        && rules.select == Select::Highest
        && let Some(version) = service.version_mut(bad)
    {
        // Also when it lies below the target: a bad release is nothing to fall back to.
        version.held = Some(Hold::RolledBack);
        if !held.contains(bad) {
            held.push(bad.clone());
        }
    }
    let stopped = match sessions {
        Sessions::Move => move_sessions(service, |label| Some(label) == bad.as_ref() && *label != target).1,
        Sessions::Keep => None,
    };

    let bad = bad.as_ref().map_or("nothing", Label::as_str);
    let mut outcome = Outcome {
        will: vec![format!("new sessions get {target} instead of {bad}")],
        did: vec![format!("{name}: rolled back from {bad} to {target}")],
        undo: format!("balancer flip {name} {bad}"),
        version: Some(target.clone()),
        mode: Some(sessions.as_str().to_owned()),
        changed: true,
        ..Outcome::default()
    };
    match sessions {
        Sessions::Move => {
            outcome
                .will
                .push(format!("sessions born on {bad} get {target} at their next request, and begin anew there"));
            outcome.will.extend(stopped);
            outcome.did.push(format!("sessions of {bad} move at their next request"));
        }
        Sessions::Keep => outcome.will.push(format!("sessions born on {bad} stay there")),
    }
    outcome.will.extend(ended);
    outcome.warnings.extend(hold::still(service));
    if !held.is_empty() {
        let held = held.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
        outcome.will.push(format!("{held} will be held: not chosen on its own until flipped to"));
        outcome.did.push(format!("{held} held"));
    }
    Ok(outcome)
}
