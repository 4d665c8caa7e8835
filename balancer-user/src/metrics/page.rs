//! From what the director knows of itself to a page of metrics.

use balancer_ebpf::layout;

use super::{
    Counted, FLIPS, Sample, Tallies, What,
    text::{self, Family},
};
use crate::{
    hooks::Point,
    model::{Condition, Tally},
    wire::{BackendStatus, ServiceStatus, Status, VersionState, VersionStatus},
};

/// The states that a version may be in, each a sample of its own.
const STATES: [VersionState; 6] = [
    VersionState::Active,
    VersionState::Staged,
    VersionState::Draining,
    VersionState::Canary,
    VersionState::Held,
    VersionState::Failed,
];

/// The page. Its order is the same each time.
pub fn page(sample: &Sample) -> String {
    let mut families = director(sample);
    families.extend(programs(&sample.counters));
    families.extend(doings(&sample.status, &sample.tallies));
    families.extend(services(&sample.status));
    families.extend(versions(&sample.status));
    families.extend(backends(&sample.status));
    text::write(&families)
}

fn yes(so: bool) -> f64 {
    f64::from(u8::from(so))
}

/// The director as a whole.
fn director(Sample { status, tallies, table_full, state_unsaved, .. }: &Sample) -> Vec<Family> {
    let mut build = Family::gauge("balancer_build_info", "Always 1; the labels say which release and layout of maps.");
    let layout = layout::VERSION.to_string();
    build.add(&[("version", env!("CARGO_PKG_VERSION")), ("layout", &layout)], 1.0);
    let mut attached = Family::gauge("balancer_interface_attached", "1 for each interface that has the programs.");
    for interface in &status.interfaces {
        let hook = serde_json::to_value(interface.hook).unwrap_or_default();
        attached.add(&[("interface", &interface.name), ("hook", hook.as_str().unwrap_or_default())], 1.0);
    }
    let versions = || status.services.iter().flat_map(|service| &service.versions);
    let sessions = versions().filter_map(|version| version.sessions).map(|count| count.issued + count.presented);
    let mut families = vec![
        build,
        Family::gauge("balancer_uptime_seconds", "Since the daemon was started.").of(status.uptime_seconds as f64),
        Family::gauge("balancer_memory_bytes", "What all maps take.").of(status.memory_bytes as f64),
        attached,
        Family::gauge("balancer_flows", "Connections that have a leg to a backend now.")
            .of(versions().map(|version| version.flows).sum::<u64>() as f64),
        Family::gauge("balancer_flows_limit", "Connections that there is room for.").of(f64::from(status.flows_limit)),
        Family::gauge("balancer_sessions", "Sessions that are bound and have not expired.")
            .of(sessions.sum::<u64>() as f64),
        Family::gauge("balancer_sessions_limit", "Sessions that there is room for.")
            .of(f64::from(status.sessions_limit)),
        Family::gauge("balancer_session_table_full", "Whether sessions found no place within the last minute.")
            .of(yes(*table_full)),
        Family::gauge("balancer_state_unsaved", "Whether changes are not on disk, and lost if the daemon ends.")
            .of(yes(*state_unsaved)),
        Family::gauge("balancer_snapshot_problem", "Whether the last snapshot of the sessions could not be written.")
            .of(yes(status.snapshots.problem.is_some())),
    ];
    if let (Some(last), Some(age)) = (&status.snapshots.last, status.snapshots.age_seconds) {
        families.push(
            Family::gauge("balancer_snapshot_age_seconds", "Age of the last snapshot that this daemon wrote.")
                .of(age as f64),
        );
        families.push(
            Family::gauge("balancer_snapshot_sessions", "Sessions in the last snapshot.").of(last.sessions as f64),
        );
    }
    let mut hooks = Family::counter("balancer_hooks_total", "Hooks that were run, by result, since the start.");
    for point in Point::ALL {
        for (well, result) in [(true, "done"), (false, "failed")] {
            let count = tallies.hooks.get(&(point, well)).copied().unwrap_or_default();
            hooks.add(&[("hook", point.as_str()), ("result", result)], count as f64);
        }
    }
    families.push(hooks);
    families.push(
        Family::counter("balancer_hook_events_dropped_total", "Events that their hook was too slow for.")
            .of(tallies.events_dropped as f64),
    );
    let mut reloads = Family::counter("balancer_config_reloads_total", "Reloads of the config, by result.");
    reloads.add(&[("result", "done")], tallies.reloads.0 as f64);
    reloads.add(&[("result", "refused")], tallies.reloads.1 as f64);
    families.push(reloads);
    families.push(
        Family::gauge("balancer_config_last_reload_successful", "Whether the last reload of the config was made.")
            .of(yes(tallies.last_reload != Some(false))),
    );
    families
}

