//! Pauses: requests are held until somebody resumes, or until their time is up.
//!
//! The state says until when by the wall clock, the kernel by the boot clock: it ends a pause without the daemon, and a daemon that
//! is started again goes on with it.

use std::time::Duration;

use super::Director;
use crate::{
    audit::Actor,
    boot,
    exit::Failure,
    model::Verb,
    wire::{Done, Terms},
};

impl Director {
    /// Holds the requests of a service for so long, or until it is resumed.
    pub fn pause(&mut self, name: &str, time: Duration, caller: &Actor, terms: &Terms) -> Result<Done, Failure> {
        let until = boot::unix_millis().saturating_add(boot::whole_millis(time));
        let said = humantime::format_duration(time).to_string();
        self.change(name, &Verb::Pause { until, said }, caller, terms)
    }

    /// Lets the requests go on that a pause holds.
    pub fn resume(&mut self, name: &str, caller: &Actor, terms: &Terms) -> Result<Done, Failure> {
        let mut done = self.change(name, &Verb::Resume, caller, terms)?;
        if !terms.dry_run {
            let released = self.release(name)?;
            done.did.push(format!("{name}: {released} of them were held until now"));
        }
        Ok(done)
    }

    /// Whether a service is paused.
    pub fn paused(&self, name: &str) -> bool {
        self.state.service(name).is_some_and(|service| service.pause.is_some())
    }

    /// Until which millisecond of the boot clock a service is paused.
    pub(super) fn paused_until(&mut self, name: &str) -> Option<u64> {
        let Some(pause) = self.state.service(name).and_then(|service| service.pause) else {
            self.pauses.remove(name);
            return None;
        };
        // Computed once: the same pause is the same point in time, whatever else is changed meanwhile.
        let (wall, until) = self.pauses.entry(name.to_owned()).or_default();
        if *wall != pause.until {
            (*wall, *until) = (pause.until, boot::millis() + pause.until.saturating_sub(boot::unix_millis()));
        }
        Some(*until)
    }

    /// Writes down the ends of pauses whose time is up, and releases what the kernel does not hold any more.
    pub(super) fn end_pauses(&mut self) -> Result<(), Failure> {
        let over: Vec<String> = self
            .state
            .services
            .iter()
            .filter(|service| {
                service.pause.is_some()
                    && self.pauses.get(&service.name).is_some_and(|(_, until)| *until <= boot::millis())
            })
            .map(|service| service.name.clone())
            .collect();
        for name in over {
            let mut state = self.state.clone();
            if let Some(service) = state.service_mut(&name) {
                service.pause = None;
            }
            let why = "the time of the pause is up: requests go on";
            self.decided(state, &name, &Actor::director("pause"), "resume", None, why)?;
            self.release(&name)?;
        }
        Ok(())
    }
}
