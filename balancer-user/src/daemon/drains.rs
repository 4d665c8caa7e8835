//! Drains and retiring, as time passes: who is left on a version, whose deadline has come, and what is closed.
//!
//! Every step is a change of the state, so that a daemon that is started again carries on where the last one ended; only the
//! counting of looks begins anew.

use std::collections::BTreeMap;

use super::Director;
use crate::{
    audit::Actor,
    config::Retire,
    exit::Failure,
    label::Label,
    model::{self, Drain, Left, Then, drain, retire},
};

/// Seconds over which connections are closed that are left at a deadline: their clients connect again, and not all at once.
const SPREAD: u64 = 60;

/// Looks in a row that have to find nobody: counts of two CPUs can cancel out for an instant, and a session that was issued in
/// answer to the last request is bound a moment before that request counts as done.
const LOOKS: u32 = 2;

/// How often in a row nobody was found on a version.
pub(super) type Looks = BTreeMap<(String, Label), u32>;

/// What there is to do with a version.
enum Step {
    Nothing,
    /// Its sessions move, and the closing begins.
    Close,
    /// It is over.
    Finish,
    /// It was not draining, and goes because nobody is left.
    Retire,
}

impl Director {
    /// Looks at all versions that drain, or that go once nobody is left on them.
    pub(super) fn look_at_drains(&mut self) -> Result<(), Failure> {
        let now = super::director::unix_now();
        for config in self.config.services.clone() {
            let Some(service) = self.state.service(&config.name).cloned() else { continue };
            let going = match config.retire {
                Retire::Never => Vec::new(),
                Retire::Empty if self.settled(&service) => retire::candidates(&service, config.keep),
                Retire::Empty => Vec::new(),
            };
            let goes = |version: &&model::Version| version.drain.is_some() || going.contains(&version.label);
            // A flip that is under way is waited for: what it leads to must be there then.
            let flip_to = service.exclusive.as_ref().map(|flip| &flip.label);
            for version in service.versions.iter().filter(goes).filter(|version| flip_to != Some(&version.label)) {
                let nobody = self.nobody(&service, version)?;
                match (version.drain, nobody) {
                    (Some(drain), nobody) => self.drain_step(&service, version, drain, nobody, now)?,
                    (None, true) => self.take_step(&service, &version.label, Step::Retire, now)?,
                    (None, false) => {}
                }
            }
        }
        Ok(())
    }

    /// Whether users have somewhere to go: a later version is there and available (C39).
    fn settled(&self, service: &model::Service) -> bool {
        service.active().is_some_and(|active| self.conditions.of_version(active) == model::Condition::Up)
    }

    fn drain_step(
        &mut self,
        service: &model::Service,
        version: &model::Version,
        drain: Drain,
        nobody: bool,
        now: u64,
    ) -> Result<(), Failure> {
        let late = drain.deadline.is_some_and(|deadline| deadline <= now);
        let step = match drain.closing {
            Some(since) => {
                let left = self.close_some(service, version, (since + SPREAD).saturating_sub(now))?;
                if left == 0 || now >= since + SPREAD { Step::Finish } else { Step::Nothing }
            }
            None if nobody => Step::Finish,
            None if late && drain.then == Then::Keep => Step::Finish,
            None if late => Step::Close,
            None => Step::Nothing,
        };
        self.take_step(service, &version.label, step, now)
    }

    fn take_step(&mut self, service: &model::Service, label: &Label, step: Step, now: u64) -> Result<(), Failure> {
        let name = &service.name;
        let mut state = self.state.clone();
        let (verb, said) = match step {
            Step::Nothing => return Ok(()),
            Step::Close => ("drain", drain::close(&mut state, name, label, now)?),
            Step::Finish => ("drain", drain::finish(&mut state, name, label, now)?),
            Step::Retire => ("retire", retire::go(&mut state, name, label, now)?),
        };
        self.empty_looks.remove(&(name.clone(), label.clone()));
        self.decided(state, name, &Actor::director("drain"), verb, Some(label.clone()), &said)
    }

    /// Whether nobody was found on a version several times in a row.
    fn nobody(&mut self, service: &model::Service, version: &model::Version) -> Result<bool, Failure> {
        let left = self.left(service, version)?;
        let looks = self.empty_looks.entry((service.name.clone(), version.label.clone())).or_default();
        *looks = if left.nobody() { *looks + 1 } else { 0 };
        Ok(*looks >= LOOKS)
    }

    /// What is left on a version.
    pub(super) fn left(&mut self, service: &model::Service, version: &model::Version) -> Result<Left, Failure> {
        self.count_sessions();
        let in_flight = self.plane.traffic(service.id, version.index)?.in_flight.get().cast_signed();
        let counted = self.counted_on(service, version);
        Ok(Left { sessions: counted.presented, issued: counted.issued, in_flight })
    }

    /// Closes a share of the connections that a version still works on, so that all are closed when the time is up; how many
    /// are left. Those that wait for a request are left alone: their next one goes elsewhere by itself.
    fn close_some(
        &mut self,
        service: &model::Service,
        version: &model::Version,
        seconds_left: u64,
    ) -> Result<usize, Failure> {
        let flows = self.plane.flows_of(service.id, version.index)?;
        let busy: Vec<_> = flows.into_iter().filter(|flow| flow.opaque || flow.outstanding > 0).collect();
        let share = busy.len().div_ceil(usize::try_from(seconds_left.max(1)).unwrap_or(usize::MAX));
        for flow in busy.iter().take(share) {
            self.plane.close_flow(flow)?;
        }
        Ok(busy.len() - share)
    }
}