/// What the programs count.
fn programs(counters: &[Counted]) -> Vec<Family> {
    let families = [
        (What::Verdict, "balancer_packets_total", "Packets, each once, by what became of them.", "verdict"),
        (What::Note, "balancer_notes_total", "What happened on the way of packets and requests.", "note"),
        (
            What::Unframed,
            "balancer_unframed_total",
            "Connections whose requests cannot be told apart any more, by reason.",
            "reason",
        ),
    ];
    let family = |(what, name, help, label): (What, &'static str, &'static str, &'static str)| {
        let mut family = Family::counter(name, help);
        for counted in counters.iter().filter(|counted| counted.what == what) {
            family.add(&[(label, counted.name)], counted.value as f64);
        }
        family
    };
    families.map(family).into()
}

/// What was changed since the daemon was started.
fn doings(status: &Status, tallies: &Tallies) -> Vec<Family> {
    let mut flips =
        Family::counter("balancer_flips_total", "Changes of what new sessions get, by how, since the start.");
    let mut changes = Family::counter("balancer_changes_total", "Changes of a service, by verb, since the start.");
    for service in &status.services {
        for mode in FLIPS {
            let count = tallies.flips.get(&(service.name.clone(), mode)).copied().unwrap_or_default();
            flips.add(&[("service", &service.name), ("mode", mode)], count as f64);
        }
        for ((_, verb), count) in tallies.changes.iter().filter(|((name, _), _)| *name == service.name) {
            changes.add(&[("service", &service.name), ("verb", verb)], *count as f64);
        }
    }
    vec![flips, changes]
}

fn services(status: &Status) -> Vec<Family> {
    let mut generation = Family::gauge("balancer_service_generation", "How often a service was changed.");
    let mut held = Family::gauge(
        "balancer_service_hold_seconds",
        "For how long requests are still held at most; 0: they are not.",
    );
    let mut asked = Family::gauge("balancer_canary_asked_ratio", "The share of new sessions that a canary is to get.");
    let mut measured = Family::gauge("balancer_canary_measured_ratio", "The share that it has had since it began.");
    for ServiceStatus { name, generation: number, hold, canary, .. } in &status.services {
        generation.add(&[("service", name)], *number as f64);
        held.add(&[("service", name)], hold.as_ref().map_or(0, |hold| hold.milliseconds) as f64 / 1000.0);
        let Some(canary) = canary else { continue };
        let labels = [("service", name.as_str()), ("version", canary.version.as_str())];
        asked.add(&labels, f64::from(canary.percent) / 100.0);
        if let Some(percent) = canary.measured_percent {
            measured.add(&labels, percent / 100.0);
        }
    }
    vec![generation, held, asked, measured]
}

/// A metric of versions: its name, its help, and where its value is.
type OfVersion = (&'static str, &'static str, fn(&VersionStatus) -> Option<f64>);

const COUNTERS_OF_VERSIONS: &[OfVersion] = &[
    ("balancer_requests_total", "Requests that were decided for a version.", |version| Some(version.requests as f64)),
    ("balancer_sessions_issued_total", "Sessions that a version's backends issued.", |version| {
        Some(version.issued as f64)
    }),
    ("balancer_sessions_born_total", "Of those, new ones: not another id of a session that was known.", |version| {
        Some(version.born as f64)
    }),
    ("balancer_version_answers_total", "Final responses of a version's backends.", |version| {
        Some(version.outcomes.answers as f64)
    }),
];

/// How many failed in one way.
type Failures = fn(&Tally) -> u64;

/// How requests of a version can fail.
const FAILURES: [(&str, Failures); 3] =
    [("error", |tally| tally.errors), ("reset", |tally| tally.resets), ("unanswered", |tally| tally.unanswered)];

const GAUGES_OF_VERSIONS: &[OfVersion] = &[
    // Counted in and out on several CPUs: for an instant there may be less than none.
    ("balancer_requests_in_flight", "Requests whose response is not complete.", |version| {
        Some(version.in_flight.max(0) as f64)
    }),
    ("balancer_version_flows", "Connections that have a leg to a version now.", |version| Some(version.flows as f64)),
    ("balancer_version_draining", "Whether a version is being drained.", |version| Some(yes(version.drain.is_some()))),
    ("balancer_version_drain_seconds_left", "What is left of the time that a drain was given.", |version| {
        version.drain.as_ref()?.seconds_left.map(|seconds| seconds as f64)
    }),
    ("balancer_version_oldest_session_seconds", "Age of the oldest session of a version.", |version| {
        version.sessions?.oldest_seconds.map(|seconds| seconds as f64)
    }),
];

