//! From the state to the maps. Each function can be repeated: it writes what differs.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Context as _;
use balancer_ebpf::layout::{Address, Backend, ListenerKey, MAX_BACKENDS, MAX_SERVICES, Policy, ROLE_BACKEND};

use super::Director;
use crate::{
    config,
    exit::Failure,
    model::{self, Condition, State},
    plan::{self, Offers, UNLEARNED},
};

impl Director {
    /// Writes all services and removes listeners that the config does not have any more.
    pub(super) fn sync_all(&mut self) -> Result<(), Failure> {
        self.sync_addresses()?;
        self.sync_pins()?;
        for service in self.config.services.clone() {
            // Health may have been learned since the versions were chosen. This writes the service in any case.
            self.reselect(&service.name)?;
        }
        // Policies before the rules that lead to them.
        self.sync_rules()?;
        for service in self.config.services.clone() {
            self.sync_listener(service.listen)?;
        }
        let wanted: Vec<ListenerKey> =
            self.config.services.iter().map(|service| plan::listener_key(service.listen)).collect();
        for (key, _) in self.plane.listeners()? {
            if !wanted.contains(&key) {
                self.plane.remove_listener(key)?;
            }
        }
        Ok(())
    }

    /// Writes which addresses are the director's business.
    ///
    /// A backend that was removed keeps its role for as long as its entry keeps its address: what it still sends on flows
    /// that are ending has to be translated.
    pub(super) fn sync_addresses(&mut self) -> Result<(), Failure> {
        let present = self.plane.addresses()?;
        let mut wanted = plan::addresses(&self.config, &self.state);
        let former =
            present.into_iter().filter(|(address, role)| *role == ROLE_BACKEND && !wanted.contains_key(address));
        let former: BTreeMap<Address, u32> = former.collect();
        if !former.is_empty() {
            for id in 0..MAX_BACKENDS as u16 {
                let address = self.plane.backend(id)?.address;
                wanted.extend(former.get(&address).map(|role| (address, *role)));
            }
        }
        Ok(self.plane.set_addresses(&wanted)?)
    }

    /// Writes all rules.
    fn sync_rules(&mut self) -> Result<(), Failure> {
        let wanted = plan::rules(&self.config, &self.state);
        for listener in 0..MAX_SERVICES {
            self.plane.publish_rules(listener, wanted.get(&listener))?;
        }
        Ok(())
    }

    /// Writes a service's backends, then the policy that names them.
    pub(super) fn sync_service(&mut self, name: &str) -> Result<(), Failure> {
        let Some(service) = self.state.service(name).cloned() else { return Ok(()) };
        let paused = self.paused_until(name);
        let hold_until = self.holds.get(name).copied().max(paused).unwrap_or_default();
        let Some(config) = self.config.service(name).cloned() else {
            // It is gone from the config. What is still under way on it goes by its last policy, but is not held by that.
            if let Some(last) = self.plane.policy(service.id)?.filter(|last| last.hold_until != hold_until) {
                self.plane.publish(service.id, Policy { hold_until, ..last })?;
            }
            return Ok(());
        };
        for backend in service.versions.iter().flat_map(|version| &version.backends) {
            self.sync_backend(&config, backend)?;
        }
        let mut policy = plan::policy(&service, &config, &self.conditions);
        let rules = plan::rules_index(&self.config, &self.state, config.listen);
        policy.listener = rules.map_or(0, |index| index + 1);
        policy.hold_until = hold_until;
        self.plane.publish(service.id, policy).with_context(|| format!("publish the policy of {name}"))?;
        Ok(())
    }

    /// Writes one backend's flags, and what its listener may promise.
    pub(super) fn sync_health(&mut self, name: &str, id: u16) -> Result<(), Failure> {
        let (Some((_, _, backend)), Some(config)) = (self.state.backend(id), self.config.service(name).cloned()) else {
            return Ok(());
        };
        self.sync_backend(&config, &backend)?;
        self.sync_listener(config.listen)
    }

    /// Writes one backend: whether it takes work, and its share.
    pub(super) fn sync_backend(&mut self, config: &config::Service, backend: &model::Backend) -> Result<(), Failure> {
        let up = self.conditions.of_backend(backend.id) == Condition::Up;
        let wanted = plan::backend(backend, up, self.weight_now(config, backend));
        if !same(&self.plane.backend(backend.id)?, &wanted) {
            self.plane.set_backend(backend.id, &wanted)?;
        }
        Ok(())
    }

    /// Writes what a listener's SYN-ACKs promise: what the backends of all its services can keep, since nobody knows at that moment
    /// which of them will be asked.
    fn sync_listener(&mut self, listen: SocketAddr) -> Result<(), Failure> {
        let Some(home) = plan::home(&self.config, &self.state, listen) else { return Ok(()) };
        let key = plan::listener_key(listen);
        let present = self.plane.listeners()?.into_iter().find(|(other, _)| *other == key).map(|(_, value)| value);
        let standing = present.map_or(UNLEARNED, |present| Offers {
            bits: present.offers,
            mss: present.mss,
            scale: present.scale,
        });
        let learned: Vec<Option<Offers>> = self
            .config
            .services_on(listen)
            .filter_map(|config| self.state.service(&config.name))
            .flat_map(|service| &service.versions)
            .flat_map(|version| &version.backends)
            .filter(|backend| self.conditions.of_backend(backend.id) == Condition::Up)
            .map(|backend| self.learned.get(&backend.id).copied())
            .collect();
        let wanted = plan::listener(home, listen.into(), plan::offers(standing, &learned));
        if present != Some(wanted) {
            self.plane.set_listener(key, wanted)?;
        }
        Ok(())
    }

    /// Clears the counts of versions that are new at their index.
    pub(super) fn reset_new_versions(&mut self, old: &State, name: &str) -> Result<(), Failure> {
        let Some(service) = self.state.service(name) else { return Ok(()) };
        for version in &service.versions {
            if old.service(name).and_then(|old| old.version(&version.label)).is_none() {
                self.plane.reset_traffic(service.id, version.index)?;
            }
        }
        Ok(())
    }

    /// Marks backends as free that no version has any more, after no policy names them.
    pub(super) fn free_backends(&mut self, old: &State) -> Result<(), Failure> {
        let ids = old.services.iter().flat_map(|s| &s.versions).flat_map(|v| &v.backends).map(|backend| backend.id);
        for id in ids.collect::<Vec<_>>() {
            if self.state.backend(id).is_none() {
                // The address stays until the id is used again: flows that are ending may still ask for it.
                let freed = Backend { flags: 0, ..self.plane.backend(id)? };
                self.plane.set_backend(id, &freed)?;
                self.plane.empty_pools(id)?;
                self.conditions.0.remove(&id);
                self.learned.remove(&id);
                self.details.remove(&id);
                self.returned.remove(&id);
            }
        }
        Ok(())
    }
}

/// Whether an entry needs no writing; what the programs keep in it does not count.
fn same(present: &Backend, wanted: &Backend) -> bool {
    (present.address, present.port, present.flags, present.weight)
        == (wanted.address, wanted.port, wanted.flags, wanted.weight)
}
