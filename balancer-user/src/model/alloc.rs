//! Ids: each is used again as late as possible, because the kernel may still hold flows and bindings that name it.

use std::collections::BTreeSet;

use balancer_ebpf::layout::{MAX_BACKENDS, MAX_SERVICES, MAX_VERSIONS};

use super::{Refusal, Service, State};

impl State {
    /// The service of that name; a new one, without versions, if there is none.
    pub fn ensure_service(&mut self, name: &str) -> Result<&mut Service, Refusal> {
        let at = match self.services.iter().position(|service| service.name == name) {
            Some(at) => at,
            None => {
                let used: BTreeSet<u32> = self.services.iter().map(|service| service.id).collect();
                let id = (0..MAX_SERVICES)
                    .find(|id| !used.contains(id))
                    .ok_or(Refusal::NoRoom { what: "services", limit: MAX_SERVICES })?;
                self.services.push(Service {
                    name: name.to_owned(),
                    id,
                    generation: 0,
                    next_generation: 1,
                    next_index: 0,
                    versions: Vec::new(),
                    active: None,
                    adopt: None,
                    canary: None,
                    aborted: None,
                    pause: None,
                    exclusive: None,
                    past: Vec::new(),
                    retired: Vec::new(),
                    pins: Vec::new(),
                });
                self.services.len() - 1
            }
        };
        Ok(&mut self.services[at])
    }

    /// A backend id that no version has.
    pub(super) fn take_backend_id(&mut self) -> Result<u16, Refusal> {
        let versions = self.services.iter().flat_map(|service| &service.versions);
        let used: BTreeSet<u16> = versions.flat_map(|version| &version.backends).map(|backend| backend.id).collect();
        let limit = MAX_BACKENDS as u16;
        let id = (0..limit)
            .map(|step| (self.next_backend + step) % limit)
            .find(|id| !used.contains(id))
            .ok_or(Refusal::NoRoom { what: "backends", limit: MAX_BACKENDS })?;
        self.next_backend = (id + 1) % limit;
        Ok(id)
    }
}

impl Service {
    /// A version index that no version has.
    pub(super) fn take_index(&mut self) -> Result<u32, Refusal> {
        let used: BTreeSet<u32> = self.versions.iter().map(|version| version.index).collect();
        let index = (0..MAX_VERSIONS)
            .map(|step| (self.next_index + step) % MAX_VERSIONS)
            .find(|index| !used.contains(index))
            .ok_or(Refusal::NoRoom { what: "versions of a service", limit: MAX_VERSIONS })?;
        self.next_index = (index + 1) % MAX_VERSIONS;
        Ok(index)
    }

    /// A generation that was never used in this service.
    pub(super) fn take_generation(&mut self) -> u32 {
        let generation = self.next_generation;
        // Four billion forced flips wrap to 1: 0 means that there is no such version.
        self.next_generation = generation.checked_add(1).unwrap_or(1);
        generation
    }
}
