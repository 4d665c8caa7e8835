//! Health: what has to be checked, what checks said, and what follows from it.

use std::net::SocketAddr;

use log::{info, warn};

use super::director::{Director, rules};
use crate::{
    audit::Actor,
    exit::Failure,
    health::{Passed, Report, Target},
    label::Label,
    model::{Condition, reselect},
};

impl Director {
    /// Where checks that are passed are noted.
    pub fn passed(&self) -> Passed {
        self.passed.clone()
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
                Condition::Up => {
                    info!("{name}: {address} of {label} is healthy");
                    self.journal.add(Some(&name), "health", format!("{address} of {label} is healthy"));
                }
                Condition::Down | Condition::Unknown => {
                    let text = format!("{address} of {label} takes no new work: {}", report.detail);
                    warn!("{name}: {text}");
                    self.journal.add(Some(&name), "health", text);
                }
            }
        }
        let came_back = before == Condition::Down && report.condition == Condition::Up;
        let result = if came_back { self.came_back(&name, report.backend) } else { Ok(()) };
        let result = result.and_then(|()| self.sync_health(&name, report.backend)).and_then(|()| self.reselect(&name));
        if let Err(error) = result {
            warn!("{name}: the maps cannot be written: {error}");
        }
        let version_after =
            self.state.backend(report.backend).map(|(_, version, _)| self.conditions.of_version(version));
        if version_before == Condition::Up && version_after == Some(Condition::Down) {
            // D12.
            let text = format!("{label} has no healthy backend left");
            warn!("{name}: {text}");
            self.journal.add(Some(&name), "missing", text);
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
        let actor = Actor::director(if switch.from.is_some() { "health" } else { "config" });
        self.decided(state, name, &actor, "select", None, &switch.why)
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
    pub fn version_health(&self, name: &str, label: &Label) -> Option<Vec<(SocketAddr, Condition, String)>> {
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
}
