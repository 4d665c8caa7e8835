//! What the director says of itself.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime},
};

use balancer_ebpf::layout::{Binding, KIND_ADOPTED, KIND_ISSUED, KIND_RENAMED, Times};

use super::{Director, counters};
use crate::{
    config,
    dataplane::Image,
    exit::Failure,
    explain::{self, short_hash},
    label::Label,
    model::{self, Condition, Hold},
    order::padding_trap,
    snapshot::age,
    wire::{
        AbortedStatus, BackendStatus, CanaryStatus, Counter, DrainStatus, ExplainRequest, Explanation, ListenerStatus,
        RetiredStatus, RuleStatus, ServiceStatus, Session, SessionCount, SessionList, Status, VersionState,
        VersionStatus,
    },
};

/// For this long a count is good enough; and for so many times as long as it took.
const COUNT_AGE: Duration = Duration::from_secs(1);
const COUNT_SHARE: u32 = 20;

/// Sessions by service id and version index, and when they were counted.
#[derive(Clone, Debug)]
pub(super) struct SessionCounts {
    at: Instant,
    took: Duration,
    by_version: BTreeMap<(u32, u32), SessionCount>,
}

/// A binding that counts.
struct Bound {
    tag: u64,
    service: u32,
    binding: Binding,
    age: u32,
    idle: u32,
}

