//! What the data path noted about backends: those that refused requests, or were silent, and are passed over for a while.
//!
//! The programs note it and end it by themselves, with the daemon dead too. What the daemon adds: it tells of it, and it ends it
//! at once for a backend that passed a check since. Else one that was restarted in a moment, between two checks, would be passed
//! over for up to a minute while it is well.

use std::collections::BTreeMap;

use log::{info, warn};

use super::Director;
use crate::{boot, exit::Failure};

/// What was noted about a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noted {
    /// Until which millisecond of the boot clock it is passed over.
    until: u64,
    /// Attempts in a row that failed.
    failures: u64,
}

/// By backend, what was noted about it and when the daemon first saw that.
pub(super) type BackOffs = BTreeMap<u16, (Noted, u64)>;

impl Director {
    /// What the programs have noted about a backend, if they have.
    pub(super) fn noted(&self, id: u16) -> Result<Option<Noted>, Failure> {
        let backend = self.plane.backend(id)?;
        let noted = Noted { until: backend.shunned_until.get(), failures: backend.failures.get() };
        Ok((noted.failures > 0).then_some(noted))
    }

    /// Looks at what was noted, and ends what a check has refuted.
    pub(super) fn look_at_back_offs(&mut self) -> Result<(), Failure> {
        let mut found = Vec::new();
        for service in &self.state.services {
            for version in &service.versions {
                for backend in &version.backends {
                    if let Some(noted) = self.noted(backend.id)? {
                        let shown = format!("{} of {}", backend.address, version.label);
                        found.push((service.name.clone(), backend.id, shown, noted));
                    }
                }
            }
        }
        self.back_offs.retain(|id, _| found.iter().any(|(_, other, ..)| other == id));
        for (service, id, shown, noted) in found {
            match self.back_offs.get(&id) {
                // Nothing has failed since it was seen, and the check came after that.
                Some((seen, at)) if *seen == noted => {
                    if self.passed.since(id, *at) {
                        self.plane.forgive(id)?;
                        self.back_offs.remove(&id);
                        let text = format!("{shown} has passed a check: requests try it again");
                        info!("{service}: {text}");
                        self.journal.add(Some(&service), "health", text);
                    }
                }
                seen => {
                    if seen.is_none() {
                        let text =
                            format!("{shown} did not answer requests, and is passed over until it passes a check");
                        warn!("{service}: {text}");
                        self.journal.add(Some(&service), "health", text);
                    }
                    self.back_offs.insert(id, (noted, boot::millis()));
                }
            }
        }
        Ok(())
    }

    /// For a warning: for how long a backend is still passed over, and after how many failures.
    pub(super) fn passed_over(&self, id: u16) -> Result<Option<(u64, u64)>, Failure> {
        let now = boot::millis();
        let noted = self.noted(id)?.filter(|noted| noted.until > now);
        Ok(noted.map(|Noted { until, failures }| ((until - now).div_ceil(1000), failures)))
    }
}
