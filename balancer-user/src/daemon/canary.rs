//! Canaries that fail: looked at once a second, against the active version, and given up by themselves.
//!
//! Two spans are judged: all since the canary began, and the last minute. One that was good for a day and then fails has a long
//! good past, and must not live on it.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use super::Director;
use crate::{
    audit::Actor,
    exit::Failure,
    model::{self, Canary, Occasion, Tally, Verb},
    wire::{Done, Terms},
};

/// How long the short span is.
const SPAN: Duration = Duration::from_secs(60);

/// What had become of requests of a canary and of the active version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    at: Instant,
    tallies: (Tally, Tally),
}

/// Looks of the last minute, by service; of the canary that began in that second.
pub(super) type Looks = BTreeMap<String, (u64, VecDeque<Look>)>;

impl Director {
    /// What became of requests of a canary and of the active version, ever.
    pub(super) fn tallies(
        &self,
        service: &model::Service,
        one: Option<&model::Version>,
        other: Option<&model::Version>,
    ) -> Result<(Tally, Tally), Failure> {
        let of = |version: Option<&model::Version>| {
            version.map_or(Ok(Tally::default()), |version| {
                Ok::<_, Failure>(self.plane.outcomes(service.id, version.index)?.tally)
            })
        };
        Ok((of(one)?, of(other)?))
    }

    /// The same since the canary began.
    pub(super) fn tallies_since(&self, service: &model::Service, canary: &Canary) -> Result<(Tally, Tally), Failure> {
        let (one, other) = self.tallies(service, service.version(&canary.label), service.active())?;
        Ok((one.since(canary.before.0), other.since(canary.before.1)))
    }

    /// Gives canaries up that fail.
    pub(super) fn look_at_canaries(&mut self) -> Result<(), Failure> {
        for config in self.config.services.clone() {
            let name = &config.name;
            let Some(service) = self.state.service(name).cloned() else { continue };
            let Some((canary, guard)) = service.canary.as_ref().and_then(|canary| Some((canary, canary.guard?))) else {
                self.canary_looks.remove(name);
                continue;
            };
            let tallies = self.tallies_since(&service, canary)?;
            let (since, looks) = self.canary_looks.entry(name.clone()).or_default();
            if *since != canary.since {
                (*since, *looks) = (canary.since, VecDeque::new());
            }
            let now = Instant::now();
            // The last one that is older than the span stays: the span begins there.
            while looks.get(1).is_some_and(|second| now.duration_since(second.at) >= SPAN) {
                looks.pop_front();
            }
            let lately =
                looks.front().map(|first| (tallies.0.since(first.tallies.0), tallies.1.since(first.tallies.1)));
            looks.push_back(Look { at: now, tallies });
            let why = guard.judge(tallies.0, tallies.1).or_else(|| {
                let (one, other) = lately?;
                Some(format!("within the last minute, {}", guard.judge(one, other)?))
            });
            if let Some(why) = why {
                let label = canary.label.clone();
                let mut state = self.state.clone();
                let said = model::give_up(&mut state, name, config.canary.sessions, &why, super::director::unix_now())?;
                self.canary_looks.remove(name);
                if self.hooks(name).post_flip.is_some() {
                    let verb = Verb::Abort { sessions: config.canary.sessions };
                    let terms = Terms { reason: Some(said.clone()), ..Terms::default() };
                    let plan = Done { active: self.active(name), ..Done::default() };
                    let told = self.occasion(name, &verb, &plan, &Actor::director("canary"), &terms);
                    // Writing it down makes a generation.
                    let generation = told.generation + 1;
                    state.tell(Occasion { result: Some("done".to_owned()), generation, ..told });
                }
                self.decided(state, name, &Actor::director("canary"), "abort", Some(label), &said)?;
            }
        }
        Ok(())
    }
}
