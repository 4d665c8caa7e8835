//! Hooks, as the daemon runs them: what a flip's hooks are told, the one behind it, and the one that is told of events.
//!
//! What `post-flip` has to be told is written down with the flip, and taken out when it was told: a daemon that dies in between leaves
//! it to the next one. So it may be told twice, and never not at all.
//!
//! Nobody waits for the last one: events go through a queue of a fixed length to a task of its own, and what finds no room there is
//! counted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use log::{info, warn};
use serde::Serialize;
use tokio::{sync::mpsc, task::JoinSet};

use super::{Director, Shared};
use crate::{
    audit::Actor,
    config::Hooks,
    exit::{Code, Failure},
    hooks::{Ended, Occasion, Point, environment, run},
    label::Label,
    model::{Outcome, State, Verb},
    wire::{Done, Event, Terms},
};

/// Events that wait for their hook at most.
const QUEUE: usize = 256;

/// What the hook for events is told.
#[derive(Serialize)]
struct Told<'a> {
    director: &'a str,
    event: &'a Event,
}

impl Director {
    /// The hooks of a service.
    pub fn hooks(&self, service: &str) -> Hooks {
        self.config.hooks_of(service)
    }

    /// What a flip's hooks are told before it; the plan is of a dry run.
    pub fn occasion(&self, name: &str, verb: &Verb, plan: &Done, caller: &Actor, terms: &Terms) -> Occasion {
        let to = verb.about().cloned().or_else(|| plan.active.clone());
        Occasion {
            director: self.config.name.clone(),
            socket: self.config.socket.display().to_string(),
            service: name.to_owned(),
            verb: verb.name().to_owned(),
            mode: verb.mode().map(str::to_owned),
            version: verb.about().or(self.canary_of(name, verb)).cloned(),
            from: self.active(name),
            to,
            generation: self.generation(name),
            who: caller.name.clone(),
            reason: terms.reason.clone(),
            force: terms.force,
            will: plan.will.clone(),
            result: None,
            error: None,
        }
    }

    /// The canary, or the version of an exclusive flip, that a verb ends without naming it.
    fn canary_of(&self, name: &str, verb: &Verb) -> Option<&Label> {
        let service = self.state.service(name)?;
        let ends = matches!(verb, Verb::Promote | Verb::Abort { .. });
        let flip = service.exclusive.as_ref().map(|flip| &flip.label);
        flip.or(service.canary.as_ref().map(|canary| &canary.label)).filter(|_| ends)
    }

    /// Notes in a state that is about to be written what the hook `post-flip` has to be told of it: so the one is never without the
    /// other, whenever the daemon ends.
    #[expect(clippy::too_many_arguments, reason = "they are all that there is to a change")]
    pub(super) fn note_for_hook(
        &self,
        state: &mut State,
        name: &str,
        verb: &Verb,
        outcome: &Outcome,
        caller: &Actor,
        terms: &Terms,
        result: &str,
    ) {
        if self.hooks(name).post_flip.is_none() {
            return;
        }
        let service = state.service(name);
        let plan = Done {
            will: outcome.will.clone(),
            active: service.and_then(|service| service.active.clone()),
            ..Done::default()
        };
        let generation = service.map_or(0, |service| service.generation);
        let occasion = self.occasion(name, verb, &plan, caller, terms);
        state.tell(Occasion { result: Some(result.to_owned()), generation, ..occasion });
    }

    /// Tells the hook `post-flip` of a flip that was not made.
    pub fn tell_failure(&mut self, occasion: Occasion, failure: &Failure) {
        if self.hooks(&occasion.service).post_flip.is_none() {
            return;
        }
        let result = match failure.code {
            Code::Usage | Code::Refused => "refused",
            Code::TimedOut => "timed-out",
            Code::Conflict => "conflict",
            Code::Other | Code::NoDaemon => "failed",
        };
        let (result, error) = (Some(result.to_owned()), Some(failure.error.clone()));
        let generation = self.generation(&occasion.service);
        let mut state = self.state.clone();
        state.tell(Occasion { result, error, generation, ..occasion });
        self.save_untold(state);
    }

    /// Writes a state down that differs in what has to be told, or was told.
    pub(super) fn save_untold(&mut self, state: State) {
        if state.untold != self.state.untold {
            self.save_or_later(&state);
            self.state = state;
        }
        self.to_tell.notify_one();
    }