fn versions(status: &Status) -> Vec<Family> {
    let of = |make: fn(&'static str, &'static str) -> Family, table: &[OfVersion]| -> Vec<Family> {
        let family = |(name, help, value): &OfVersion| {
            let mut family = make(name, help);
            for (service, version) in each_version(status) {
                if let Some(value) = value(version) {
                    family.add(&[("service", &service.name), ("version", version.label.as_str())], value);
                }
            }
            family
        };
        table.iter().map(family).collect()
    };
    let mut families = of(Family::counter, COUNTERS_OF_VERSIONS);
    families.extend(of(Family::gauge, GAUGES_OF_VERSIONS));

    let mut failures = Family::counter(
        "balancer_version_failures_total",
        "Requests that failed: answered with a 5xx, reset by the backend, or not answered.",
    );
    for (service, version) in each_version(status) {
        for (kind, of) in FAILURES {
            let labels = [("service", service.name.as_str()), ("version", version.label.as_str()), ("kind", kind)];
            failures.add(&labels, of(&version.outcomes) as f64);
        }
    }
    families.push(failures);

    let mut sessions = Family::gauge(
        "balancer_version_sessions",
        "Sessions bound to a version: presented by somebody who came back, or issued only.",
    );
    let mut state = Family::gauge("balancer_version_state", "1 for the state that a version is in, 0 for the others.");
    for (service, version) in each_version(status) {
        let labels = [("service", service.name.as_str()), ("version", version.label.as_str())];
        let [service, label] = labels;
        if let Some(count) = version.sessions {
            sessions.add(&[service, label, ("kind", "issued")], count.issued as f64);
            sessions.add(&[service, label, ("kind", "presented")], count.presented as f64);
        }
        for one in STATES {
            state.add(&[service, label, ("state", one.as_str())], yes(one == version.state));
        }
    }
    families.extend([sessions, state]);
    families
}

fn each_version(status: &Status) -> impl Iterator<Item = (&ServiceStatus, &VersionStatus)> {
    status.services.iter().flat_map(|service| service.versions.iter().map(move |version| (service, version)))
}

fn backends(status: &Status) -> Vec<Family> {
    let mut up = Family::gauge("balancer_backend_up", "Whether a backend passed its checks and takes new work.");
    let mut weight = Family::gauge("balancer_backend_weight", "A backend's share of new sessions, as it is now.");
    let mut legs =
        Family::gauge("balancer_backend_legs", "Connections to a backend: busy ones, and idle ones in its pool.");
    let mut passed_over = Family::gauge(
        "balancer_backend_passed_over_seconds",
        "For how long requests still pass a backend over that did not answer some; 0: they do not.",
    );
    for (service, version) in each_version(status) {
        for BackendStatus { id, condition, weight_now, legs_busy, legs_idle, passed_over_seconds, .. } in
            &version.backends
        {
            let id = id.to_string();
            let [a, b, c] = [("service", service.name.as_str()), ("version", version.label.as_str()), ("backend", &id)];
            up.add(&[a, b, c], yes(*condition == Condition::Up));
            weight.add(&[a, b, c], f64::from(*weight_now));
            legs.add(&[a, b, c, ("state", "busy")], *legs_busy as f64);
            legs.add(&[a, b, c, ("state", "idle")], *legs_idle as f64);
            passed_over.add(&[a, b, c], passed_over_seconds.unwrap_or_default() as f64);
        }
    }
    vec![up, weight, legs, passed_over]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::testing;

    #[test]
    fn a_page_says_what_the_status_says() {
        let text = page(&testing::sample());
        for line in [
            "balancer_packets_total{verdict=\"forwarded\"} 7",
            "balancer_notes_total{note=\"session_issued\"} 0",
            "balancer_requests_total{service=\"shop\",version=\"001\"} 12",
            "balancer_requests_in_flight{service=\"shop\",version=\"001\"} 0",
            "balancer_version_sessions{service=\"shop\",version=\"001\",kind=\"presented\"} 2",
            "balancer_version_state{service=\"shop\",version=\"001\",state=\"active\"} 1",
            "balancer_version_state{service=\"shop\",version=\"001\",state=\"held\"} 0",
            "balancer_backend_up{service=\"shop\",version=\"001\",backend=\"4\"} 1",
            "balancer_backend_legs{service=\"shop\",version=\"001\",backend=\"4\",state=\"idle\"} 3",
            "balancer_flips_total{service=\"shop\",mode=\"forced\"} 2",
            "balancer_flips_total{service=\"shop\",mode=\"select\"} 0",
            "balancer_changes_total{service=\"shop\",verb=\"flip\"} 2",
            "balancer_sessions 5",
            "balancer_session_table_full 0",
            "balancer_state_unsaved 0",
            "balancer_canary_asked_ratio{service=\"shop\",version=\"001\"} 0.05",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("balancer_snapshot_age_seconds"), "there was no snapshot");
        assert_eq!(page(&testing::sample()), text, "the order is another one");
    }

    #[test]
    fn no_label_has_an_address() {
        let text = page(&testing::sample());
        assert!(!text.contains("10.60."), "{text}");
    }

    #[test]
    fn each_family_is_there_once() {
        let text = page(&testing::sample());
        let mut types: Vec<&str> =
            text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let all = types.len();
        types.sort_unstable();
        types.dedup();
        assert!(all > 20 && types.len() == all, "{types:?}");
    }
}
