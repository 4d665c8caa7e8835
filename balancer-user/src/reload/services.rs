//! What is different about services.

use super::{Given, Keys, Users, show};
use crate::{
    config::{Health, Service},
    label::Label,
    model::{self, Rules, State, reselect},
    wire::{Difference, How},
};

const FORCE: &str = "reload with --force, when that is meant";

/// A service that both have.
pub(super) fn changed(old: &Service, new: &Service, given: &Given<'_>) -> Vec<Difference> {
    let name = new.name.as_str();
    let users = given.users.get(name).copied().unwrap_or_default();
    let mut keys = Keys::of(Some(name));
    hurts(&mut keys, users, "listen", &old.listen.to_string(), &new.listen.to_string(), "what is open there ends");
    let anew = "who has a session under the former name begins anew";
    hurts(&mut keys, users, "cookie", &old.cookie, &new.cookie, anew);
    hurts(&mut keys, users, "parameter", &old.parameter, &new.parameter, anew);
    let other = "backends have to answer another way, and open connections to them may not survive that";
    hurts(&mut keys, users, "return", &show::value(old.return_path), &show::value(new.return_path), other);
    choice(&mut keys, old, new, given);

    keys.live("idle", &show::time(old.idle), &show::time(new.idle), "counted from each session's next request on");
    keys.live(
        "rename_grace",
        &show::time(old.rename_grace),
        &show::time(new.rename_grace),
        "for ids that are renamed from now on",
    );
    keys.live("pool", &show::value(old.pool), &show::value(new.pool), "for connections that come to rest from now on");
    keys.live(
        "pool_legs",
        &old.pool_legs.to_string(),
        &new.pool_legs.to_string(),
        "those that are idle already stay until they are used",
    );
    let next = "from the next request on";
    keys.live("on_unframed", &show::value(old.on_unframed), &show::value(new.on_unframed), next);
    keys.live("missing_version", &show::value(old.missing_version), &show::value(new.missing_version), next);
    keys.live(
        "on_backend_restart",
        &show::value(old.on_backend_restart),
        &show::value(new.on_backend_restart),
        "when a backend comes back the next time",
    );
    let retires = "looked at once a second";
    keys.live("retire", &show::value(old.retire), &show::value(new.retire), retires);
    keys.live("keep", &old.keep.to_string(), &new.keep.to_string(), retires);
    health(&mut keys, &old.health, &new.health);
    let canary = "for canaries that begin from now on";
    keys.live("canary.abort_over", &old.canary.over.to_string(), &new.canary.over.to_string(), canary);
    keys.live(
        "canary.min_requests",
        &old.canary.min_requests.to_string(),
        &new.canary.min_requests.to_string(),
        canary,
    );
    keys.live(
        "canary.sessions",
        old.canary.sessions.as_str(),
        new.canary.sessions.as_str(),
        "also for one that is there",
    );
    super::hooks(&mut keys, &old.hooks, &new.hooks);
    keys.found
}

/// What hurts whoever is there, and nobody if nobody is.
fn hurts(keys: &mut Keys<'_>, users: Users, key: &str, old: &str, new: &str, what: &str) {
    if users.nobody() {
        keys.live(key, old, new, "nobody is there now");
    } else {
        keys.force(key, old, new, &format!("{what} ({users})"), FORCE);
    }
}

/// How the version for new sessions is chosen. Another choice must not undo by the way what an operator decided.
fn choice(keys: &mut Keys<'_>, old: &Service, new: &Service, given: &Given<'_>) {
    let service = given.state.service(&new.name);
    let mut labels = service.iter().flat_map(|service| &service.versions).map(|version| &version.label);
    if let Some(what) = labels.find_map(|label| new.order.refuses(label)) {
        let fix = "remove that version first, or leave `order` as it is";
        keys.restart("order", &show::value(old.order), &show::value(new.order), &what, fix);
        return;
    }
    let choice = |rules: Rules| {
        let mut service = service?.clone();
        reselect(&mut service, rules, given.conditions).map(|switch| switch.to)
    };
    let [before, after] = [old, new]
        .map(|config| choice(Rules { select: config.select, order: config.order, family: config.listen.into() }));
    let all = [
        ("select", show::value(old.select), show::value(new.select)),
        ("order", show::value(old.order), show::value(new.order)),
    ];
    for (key, from, to) in all {
        match after.as_ref().filter(|after| Some(*after) != before.as_ref()) {
            Some(label) => {
                let active = show::maybe(service.and_then(|service| service.active.clone()));
                let what = format!("new sessions would get {label} instead of {active}");
                let fix = format!("flip first (balancer flip {} {label}), or reload with --force", new.name);
                keys.force(key, &from, &to, &what, &fix);
            }
            None => keys.live(key, &from, &to, "new sessions go on getting what they get"),
        }
    }
}

