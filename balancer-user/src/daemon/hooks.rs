//! Hooks, as the daemon runs them: what a flip's hooks are told, and the one that is told of events.
//!
//! Nobody waits for the latter: events go through a queue of a fixed length to a task of its own, and what finds no room there is
//! counted.

use std::time::Duration;

use log::{info, warn};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{Director, Shared};
use crate::{
    audit::Actor,
    config::Hooks,
    hooks::{Ended, Occasion, Point, run},
    model::Verb,
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