    /// The first that has to be told of each service but these.
    fn to_be_told(&self, busy: &BTreeSet<String>) -> Vec<Occasion> {
        let mut first: BTreeMap<&str, &Occasion> = BTreeMap::new();
        for occasion in self.state.untold.iter().filter(|occasion| !busy.contains(&occasion.service)) {
            first.entry(&occasion.service).or_insert(occasion);
        }
        first.into_values().cloned().collect()
    }

    /// The hook knows it now.
    fn told(&mut self, occasion: &Occasion) {
        let mut state = self.state.clone();
        if let Some(at) = state.untold.iter().position(|other| other == occasion) {
            state.untold.remove(at);
        }
        self.save_untold(state);
    }

    /// Takes in how a flip's hook ended.
    pub fn hook_ended(&mut self, name: &str, point: Point, ended: &Ended) {
        self.tally_hook(point, ended);
        let took = humantime::format_duration(Duration::from_millis(crate::boot::whole_millis(ended.took)));
        let text = format!("the hook {} {} ({took})", point.as_str(), ended.text());
        if ended.problem.is_some() {
            warn!("{name}: {text}");
        } else {
            info!("{name}: {text}");
        }
        self.journal.add(Some(name), "hook", text);
    }

    /// Counts how a hook ended.
    fn tally_hook(&mut self, point: Point, ended: &Ended) {
        *self.tallies.hooks.entry((point, ended.problem.is_none())).or_default() += 1;
    }

    /// From here on events wait for their hook.
    pub(super) fn tell_events(&mut self) -> mpsc::Receiver<Event> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        self.journal.tell(sender);
        receiver
    }
}

/// Runs the hook `post-flip`: of each service one after the other, beginning with what the last daemon did not come to.
pub(super) async fn tell_flips(director: Shared) {
    let to_tell = director.lock().await.to_tell.clone();
    let mut busy = BTreeSet::new();
    let mut running = JoinSet::new();
    loop {
        let waiting = director.lock().await.to_be_told(&busy);
        for occasion in waiting {
            busy.insert(occasion.service.clone());
            running.spawn(tell_flip(occasion, director.clone()));
        }
        tokio::select! {
            () = to_tell.notified() => {}
            Some(ended) = running.join_next() => match ended {
                Ok(service) => drop(busy.remove(&service)),
                Err(error) => warn!("a hook broke off: {error}"),
            },
        }
    }
}

/// Tells one thing, to whichever hook there is now; which service it was about.
async fn tell_flip(occasion: Occasion, director: Shared) -> String {
    let service = occasion.service.clone();
    let hook = director.lock().await.hooks(&service).post_flip;
    let ended = match &hook {
        Some(hook) => Some(run(Point::PostFlip, hook, hook.timeout, &occasion, &environment(&occasion)).await),
        None => None,
    };
    let mut director = director.lock().await;
    if let Some(ended) = ended {
        director.hook_ended(&service, Point::PostFlip, &ended);
    }
    director.told(&occasion);
    service
}

/// Runs the hook for events, one event after the other.
pub(super) async fn tell(mut events: mpsc::Receiver<Event>, director: Shared) {
    let mut fails = false;
    while let Some(event) = events.recv().await {
        let (hook, name, socket) = {
            let director = director.lock().await;
            let config = &director.config;
            (config.hooks.event.clone(), config.name.clone(), config.socket.display().to_string())
        };
        let Some(hook) = hook else { continue };
        let environment = [
            ("BALANCER_DIRECTOR", name.clone()),
            ("BALANCER_SOCKET", socket),
            ("BALANCER_SERVICE", event.service.clone().unwrap_or_default()),
            ("BALANCER_EVENT", event.kind.clone()),
        ];
        let told = Told { director: &name, event: &event };
        let ended = run(Point::Event, &hook, hook.timeout, &told, &environment).await;
        // Its failure is no event, which it would be told of. The first of several in a row is said.
        if ended.problem.is_some() && !fails {
            warn!("the hook event {}", ended.text());
        }
        fails = ended.problem.is_some();
        director.lock().await.tally_hook(Point::Event, &ended);
    }
}