fn health(keys: &mut Keys<'_>, old: &Health, new: &Health) {
    let what = "checks begin anew that way; what is known of backends stays until they say otherwise";
    keys.live("health.path", &show::maybe(old.path.as_ref()), &show::maybe(new.path.as_ref()), what);
    keys.live("health.interval", &show::time(old.interval), &show::time(new.interval), what);
    keys.live("health.timeout", &show::time(old.timeout), &show::time(new.timeout), what);
    keys.live("health.rise", &old.rise.to_string(), &new.rise.to_string(), what);
    keys.live("health.fall", &old.fall.to_string(), &new.fall.to_string(), what);
    let slow = |health: &Health| show::maybe(health.slow_start.map(show::time));
    keys.live("health.slow_start", &slow(old), &slow(new), "for backends that come back from now on");
}

/// One that only the new config has.
pub(super) fn added(new: &Service, given: &Given<'_>) -> Difference {
    let known = given.state.service(&new.name).filter(|service| !service.versions.is_empty());
    let what = match known {
        Some(service) => format!("with the versions that the state knows of it: {}", show::labels(&service.labels())),
        None => "with the file's versions: this is its first start".to_owned(),
    };
    let mut keys = Keys::of(Some(&new.name));
    keys.live("service", "not there", &format!("http://{}", new.listen), &what);
    keys.found.remove(0)
}

/// One that the new config does not have any more.
pub(super) fn removed(old: &Service, given: &Given<'_>) -> Difference {
    let users = given.users.get(&old.name).copied().unwrap_or_default();
    let mut keys = Keys::of(Some(&old.name));
    hurts(&mut keys, users, "service", &format!("http://{}", old.listen), "not there", "it is no longer served");
    let mut difference = keys.found.remove(0);
    if difference.how == How::Live {
        difference.what = "nobody is there now; the state keeps its versions".to_owned();
    }
    difference
}

/// Where the file names other versions than the state has.
pub(super) fn versions(new: &Service, state: &State) -> Vec<Difference> {
    let name = &new.name;
    let mut keys = Keys::of(Some(name));
    let Some(service) = state.service(name).filter(|service| !service.versions.is_empty()) else { return keys.found };
    for version in &new.versions {
        let (key, wanted) = (format!("version {}", version.label), join(version.backends.iter()));
        let options: Vec<String> = version.backends.iter().map(|backend| format!("--backend {backend}")).collect();
        let add = format!("balancer version add {name} {} {}", version.label, options.join(" "));
        match service.version(&version.label) {
            None => keys.first_start(&key, "not there", &wanted, &add),
            Some(present) => {
                let has = join(present.backends.iter().map(model::Backend::endpoint));
                let fix = "add a version with these backends, or `balancer backend weight` where only weights differ";
                keys.first_start(&key, &has, &wanted, fix);
            }
        }
    }
    let named = |label: &Label| new.versions.iter().any(|version| version.label == *label);
    for version in service.versions.iter().filter(|version| !named(&version.label)) {
        let has = join(version.backends.iter().map(model::Backend::endpoint));
        let fix =
            format!("balancer version rm {name} {}; or have it in the file: balancer config export", version.label);
        keys.first_start(&format!("version {}", version.label), &has, "not there", &fix);
    }
    if let Some(active) = &new.active {
        let fix = format!("balancer flip {name} {active}");
        keys.first_start("active", &show::maybe(service.active.as_ref()), active.as_str(), &fix);
    }
    let adopt = |label: &Option<Label>| label.as_ref().map_or("off".to_owned(), ToString::to_string);
    let fix = format!("balancer service adopt {name} {}", adopt(&new.adopt));
    keys.first_start("adopt", &adopt(&service.adopt), &adopt(&new.adopt), &fix);
    keys.found
}

fn join<T: ToString>(items: impl Iterator<Item = T>) -> String {
    items.map(|item| item.to_string()).collect::<Vec<_>>().join(" ")
}
