//! The director: config, state, health and maps, and the changes that keep them in step.
//!
//! A change is planned on a clone of the state, written to disk, and then to the kernel, in this order: what a crash leaves
//! behind is a state that the next start makes true.

use std::{
    collections::BTreeMap,
    net::SocketAddrV4,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use log::{info, warn};

use super::report::SessionCounts;
use crate::{
    config::{self, Config},
    dataplane::Dataplane,
    exit::Failure,
    health::{Report, Target},
    model::{self, Change, Condition, Conditions, Outcome, Rules, State, Verb, reselect},
    plan::Offers,
    snapshot::Keeper,
    store::Store,
    wire::{self, Done},
};

/// A running director.
pub struct Director {
    pub config: Config,
    pub(super) state: State,
    pub(super) conditions: Conditions,
    /// What the last check of a backend said.
    pub(super) details: BTreeMap<u16, String>,
    /// What TCP_INFO said of a backend.
    pub(super) learned: BTreeMap<u16, Offers>,
    pub(super) plane: Box<dyn Dataplane>,
    store: Store,
    keeper: Arc<Keeper>,
    /// Nothing is written before the programs are attached: a first start that fails leaves no state that would win over
    /// the corrected config.
    saves: bool,
    pub(super) interfaces: Vec<wire::Interface>,
    pub(super) limits: Limits,
    pub(super) started: Instant,
    /// Counting means reading the whole table, so it is done at most once a second.
    pub(super) counted: Option<SessionCounts>,
}

/// What was computed at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub flows: u32,
    pub memory: u64,
}

/// What was attached.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub interfaces: Vec<wire::Interface>,
    pub object: u64,
}

/// Who asks, for the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller(pub String);

impl Director {
    pub fn new(
        config: Config,
        state: State,
        conditions: Conditions,
        plane: Box<dyn Dataplane>,
        store: Store,
        keeper: Keeper,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let known = conditions.0.keys().map(|id| (*id, "as before the restart".to_owned()));
        Ok(Self {
            details: known.collect(),
            config,
            state,
            conditions,
            learned: BTreeMap::new(),
            plane,
            store,
            keeper: Arc::new(keeper),
            saves: false,
            interfaces: Vec::new(),
            limits,
            started: Instant::now(),
            counted: None,
        })
    }

    /// Adds services that the state does not know, with the config's versions.
    pub fn fill_services(&mut self) -> Result<(), Failure> {
        for config in self.config.services.clone() {
            if self.state.service(&config.name).is_some_and(|service| !service.versions.is_empty()) {
                self.check_against_config(&config);
                continue;
            }
            self.state.ensure_service(&config.name)?;
            for version in &config.versions {
                let verb = Verb::Add { label: version.label.clone(), backends: version.backends.clone() };
                let outcome = model::apply(&mut self.state, &config.name, rules(&config), &self.conditions, &verb)?;
                for warning in outcome.warnings {
                    warn!("{}: {warning}", config.name);
                }
            }
            // The config's versions are there from the beginning: which is active is chosen when their health is known, and
            // there is nothing before it to go back to.
            if let Some(service) = self.state.service_mut(&config.name) {
                service.adopt.clone_from(&config.adopt);
                service.active = None;
                service.past.clear();
                for version in &mut service.versions {
                    version.was_active = false;
                    // They may all have users from before the director was there.
                    version.routed = true;
                }
            }
        }
        Ok(())
    }

    /// Says where config and state differ: an operator who edits the file should not wonder.
    fn check_against_config(&self, config: &config::Service) {
        let Some(service) = self.state.service(&config.name) else { return };
        for version in config.versions.iter().filter(|version| service.version(&version.label).is_none()) {
            let backends: Vec<String> = version.backends.iter().map(|b| format!("--backend {b}")).collect();
            warn!(
                "{0}: the config names version {1}, which the state does not have: balancer version add {0} {1} {2}",
                config.name,
                version.label,
                backends.join(" ")
            );
        }
    }

    /// The programs are attached: packets are steered from now on.
    pub fn attached(&mut self, kernel: Kernel) -> anyhow::Result<()> {
        self.interfaces = kernel.interfaces;
        self.state.object = Some(kernel.object);
        self.saves = true;
        self.store.save(&self.state)
    }

    /// Says what is served and where.
    pub fn announce(&self) {
        for service in &self.config.services {
            let Some(state) = self.state.service(&service.name) else { continue };
            let active =
                state.active().map_or("no version yet".to_owned(), |v| format!("new sessions get {}", v.label));
            info!("{}: http://{} is steered; {active}", service.name, service.listen);
            for warning in self.warnings(service, state) {
                warn!("{}: {warning}", service.name);
            }
        }
        info!("ready: balancer --socket {} status", self.config.socket.display());
    }

    /// Does a verb, or says what it would do.
    pub fn change(&mut self, name: &str, verb: &Verb, caller: &Caller, dry_run: bool) -> Result<Done, Failure> {
        let config = self.service_config(name)?.clone();
        let mut state = self.state.clone();
        let outcome = model::apply(&mut state, name, rules(&config), &self.conditions, verb)?;
        let to = state.service(name).and_then(|service| service.active.clone());
        let done = |outcome: Outcome, did: bool| Done {
            will: outcome.will,
            did: if did { outcome.did } else { Vec::new() },
            warnings: outcome.warnings,
            undo: outcome.undo,
            active: to.clone(),
        };
        if dry_run || !outcome.changed {
            return Ok(done(outcome, !dry_run));
        }
        let from = self.state.service(name).and_then(|service| service.active.clone());
        state.record(Change {
            at: now(),
            who: caller.0.clone(),
            service: name.to_owned(),
            verb: outcome.verb.to_owned(),
            from,
            to: to.clone(),
            version: outcome.version.clone(),
            mode: outcome.mode.clone(),
            undo: outcome.undo.clone(),
        });
        self.commit(state, name)?;
        for line in &outcome.did {
            info!("{line} ({})", caller.0);
        }
        Ok(done(outcome, true))
    }

