//! `version add`.

use std::collections::BTreeSet;

use balancer_ebpf::layout::{MAX_ROUTES, VERSION_BACKENDS};

use super::{
    Backend, Circumstances, Entrance, Hold, Outcome, Refusal, Rules, Service, State, Version, change::find,
    select::reselect,
};
use crate::{config::Select, endpoint::Endpoint, family::Family, label::Label, order::padding_trap};

pub(super) fn add(
    state: &mut State,
    name: &str,
    given: &Circumstances<'_>,
    label: &Label,
    endpoints: &[Endpoint],
    entrance: Entrance,
) -> Result<Outcome, Refusal> {
    let Circumstances { rules, conditions, .. } = *given;
    let service = find(state, name)?;
    if let Some(version) = service.version(label) {
        let same = version.backends.iter().map(super::Backend::endpoint).eq(endpoints.iter().copied());
        if same {
            let did = vec![format!("{name}: {label} is there already, with the same backends; nothing changed")];
            return Ok(Outcome { did, version: Some(label.clone()), ..Outcome::default() });
        }
        return Err(Refusal::Exists { service: name.to_owned(), label: label.clone() });
    }
    if let Some(what) = rules.order.refuses(label) {
        return Err(Refusal::NoOrder(what));
    }
    check_endpoints(label, endpoints)?;
    if let Some(other) = endpoints.iter().find(|endpoint| Family::from(endpoint.address) != rules.family) {
        let (service, label) = (name.to_owned(), label.clone());
        return Err(Refusal::OtherFamily { service, label, address: other.address, family: rules.family });
    }
    let mut warnings = shared_addresses(service, endpoints);
    warnings.extend(shared_routes(service, endpoints));
    let routes = service.versions.iter().flat_map(|version| &version.backends).filter_map(|backend| backend.route);
    if routes.chain(endpoints.iter().filter_map(|endpoint| endpoint.route)).count() > MAX_ROUTES {
        return Err(Refusal::NoRoom { what: "routes of a service", limit: MAX_ROUTES as u32 });
    }

    let index = service.take_index()?;
    let generation = service.take_generation();
    let mut backends = Vec::new();
    for Endpoint { address, route, weight } in endpoints.iter().copied() {
        backends.push(Backend { id: state.take_backend_id()?, address, route, weight });
    }
    let service = find(state, name)?;
    service.versions.push(Version {
        label: label.clone(),
        index,
        generation,
        birth: Some(generation),
        held: match entrance {
            Entrance::Normal => None,
            Entrance::Staged => Some(Hold::Staged),
        },
        drain: None,
        was_active: false,
        routed: false,
        backends,
    });
    service.retired.retain(|retired| retired.label != *label);
    // The first version of a service has no choice but to be active.
    reselect(service, rules, conditions);

    let mut outcome = Outcome {
        did: vec![format!("{name}: {label} is added with {}", backends_of(endpoints))],
        undo: format!("balancer version rm {name} {label}"),
        version: Some(label.clone()),
        changed: true,
        ..Outcome::default()
    };
    if let Some((low, high)) = padding_trap(rules.order, &service.labels()) {
        warnings.push(format!(
            "`{low}` sorts below `{high}` by string (order = \"string\"): new sessions will get {}. \
             Pad the labels alike, or set order = \"numeric\"",
            highest(service, rules),
        ));
    }
    outcome.warnings = warnings;
    outcome.will.push(prospect(service, rules, label));
    outcome.will.push("sessions that are bound stay where they are".to_owned());
    Ok(outcome)
}

fn check_endpoints(label: &Label, endpoints: &[Endpoint]) -> Result<(), Refusal> {
    if endpoints.is_empty() || endpoints.len() > VERSION_BACKENDS {
        let (count, limit) = (endpoints.len(), VERSION_BACKENDS);
        return Err(Refusal::Backends { label: label.clone(), count, limit });
    }
    let mut seen = BTreeSet::new();
    if let Some(twice) = endpoints.iter().find(|endpoint| !seen.insert(endpoint.address)) {
        return Err(Refusal::TwiceBackend { label: label.clone(), address: twice.address });
    }
    let mut seen = BTreeSet::new();
    match endpoints.iter().filter_map(|endpoint| endpoint.route).find(|route| !seen.insert(*route)) {
        Some(route) => Err(Refusal::TwiceRoute { label: label.clone(), route }),
        None => Ok(()),
    }
}

fn backends_of(endpoints: &[Endpoint]) -> String {
    match endpoints {
        [only] => format!("the backend {only}"),
        several => format!("{} backends", several.len()),
    }
}

/// A server that runs one release at a time may serve two versions on paper while it is updated, so this only warns.
fn shared_addresses(service: &Service, endpoints: &[Endpoint]) -> Vec<String> {
    let pairs = service.versions.iter().flat_map(|v| v.backends.iter().map(move |b| (&v.label, b.address)));
    pairs
        .filter(|(_, address)| endpoints.iter().any(|endpoint| endpoint.address == *address))
        .map(|(label, address)| format!("{address} also serves version `{label}`: is that meant?"))
        .collect()
}

/// A route that two versions have does not say which of them issued an id.
fn shared_routes(service: &Service, endpoints: &[Endpoint]) -> Vec<String> {
    let backends = service.versions.iter().flat_map(|v| v.backends.iter().map(move |b| (&v.label, b.route)));
    backends
        .filter(|(_, route)| route.is_some() && endpoints.iter().any(|endpoint| endpoint.route == *route))
        .map(|(label, route)| {
            let route = route.map(|route| route.to_string()).unwrap_or_default();
            format!("`{route}` is a route of version `{label}` as well: an id that nobody knows goes to the active one of the two")
        })
        .collect()
}

fn highest(service: &Service, rules: Rules) -> String {
    service
        .sorted(rules.order)
        .iter()
        .rev()
        .find(|v| v.held.is_none())
        .map_or("nothing".into(), |v| v.label.to_string())
}

/// What will become of the new version.
fn prospect(service: &Service, rules: Rules, label: &Label) -> String {
    if service.is_active(label) {
        return format!("new sessions get {label}, the only version");
    }
    let active = service.active.as_ref().map_or("nothing", Label::as_str);
    if service.version(label).is_some_and(|version| version.held == Some(Hold::Staged)) {
        return format!("new sessions go on getting {active}: {label} is staged, for pins and canaries, until a flip");
    }
    match rules.select {
        Select::Explicit => format!("new sessions go on getting {active}, until a flip"),
        Select::Highest if highest(service, rules) == label.as_str() => {
            format!("new sessions get {label} as soon as a backend of it is healthy, {active} until then")
        }
        Select::Highest => format!("new sessions go on getting {active}: {label} is not the highest"),
    }
}
