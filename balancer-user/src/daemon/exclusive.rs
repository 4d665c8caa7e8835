//! Exclusive flips: two versions must not run at once (D10).
//!
//! New requests are held, those in flight on other versions end, then everybody moves with one store. The kernel holds until a
//! point in time, so a daemon that dies in the middle leaves the old version as it was, and no request waiting for ever.

use std::time::Duration;

use super::Director;
use crate::{boot, exit::Failure, label::Label};

/// How much longer the kernel holds than the director tries: a flip that is decided at the last moment has to be there before
/// the old version gets requests again.
const MARGIN: Duration = Duration::from_secs(2);

impl Director {
    /// Holds the requests of a service for so long.
    pub fn hold(&mut self, name: &str, time: Duration) -> Result<(), Failure> {
        let until = boot::whole_millis(boot::elapsed() + time + MARGIN);
        self.holds.insert(name.to_owned(), until);
        self.sync_service(name)
    }

    /// Lets them go, at once. Nothing has changed for them if nothing else was done. How many were held.
    pub fn release(&mut self, name: &str) -> Result<u64, Failure> {
        self.holds.remove(name);
        self.sync_service(name)?;
        let Some(service) = self.state.service(name).map(|service| service.id) else { return Ok(0) };
        Ok(self.plane.release_held(service)?)
    }

    /// Ends a hold with the change that it was for, so that one store does both.
    pub fn stop_holding(&mut self, name: &str) {
        self.holds.remove(name);
    }

    /// Whether a service is being held.
    pub fn holds(&self, name: &str) -> bool {
        self.holds.contains_key(name)
    }

    /// For how many milliseconds it is held at most.
    pub(super) fn held_for(&self, name: &str) -> Option<u64> {
        self.holds.get(name).map(|until| until.saturating_sub(boot::millis()))
    }

    /// Requests in flight on other versions than `label`, for each that has some.
    pub fn in_flight_elsewhere(&self, name: &str, label: &Label) -> Result<Vec<(Label, i64)>, Failure> {
        let Some(service) = self.state.service(name) else { return Ok(Vec::new()) };
        let mut busy = Vec::new();
        for version in service.versions.iter().filter(|version| version.label != *label) {
            let in_flight = self.plane.traffic(service.id, version.index)?.in_flight.get().cast_signed();
            if in_flight > 0 {
                busy.push((version.label.clone(), in_flight));
            }
        }
        Ok(busy)
    }
}