    /// Makes a planned state the present one: on disk, then in the kernel.
    fn commit(&mut self, state: State, service: &str) -> Result<(), Failure> {
        if self.saves {
            self.store.save(&state)?;
        }
        let old = std::mem::replace(&mut self.state, state);
        self.reset_new_versions(&old, service)?;
        // Before a policy names a new backend: its first answer has to be known for what it is.
        self.sync_addresses()?;
        self.sync_service(service)?;
        self.free_backends(&old)?;
        self.counted = None;
        Ok(())
    }

    /// What a check said, without touching the kernel.
    pub fn note_report(&mut self, report: &Report) {
        self.details.insert(report.backend, report.detail.clone());
        if let Some(offers) = report.offers {
            self.learned.insert(report.backend, offers);
        }
        self.conditions.0.insert(report.backend, report.condition);
    }

    /// Takes in what a check said: flags, listeners, and which version is the newest healthy one.
    pub fn take_report(&mut self, report: &Report) {
        let Some((service, version, backend)) = self.state.backend(report.backend) else {
            // Removed while its check was under way.
            return;
        };
        let (name, label, address) = (service.name.clone(), version.label.clone(), backend.address);
        let before = self.conditions.of_backend(report.backend);
        let version_before = self.conditions.of_version(version);
        self.note_report(report);
        if before != report.condition {
            match report.condition {
                Condition::Up => info!("{name}: {address} of {label} is healthy"),
                Condition::Down | Condition::Unknown => {
                    warn!("{name}: {address} of {label} takes no new work: {}", report.detail);
                }
            }
        }
        let result = self.sync_health(&name, report.backend).and_then(|()| self.reselect(&name));
        if let Err(error) = result {
            warn!("{name}: the maps cannot be written: {error}");
        }
        let version_after =
            self.state.backend(report.backend).map(|(_, version, _)| self.conditions.of_version(version));
        if version_before == Condition::Up && version_after == Some(Condition::Down) {
            // D12.
            warn!("{name}: {label} has no healthy backend left");
        }
    }

    /// Lets health choose the active version, and writes down what it chose.
    pub(super) fn reselect(&mut self, name: &str) -> Result<(), Failure> {
        let Ok(config) = self.service_config(name).cloned() else { return Ok(()) };
        let mut state = self.state.clone();
        let Some(service) = state.service_mut(name) else { return Ok(()) };
        let Some(switch) = reselect(service, rules(&config), &self.conditions) else {
            // The fallback may be another one.
            return self.sync_service(name);
        };
        info!("{name}: new sessions get {}: {}", switch.to, switch.why);
        state.record(Change {
            at: now(),
            who: if switch.from.is_some() { "health" } else { "config" }.to_owned(),
            service: name.to_owned(),
            verb: "select".to_owned(),
            from: switch.from,
            to: Some(switch.to),
            version: None,
            mode: None,
            undo: String::new(),
        });
        self.commit(state, name)
    }

    /// What has to be checked.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for config in &self.config.services {
            let Some(service) = self.state.service(&config.name) else { continue };
            for backend in service.versions.iter().flat_map(|version| &version.backends) {
                targets.push(Target {
                    backend: backend.id,
                    address: backend.address,
                    health: config.health.clone(),
                    condition: self.conditions.of_backend(backend.id),
                });
            }
        }
        targets
    }

    /// Whether a backend was never checked.
    pub fn unchecked(&self) -> bool {
        self.targets().iter().any(|target| self.conditions.of_backend(target.backend) == Condition::Unknown)
    }

    /// The conditions of a version's backends, with what their last checks said; `None` without the version.
    pub fn version_health(
        &self,
        name: &str,
        label: &crate::label::Label,
    ) -> Option<Vec<(SocketAddrV4, Condition, String)>> {
        let version = self.state.service(name)?.version(label)?;
        Some(
            version
                .backends
                .iter()
                .map(|backend| {
                    let detail = self.details.get(&backend.id).cloned().unwrap_or_default();
                    (backend.address, self.conditions.of_backend(backend.id), detail)
                })
                .collect(),
        )
    }

    /// The active version's label.
    pub fn active(&self, name: &str) -> Option<crate::label::Label> {
        self.state.service(name)?.active.clone()
    }

    /// The config of a service, or a refusal that names the others.
    pub fn service_config(&self, name: &str) -> Result<&config::Service, Failure> {
        self.config.service(name).ok_or_else(|| {
            let known = self.config.services.iter().map(|service| service.name.clone()).collect();
            model::Refusal::NoService { name: name.to_owned(), known }.into()
        })
    }

    /// Who takes snapshots: without the director's lock, since a large table takes its time.
    pub fn keeper(&self) -> Arc<Keeper> {
        self.keeper.clone()
    }

    /// Takes everything out of the kernel. The state stays.
    pub fn detach(&mut self) -> anyhow::Result<Vec<String>> {
        self.plane.detach().context("detach")
    }

    pub fn history(&self) -> wire::History {
        wire::History { changes: self.state.history.clone() }
    }
}

/// What the config says about the choice among versions.
pub(super) fn rules(config: &config::Service) -> Rules {
    Rules { select: config.select, order: config.order }
}

fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
