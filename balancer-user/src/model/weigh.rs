//! `backend weight`: another share of new sessions for one backend.

use std::net::SocketAddr;

use super::{
    Outcome, Refusal, State,
    change::{check_version, find},
};
use crate::{endpoint::Weight, label::Label};

pub(super) fn weigh(
    state: &mut State,
    name: &str,
    label: &Label,
    address: SocketAddr,
    weight: Weight,
) -> Result<Outcome, Refusal> {
    let service = find(state, name)?;
    check_version(service, label)?;
    let backends = service.version_mut(label).map(|version| &mut version.backends).into_iter().flatten();
    let mut known = Vec::new();
    let mut before = None;
    for backend in backends {
        known.push(backend.address);
        if backend.address == address {
            before = Some(std::mem::replace(&mut backend.weight, weight));
        }
    }
    let Some(before) = before else {
        return Err(Refusal::NoBackend { service: name.to_owned(), label: label.clone(), address, known });
    };
    let mut outcome = Outcome {
        version: Some(label.clone()),
        mode: Some(format!("{address}: {weight}")),
        changed: before != weight,
        ..Outcome::default()
    };
    if !outcome.changed {
        outcome.did.push(format!("{name}: {address} of {label} has the weight {weight} already; nothing changed"));
        return Ok(outcome);
    }
    outcome.undo = format!("balancer backend weight {name} {label} {address} {before}");
    outcome.did.push(format!("{name}: {address} of {label} has the weight {weight} (was {before})"));
    outcome.will.push(if weight.number() == 0 {
        format!("new sessions of {label} get other backends while one is there; those of {address} stay")
    } else {
        format!("new sessions of {label} are shared out anew; those that are bound stay")
    });
    Ok(outcome)
}
