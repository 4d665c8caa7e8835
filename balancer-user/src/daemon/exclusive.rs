//! Exclusive flips: two versions must not run at once (D10).
//!
//! New requests are held, those in flight on other versions end, then everybody moves with one store. The kernel holds until a
//! point in time, so a daemon that dies in the middle leaves the old version as it was, and no request waiting for ever.

use std::{fmt, time::Duration};

use super::Director;
use crate::{
    audit::Actor, boot, dataplane::FlowSight, exit::Failure, label::Label, model::Exclusive, wire::HoldStatus,
};

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

    /// Whether an exclusive flip holds a service.
    pub fn holds(&self, name: &str) -> bool {
        self.holds.contains_key(name)
    }

    /// For how many milliseconds a service is held at most, and what for.
    pub(super) fn held_for(&self, name: &str) -> Option<HoldStatus> {
        let left = |until: &u64| until.saturating_sub(boot::millis());
        let flip = self.holds.get(name).map(left);
        let service = self.state.service(name)?;
        if let Some(milliseconds) = flip {
            let flip = service.exclusive.as_ref();
            return Some(HoldStatus { milliseconds, flip_to: flip.map(|flip| flip.label.clone()), paused: false });
        }
        let pause = service.pause.and(self.pauses.get(name))?;
        Some(HoldStatus { milliseconds: left(&pause.1), flip_to: None, paused: true })
    }

    /// Writes down that an exclusive flip begins: should the daemon end before it is over, the next one knows.
    pub fn begin_exclusive(&mut self, name: &str, label: &Label, caller: &Actor) -> Result<(), Failure> {
        let flip = Exclusive {
            label: label.clone(),
            since: super::director::unix_now(),
            who: caller.name.clone(),
            hook: false,
        };
        self.write_exclusive(name, Some(flip))
    }

    /// Writes down that its hook runs.
    pub fn runs_hook(&mut self, name: &str) -> Result<(), Failure> {
        let flip = self.state.service(name).and_then(|service| service.exclusive.clone());
        self.write_exclusive(name, flip.map(|flip| Exclusive { hook: true, ..flip }))
    }

    /// Writes down that it is over, without having flipped.
    pub fn end_exclusive(&mut self, name: &str) -> Result<(), Failure> {
        self.write_exclusive(name, None)
    }

    fn write_exclusive(&mut self, name: &str, flip: Option<Exclusive>) -> Result<(), Failure> {
        let mut state = self.state.clone();
        let Some(service) = state.service_mut(name) else { return Ok(()) };
        if service.exclusive == flip {
            return Ok(());
        }
        service.exclusive = flip;
        self.save(&state)?;
        self.state = state;
        Ok(())
    }

    /// Exclusive flips that the end of the last daemon cut off: the old version goes on, and that is written down. Whoever asked
    /// was told that the daemon is gone, and does not count on the flip any more.
    pub(super) fn end_cut_off(&mut self) -> Result<(), Failure> {
        let cut: Vec<_> =
            self.state.services.iter().filter_map(|s| Some((s.name.clone(), s.exclusive.clone()?))).collect();
        for (name, Exclusive { label, who, hook, .. }) in cut {
            let mut state = self.state.clone();
            if let Some(service) = state.service_mut(&name) {
                service.exclusive = None;
            }
            let active = self.active(&name);
            let active = active.as_ref().map_or("nothing", Label::as_str);
            let during = if hook { ", while the hook `during` ran: look what it has left" } else { "" };
            let why = format!(
                "the exclusive flip of {who} was cut off by the end of the daemon{during}; {active} stays active, and requests go on"
            );
            self.decided(state, &name, &Actor::director("start"), "flip", Some(label), &why)?;
            self.release(&name)?;
        }
        Ok(())
    }

    /// What keeps an exclusive flip to `label` waiting. Requests whose client went away less than `abandoned` ago count: their
    /// backend may still be working on them, and nobody sees when it ends.
    pub fn in_the_way(&self, name: &str, label: &Label, abandoned: Duration) -> Result<Vec<InTheWay>, Failure> {
        let Some(service) = self.state.service(name) else { return Ok(Vec::new()) };
        let mut busy = Vec::new();
        let (now, window) = (boot::millis(), boot::whole_millis(abandoned));
        for version in service.versions.iter().filter(|version| version.label != *label) {
            let in_flight = self.plane.traffic(service.id, version.index)?.in_flight.get().cast_signed();
            if in_flight > 0 {
                busy.push(InTheWay::Requests(version.label.clone(), in_flight));
            }
            let left_at = self.plane.outcomes(service.id, version.index)?.left_at;
            if left_at != 0 && now.saturating_sub(left_at) < window {
                busy.push(InTheWay::Abandoned(version.label.clone()));
            }
        }
        Ok(busy)
    }

    /// Closes connections of other versions than `label`: those that are not followed, or all that something is under way on. How
    /// many there were.
    pub fn close_elsewhere(&mut self, name: &str, label: &Label, whom: Whom) -> Result<usize, Failure> {
        let Some(service) = self.state.service(name).cloned() else { return Ok(0) };
        let mut closed = 0;
        for version in service.versions.iter().filter(|version| version.label != *label) {
            let flows = self.plane.flows_of(service.id, version.index)?;
            let meant = |flow: &&FlowSight| match whom {
                Whom::Opaque => flow.opaque,
                Whom::Busy => flow.opaque || flow.outstanding > 0,
            };
            for flow in flows.iter().filter(meant) {
                closed += usize::from(self.plane.close_flow(flow)?);
            }
        }
        Ok(closed)
    }
}

/// What an exclusive flip waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InTheWay {
    /// So many requests are in flight on a version.
    Requests(Label, i64),
    /// A client of the version went away a moment ago, in the middle of a request.
    Abandoned(Label),
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Requests(label, count) => write!(f, "{count} on {label}"),
            Self::Abandoned(label) => write!(f, "one on {label} whose client went away"),
        }
    }
}

/// Which connections are closed for an exclusive flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those that are not followed: they changed protocols.
    Opaque,
    /// These, and those with a request in flight.
    Busy,
}
