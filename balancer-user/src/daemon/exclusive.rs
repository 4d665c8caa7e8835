//! Exclusive flips: two versions must not run at once (D10).
//!
//! New requests are held, those in flight on other versions end, then everybody moves with one store. The kernel holds until a
//! point in time, so a daemon that dies in the middle leaves the old version as it was, and no request waiting for ever. One that is
//! started again before that time goes on with the flip.

use std::{fmt, time::Duration};

use log::{info, warn};

use super::Director;
use crate::{
    audit::Actor,
    boot,
    dataplane::FlowSight,
    exit::Failure,
    label::Label,
    model::{self, Exclusive, Mode, Occasion, Verb},
    wire::{Done, HoldStatus, Terms},
};

/// How much longer the kernel holds than the director tries: a flip that is decided at the last moment has to be there before
/// the old version gets requests again.
const MARGIN: Duration = Duration::from_secs(2);
/// Of that, so much has to be left when it comes to writing the flip, on disk first.
const LAST: Duration = Duration::from_millis(500);

impl Director {
    /// Begins an exclusive flip: it is written down, so that the next daemon goes on with it should this one end, and from then on
    /// requests are held.
    pub fn begin_exclusive(&mut self, name: &str, flip: Exclusive) -> Result<(), Failure> {
        let text = format!(
            "requests are held for an exclusive flip to {}, for {} at most ({})",
            flip.label,
            humantime::format_duration(Duration::from_millis(flip.way.hold_milliseconds)),
            flip.who
        );
        let until = hold_until(&flip);
        self.write_exclusive(name, flip)?;
        self.holds.insert(name.to_owned(), until);
        if let Err(failure) = self.sync_service(name) {
            self.end_exclusive(name);
            return Err(failure);
        }
        info!("{name}: {text}");
        self.journal.add(Some(name), "flip", text);
        Ok(())
    }

    /// Whether an exclusive flip is under way, and still this one.
    pub fn goes_on(&self, name: &str, flip: &Exclusive) -> bool {
        let present = self.state.service(name).and_then(|service| service.exclusive.as_ref());
        present.is_some_and(|present| present.way == flip.way)
    }

    /// Whether an exclusive flip holds a service.
    pub fn holds(&self, name: &str) -> bool {
        self.holds.contains_key(name)
    }

    /// Whether the kernel holds for long enough to make the flip. A daemon that was held up must not make it beside requests that go
    /// on already.
    pub fn holds_still(&self, name: &str) -> bool {
        self.holds.get(name).is_some_and(|until| boot::millis() + boot::whole_millis(LAST) < *until)
    }

    /// Ends the hold of an exclusive flip, whatever came of it, and then writes that down: what is held goes on at once, also if
    /// nothing can be written. How many requests were held.
    pub fn end_exclusive(&mut self, name: &str) -> u64 {
        self.holds.remove(name);
        let released = self.sync_service(name).and_then(|()| self.release(name)).unwrap_or_else(|failure| {
            warn!("{name}: held requests go on when their time is up only: {failure}");
            0
        });
        let mut state = self.state.clone();
        if let Some(service) = state.service_mut(name)
            && service.exclusive.take().is_some()
        {
            self.save_or_later(&state);
            self.state = state;
        }
        released
    }

    /// Lets requests go on at once that nothing holds any more. How many were held.
    pub fn release(&mut self, name: &str) -> Result<u64, Failure> {
        let Some(service) = self.state.service(name).map(|service| service.id) else { return Ok(0) };
        Ok(self.plane.release_held(service)?)
    }

    /// Says what became of an exclusive flip that was not made.
    pub fn tell_undone(&mut self, name: &str, label: &Label, failure: &Failure) {
        let text = format!("no flip to {label}: {}", failure.error);
        warn!("{name}: {text}");
        self.journal.add(Some(name), "flip", text);
    }

    /// For how many milliseconds a service is held at most, and what for.
    pub(super) fn held_for(&self, name: &str) -> Option<HoldStatus> {
        let service = self.state.service(name)?;
        if let Some(Exclusive { label, way, .. }) = service.exclusive.as_ref().filter(|_| self.holds(name)) {
            let milliseconds = way.until.saturating_sub(boot::unix_millis());
            return Some(HoldStatus { milliseconds, flip_to: Some(label.clone()), paused: false });
        }
        let (_, until) = service.pause.and(self.pauses.get(name))?;
        Some(HoldStatus { milliseconds: until.saturating_sub(boot::millis()), flip_to: None, paused: true })
    }

