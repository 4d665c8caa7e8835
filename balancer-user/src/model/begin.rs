//! What a service begins with: the config's versions.

use super::{Circumstances, Entrance, Hold, Refusal, State, Verb, apply, flip::hold_above};
use crate::config;

/// Gives a service that has no versions those of the config. Answers what is to be said of them.
///
/// They are there from the beginning: which is active is chosen when their health is known, unless the config says so, and
/// there is nothing before it to go back to.
pub fn begin(state: &mut State, config: &config::Service, given: &Circumstances<'_>) -> Result<Vec<String>, Refusal> {
    let mut warnings = Vec::new();
    state.ensure_service(&config.name)?;
    for version in &config.versions {
        let verb =
            Verb::Add { label: version.label.clone(), backends: version.backends.clone(), entrance: Entrance::Normal };
        warnings.extend(apply(state, &config.name, given, &verb)?.warnings);
    }
    if let Some(service) = state.service_mut(&config.name) {
        service.adopt.clone_from(&config.adopt);
        service.active = None;
        service.past.clear();
        for version in &mut service.versions {
            version.was_active = false;
            // They may all have users from before the director was there.
            version.routed = true;
        }
        if let Some(active) = &config.active {
            // As if it had been flipped to: what is above it is not chosen on its own.
            service.set_active(active);
            hold_above(service, given.rules, active, Hold::Above);
        }
    }
    Ok(warnings)
}
