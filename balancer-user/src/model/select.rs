//! Which version new sessions get, as far as nobody commands it.

use super::{Condition, Conditions, Rules, Service};
use crate::{config::Select, label::Label};

/// A change of the active version that follows from rules and health.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    pub from: Option<Label>,
    pub to: Label,
    pub why: String,
}

/// Lets rules and health choose the active version; what changed, if anything did.
pub fn reselect(service: &mut Service, rules: Rules, conditions: &Conditions) -> Option<Switch> {
    let label = choose(service, rules, conditions)?;
    if service.is_active(&label) {
        return None;
    }
    let from = service.active.clone();
    let why = reason(service, conditions, &label);
    // A version's first turn is a release that one may want to roll back; a fall-back and a return are not, whoever had a turn before.
    let first_turn = service.version(&label).is_some_and(|version| !version.was_active);
    let stands_in = from.as_ref().is_some_and(|from| service.above(rules.order, &label).contains(from));
    if first_turn && !stands_in {
        service.activate(&label)
    } else {
        service.set_active(&label)
    }
    if let Some(version) = service.version_mut(&label) {
        version.held = None;
    }
    Some(Switch { from, to: label, why })
}

/// The version that rules and health want; `None` if there is none at all.
fn choose(service: &Service, rules: Rules, conditions: &Conditions) -> Option<Label> {
    let current = service.active().map(|version| version.label.clone());
    match rules.select {
        Select::Explicit => current.or_else(|| service.versions.first().map(|version| version.label.clone())),
        Select::Highest => {
            let sorted = service.sorted(rules.order);
            let highest = |wanted: Condition| {
                let mut falling = sorted.iter().rev();
                falling.find(|v| v.held.is_none() && conditions.of_version(v) == wanted).map(|v| v.label.clone())
            };
            // Newest means newest healthy (C6). If nothing is healthy, moving would help nobody.
            highest(Condition::Up)
                .or(current)
                .or_else(|| highest(Condition::Unknown))
                .or_else(|| highest(Condition::Down))
                .or_else(|| sorted.last().map(|version| version.label.clone()))
        }
    }
}

fn reason(service: &Service, conditions: &Conditions, to: &Label) -> String {
    match service.active() {
        Some(old) if conditions.of_version(old) == Condition::Down => {
            format!("`{}` has no healthy backend any more", old.label)
        }
        Some(_) => format!("`{to}` is healthy and the highest"),
        None => format!("no version was active, and `{to}` is the first choice"),
    }
}