impl Director {
    pub fn status(&mut self, with_sessions: bool) -> Result<Status, Failure> {
        let names: Vec<String> = self.config.services.iter().map(|service| service.name.clone()).collect();
        let services = names.iter().map(|name| self.service_status(name, with_sessions)).collect::<Result<_, _>>()?;
        Ok(Status {
            name: self.config.name.clone(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            interfaces: self.interfaces.clone(),
            sources: self.config.sources.clone(),
            flows_limit: self.limits.flows,
            sessions_limit: self.config.sessions,
            memory_bytes: self.limits.memory,
            services,
            listeners: self.config.listeners.iter().map(listener_status).collect(),
            snapshots: self.keeper().status(),
            hook_events_dropped: self.journal.dropped(),
            counters: self.counters()?,
        })
    }

    pub fn service_status(&mut self, name: &str, with_sessions: bool) -> Result<ServiceStatus, Failure> {
        if with_sessions {
            self.count_sessions();
        }
        let config = self.service_config(name)?;
        let empty = model::Refusal::NoService { name: name.to_owned(), known: Vec::new() };
        let service = self.state.service(name).ok_or(empty)?;
        let versions = service
            .sorted(config.order)
            .into_iter()
            .map(|version| self.version_status(service, version, with_sessions))
            .collect::<Result<_, Failure>>()?;
        Ok(ServiceStatus {
            name: name.to_owned(),
            listen: config.listen,
            select: config.select,
            order: config.order,
            cookie: config.cookie.clone(),
            parameter: config.parameter.clone(),
            return_path: config.return_path,
            pool: config.pool,
            pool_legs: config.pool_legs,
            on_unframed: config.on_unframed,
            generation: service.generation,
            active: service.active.clone(),
            previous: service.past.last().cloned(),
            adopt: service.adopt.clone(),
            canary: self.canary_status(service)?,
            aborted: service.aborted.as_ref().map(|aborted| AbortedStatus {
                version: aborted.label.clone(),
                at: rfc3339(aborted.at),
                why: aborted.why.clone(),
            }),
            hold: self.held_for(&service.name),
            listener: self.config.listener(config.listen).map(listener_status),
            retired: service.retired.iter().map(retired_status).collect(),
            versions,
            warnings: self.warnings(config, service),
        })
    }

    fn version_status(
        &self,
        service: &model::Service,
        version: &model::Version,
        with_sessions: bool,
    ) -> Result<VersionStatus, Failure> {
        let traffic = self.plane.traffic(service.id, version.index)?;
        let backends = version.backends.iter().map(|backend| {
            Ok::<_, Failure>(BackendStatus {
                id: backend.id,
                address: backend.address,
                route: backend.route,
                condition: self.conditions.of_backend(backend.id),
                weight: backend.weight,
                weight_now: self.plane.backend(backend.id)?.weight,
                detail: self.details.get(&backend.id).cloned().unwrap_or_default(),
                legs_busy: self.plane.backend(backend.id)?.legs.get(),
                legs_idle: self.plane.idle_legs(backend.id),
                passed_over_seconds: self.passed_over(backend.id)?.map(|(seconds, _)| seconds),
            })
        });
        Ok(VersionStatus {
            label: version.label.clone(),
            state: self.version_state(service, version),
            index: version.index,
            generation: version.generation,
            backends: backends.collect::<Result<_, _>>()?,
            sessions: with_sessions.then(|| self.counted_on(service, version)),
            drain: version.drain.map(drain_status),
            flows: traffic.flows.get(),
            // A two's complement number: a request may be counted out on another CPU before it is counted in.
            in_flight: traffic.in_flight.get() as i64,
            requests: traffic.requests.get(),
            issued: traffic.issued.get(),
            born: traffic.born.get(),
            outcomes: self.plane.outcomes(service.id, version.index)?.tally,
        })
    }

    fn version_state(&self, service: &model::Service, version: &model::Version) -> VersionState {
        let down = self.conditions.of_version(version) == Condition::Down;
        if down {
            return VersionState::Failed;
        }
        if service.active.as_ref() == Some(&version.label) {
            return VersionState::Active;
        }
        match version.held {
            _ if version.drain.is_some() => VersionState::Draining,
            Some(Hold::Canary) => VersionState::Canary,
            Some(Hold::Staged) => VersionState::Staged,
            Some(Hold::Above | Hold::RolledBack | Hold::Draining) => VersionState::Held,
            None if version.was_active => VersionState::Draining,
            None => VersionState::Staged,
        }
    }

    /// The canary of a service, and what share of new sessions it has had.
    fn canary_status(&self, service: &model::Service) -> Result<Option<CanaryStatus>, Failure> {
        let Some(canary) = &service.canary else { return Ok(None) };
        let (canary_now, active_now) = self.born(service, service.version(&canary.label), service.active())?;
        // After a reboot the counts begin anew.
        let since = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        let (on_canary, on_active) = (since(canary_now, canary.born.0), since(active_now, canary.born.1));
        let all = on_canary + on_active;
        let (outcomes, active_outcomes) = self.tallies_since(service, canary)?;
        Ok(Some(CanaryStatus {
            version: canary.label.clone(),
            percent: canary.percent,
            measured_percent: (all > 0).then(|| on_canary as f64 * 100.0 / all as f64),
            new_sessions: all,
            since: rfc3339(canary.since),
            guard: canary.guard,
            outcomes,
            active_outcomes,
        }))
    }

    /// What an operator should know without asking.
    pub(super) fn warnings(&self, config: &config::Service, service: &model::Service) -> Vec<String> {
        let mut warnings: Vec<String> = self.unsaved.iter().cloned().collect();
        if let Some((low, high)) = padding_trap(config.order, &service.labels()) {
            warnings
                .push(format!("`{low}` sorts below `{high}` by string: pad labels alike, or set order = \"numeric\""));
        }
        match service.active() {
            None => warnings
                .push(format!("nothing is served: balancer version add {} VERSION --backend IP:PORT", service.name)),
            Some(active) if self.conditions.of_version(active) == Condition::Down => {
                warnings.push(format!("the active version {} has no healthy backend", active.label));
            }
            Some(_) => {}
        }
        for version in &service.versions {
            for backend in &version.backends {
                if self.conditions.of_backend(backend.id) == Condition::Down {
                    let detail = self.details.get(&backend.id).map_or("", String::as_str);
                    warnings.push(format!("{} of {} is down: {detail}", backend.address, version.label));
                } else if let Ok(Some((seconds, failures))) = self.passed_over(backend.id) {
                    warnings.push(format!(
                        "{} of {} did not answer requests {failures} times in a row, and is passed over for another {seconds} s, or \
                         until it passes a check",
                        backend.address, version.label
                    ));
                }
            }
        }
        warnings
    }

    fn counters(&self) -> Result<Vec<Counter>, Failure> {
        let values = self.plane.counters()?;
        let counted = values.into_iter().enumerate().filter(|(_, value)| *value > 0);
        Ok(counted.map(|(index, value)| Counter { name: counters::name(index), value }).collect())
    }

    pub(super) fn count_sessions(&mut self) {
        let fresh = |counts: &SessionCounts| counts.at.elapsed() < COUNT_AGE.max(counts.took * COUNT_SHARE);
        if self.counted.as_ref().is_some_and(fresh) {
            return;
        }
        let began = Instant::now();
        let mut by_version: BTreeMap<(u32, u32), SessionCount> = BTreeMap::new();
        self.each_bound(&mut |bound| {
            let count = by_version.entry((bound.service, bound.binding.version())).or_default();
            count.oldest_seconds = count.oldest_seconds.max(Some(u64::from(bound.age)));
            match bound.binding.kind() {
                KIND_ISSUED | KIND_ADOPTED => count.issued += 1,
                // Its session is counted under the id that it has now.
                KIND_RENAMED => {}
                _ => count.presented += 1,
            }
        });
        self.counted = Some(SessionCounts { at: Instant::now(), took: began.elapsed(), by_version });
    }

    /// The sessions of a version, as they were counted last.
    pub(super) fn counted_on(&self, service: &model::Service, version: &model::Version) -> SessionCount {
        let counts = self.counted.as_ref().map(|counts| &counts.by_version);
        counts.and_then(|counts| counts.get(&(service.id, version.index))).copied().unwrap_or_default()
    }

    /// The sessions of a service, the latest seen first.
    pub fn sessions(&self, name: &str, limit: usize) -> Result<SessionList, Failure> {
        self.service_config(name)?;
        let Some(service) = self.state.service(name) else { return Ok(SessionList { total: 0, sessions: Vec::new() }) };
        let mut found = Vec::new();
        let mut total = 0;
        self.each_bound(&mut |bound| {
            if bound.service != service.id {
                return;
            }
            total += 1;
            found.push(bound);
            // Keeps memory bounded for tables of millions.
            if found.len() >= limit.saturating_mul(2).max(1024) {
                found.sort_by_key(|bound| bound.idle);
                found.truncate(limit);
            }
        });
        found.sort_by_key(|bound| bound.idle);
        found.truncate(limit);
        let label = |index: u32| service.versions.iter().find(|v| v.index == index).map(|v| v.label.clone());
        let sessions = found.into_iter().filter_map(|bound| {
            let backend = self.state.backend(u16::try_from(bound.binding.backend()).ok()?);
            Some(Session {
                hash: short_hash(bound.tag),
                version: label(bound.binding.version())?,
                backend: backend.map(|(_, _, backend)| backend.address),
                kind: kind(bound.binding).to_owned(),
                age_seconds: u64::from(bound.age),
                idle_seconds: u64::from(bound.idle),
            })
        });
        Ok(SessionList { total, sessions: sessions.collect() })
    }

    /// Visits the bindings that count: of a present generation, and not expired.
    fn each_bound(&self, visit: &mut dyn FnMut(Bound)) {
        let now = explain::Now::read().seconds;
        // By backend id, since an entry does not say its service.
        let mut services: BTreeMap<u32, (&model::Service, u32)> = BTreeMap::new();
        for service in &self.state.services {
            let idle = self.config.service(&service.name).map_or(0, |config| config.idle.as_secs());
            for backend in service.versions.iter().flat_map(|version| &version.backends) {
                services.insert(u32::from(backend.id), (service, u32::try_from(idle).unwrap_or(u32::MAX)));
            }
        }
        self.plane.sessions().each(&mut |image| {
            let Image { tag, times, .. } = image;
            let binding = Binding(image.binding);
            let Some((service, limit)) = services.get(&binding.backend()) else { return };
            let version = service.versions.iter().find(|version| version.index == binding.version());
            let times = Times(times);
            if version.is_some_and(|version| version.generation == binding.generation()) && !times.expired(now) {
                // What is left of the time-out says when it was seen; of the grace of a renamed id it says nothing.
                let left = times.expires().wrapping_sub(now);
                let age = age(now, times.made());
                visit(Bound { tag, service: service.id, binding, age, idle: limit.saturating_sub(left).min(age) });
            }
        });
    }

    pub fn explain(&self, name: &str, request: &ExplainRequest) -> Result<Explanation, Failure> {
        let config = self.service_config(name)?;
        let Some(service) = self.state.service(name) else {
            return Err(Failure::other(format!("service `{name}` has no state"), ""));
        };
        let rules = explain::Rules::of(&self.config, &self.state, config.listen);
        explain::explain(self.plane.as_ref(), service, config, rules.as_ref(), request, explain::Now::read())
    }

    /// Whether a service has the version; a refusal that names the others if not.
    pub fn check_version(&self, name: &str, label: &Label) -> Result<(), Failure> {
        self.service_config(name)?;
        match self.state.service(name) {
            Some(service) if service.version(label).is_none() => Err(model::Refusal::NoVersion {
                service: name.to_owned(),
                label: label.clone(),
                known: service.labels(),
            }
            .into()),
            _ => Ok(()),
        }
    }
}

fn listener_status(listener: &config::Listener) -> ListenerStatus {
    let rule = |rule: &config::Rule| RuleStatus { asks: rule.asks(), service: rule.service.clone() };
    ListenerStatus {
        listen: listener.listen,
        default: listener.default.clone(),
        on_ambiguous: listener.on_ambiguous,
        rules: listener.rules.iter().map(rule).collect(),
    }
}

fn rfc3339(seconds: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

fn drain_status(drain: model::Drain) -> DrainStatus {
    DrainStatus {
        since: rfc3339(drain.since),
        deadline: drain.deadline.map(rfc3339),
        seconds_left: drain.deadline.map(|deadline| deadline.saturating_sub(super::director::unix_now())),
        then: drain.then,
        closing: drain.closing.is_some(),
    }
}

fn retired_status(retired: &model::Retired) -> RetiredStatus {
    RetiredStatus { label: retired.label.clone(), at: rfc3339(retired.at), backends: retired.backends.clone() }
}

/// The word for what is known of an id.
fn kind(binding: Binding) -> &'static str {
    match binding.kind() {
        KIND_ISSUED => "issued",
        KIND_ADOPTED => "adopted",
        KIND_RENAMED => "renamed",
        _ => "presented",
    }
}