    /// Writes down that its hook runs.
    pub fn runs_hook(&mut self, name: &str) -> Result<(), Failure> {
        let flip = self.state.service(name).and_then(|service| service.exclusive.clone());
        flip.map_or(Ok(()), |flip| self.write_exclusive(name, Exclusive { hook: true, ..flip }))
    }

    fn write_exclusive(&mut self, name: &str, flip: Exclusive) -> Result<(), Failure> {
        let mut state = self.state.clone();
        let Some(service) = state.service_mut(name) else { return Ok(()) };
        let insists = flip.force;
        service.exclusive = Some(flip);
        self.save_if(&state, insists)?;
        self.state = state;
        Ok(())
    }

    /// Exclusive flips that the end of the last daemon cut off, and that can be gone on with: the kernel has held their requests
    /// meanwhile, and holds them on. `adopts` says that it has counted what is in flight, too.
    pub(super) fn take_up_flips(&mut self, adopts: bool) {
        for service in &self.state.services {
            if let Some(flip) = &service.exclusive
                && why_not(flip, adopts).is_none()
            {
                self.holds.insert(service.name.clone(), hold_until(flip));
            }
        }
        self.adopted = adopts;
    }

    /// Exclusive flips that are gone on with.
    pub fn taken_up(&mut self) -> Vec<(String, Exclusive)> {
        let held = |service: &&model::Service| self.holds.contains_key(&service.name);
        let services = self.state.services.iter().filter(held);
        let flips: Vec<_> =
            services.filter_map(|service| Some((service.name.clone(), service.exclusive.clone()?))).collect();
        for (name, flip) in &flips {
            let text =
                format!("the exclusive flip of {} to {} goes on after the end of a daemon", flip.who, flip.label);
            info!("{name}: {text}");
            self.journal.add(Some(name), "flip", text);
        }
        flips
    }

    /// Those that cannot be gone on with: the old version goes on, and that is written down and told.
    pub(super) fn end_cut_off(&mut self) -> Result<(), Failure> {
        let cut = |service: &&model::Service| !self.holds.contains_key(&service.name);
        let cut = self.state.services.iter().filter(cut);
        let cut: Vec<_> = cut.filter_map(|service| Some((service.name.clone(), service.exclusive.clone()?))).collect();
        for (name, flip) in cut {
            let mut state = self.state.clone();
            if let Some(service) = state.service_mut(&name) {
                service.exclusive = None;
            }
            let active = self.active(&name);
            let active = active.as_ref().map_or("nothing", Label::as_str);
            let why = why_not(&flip, self.adopted).unwrap_or("nobody went on with it");
            let why = format!(
                "the exclusive flip of {} was cut off by the end of the daemon, and cannot go on: {why}; {active} stays active, \
                 and requests go on",
                flip.who
            );
            if self.hooks(&name).post_flip.is_some() {
                let verb = Verb::Flip { label: flip.label.clone(), mode: Mode::Exclusive };
                let (caller, terms) = (flip.actor(), flip.terms());
                let told = self.occasion(&name, &verb, &Done::default(), &caller, &terms);
                // Writing it down makes a generation.
                let generation = told.generation + 1;
                state.tell(Occasion {
                    result: Some("failed".to_owned()),
                    error: Some(why.clone()),
                    generation,
                    ..told
                });
            }
            self.decided(state, &name, &Actor::director("start"), "abort", Some(flip.label), &why)?;
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

/// Until which millisecond of the boot clock the kernel holds for a flip.
fn hold_until(flip: &Exclusive) -> u64 {
    boot::millis() + flip.way.until.saturating_sub(boot::unix_millis()) + boot::whole_millis(MARGIN)
}

/// Why a flip cannot be gone on with that the end of a daemon cut off, if it cannot.
fn why_not(flip: &Exclusive, adopts: bool) -> Option<&'static str> {
    if flip.hook {
        // It was killed with its daemon. Nobody but its author knows whether it may be run again.
        Some("the hook `during` was running and was killed, look what it has left")
    } else if !adopts {
        Some("the kernel has forgotten what was in flight")
    } else if flip.way.until <= boot::unix_millis() {
        Some("its time was up")
    } else {
        None
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

impl Exclusive {
    /// Who asked for it. His process is not there any more when this is needed.
    pub fn actor(&self) -> Actor {
        Actor { name: self.who.clone(), uid: self.uid, pid: None }
    }

    /// The terms that still count.
    pub fn terms(&self) -> Terms {
        Terms { dry_run: false, reason: self.reason.clone(), if_generation: None, force: self.force }
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
