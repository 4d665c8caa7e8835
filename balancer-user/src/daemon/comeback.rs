//! Backends that were down and come back: their share of new sessions grows slowly, and the sessions that they had in memory
//! are over, where the config says so.

use std::time::{Duration, Instant};

use log::info;

use super::Director;
use crate::{
    config::{self, OnRestart},
    exit::Failure,
    model,
};

/// A weight that is reached a while after a backend came back. Never 0: nobody would notice that it is there.
fn grown(weight: u32, since: Duration, over: Duration) -> u32 {
    if since >= over {
        return weight;
    }
    let share = u128::from(weight) * since.as_millis() / over.as_millis().max(1);
    u32::try_from(share).unwrap_or(weight).clamp(weight.min(1), weight)
}

impl Director {
    /// The weight of a backend at this moment.
    pub(super) fn weight_now(&self, config: &config::Service, backend: &model::Backend) -> u32 {
        let weight = backend.weight.number();
        match (config.health.slow_start, self.returned.get(&backend.id)) {
            (Some(over), Some(returned)) => grown(weight, returned.elapsed(), over),
            _ => weight,
        }
    }

    /// A backend that was down takes work again; before it gets any.
    pub(super) fn came_back(&mut self, name: &str, id: u16) -> Result<(), Failure> {
        let config = self.service_config(name)?;
        let (forgets, slowly) = (config.on_backend_restart == OnRestart::Forget, config.health.slow_start.is_some());
        if slowly {
            self.returned.insert(id, Instant::now());
        }
        if forgets {
            let forgotten = self.plane.forget_sessions(id)?;
            if forgotten > 0 {
                info!("{name}: {forgotten} sessions of a backend that was restarted are over (on_backend_restart)");
                self.counted = None;
            }
        }
        Ok(())
    }

    /// Lets the shares of those that came back grow.
    pub(super) fn grow_weights(&mut self) -> Result<(), Failure> {
        for id in self.returned.keys().copied().collect::<Vec<_>>() {
            let Some((service, _, backend)) = self.state.backend(id) else {
                self.returned.remove(&id);
                continue;
            };
            let Some(config) = self.config.service(&service.name).cloned() else { continue };
            if self.weight_now(&config, &backend) == backend.weight.number() {
                self.returned.remove(&id);
            }
            self.sync_backend(&config, &backend)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_grows_to_its_weight() {
        let (second, over) = (Duration::from_secs(1), Duration::from_secs(10));
        for (weight, seconds, expected) in [
            (100, 0, 1),
            (100, 1, 10),
            (100, 5, 50),
            (100, 10, 100),
            (100, 99, 100),
            (0, 5, 0),
            (3, 1, 1),
            (1000, 9, 900),
        ] {
            assert_eq!(grown(weight, second * seconds, over), expected, "{weight} after {seconds} s");
        }
        assert_eq!(grown(100, Duration::ZERO, Duration::from_nanos(1)), 1);
    }
}
