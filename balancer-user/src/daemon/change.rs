//! Changes: those that somebody asks for, and those that the director decides on by itself.
//!
//! A change is planned on a clone of the state, written to disk, and then to the kernel, in this order: what a crash leaves
//! behind is a state that the next start makes true.

use log::info;

use super::director::{Director, now, random_bytes, rules, unix_now};
use crate::{
    audit::{self, Actor},
    exit::{Code, Failure},
    label::Label,
    model::{self, Change, Circumstances, Insistence, Left, Outcome, State, Table, Tally, Verb},
    wire::{Done, Terms},
};

/// New sessions of a canary-to-be and of the active version so far, and what became of their requests.
type Past = ((u64, u64), (Tally, Tally));

impl Director {
    /// Does a verb, or says what it would do; and writes down what was asked for and what came of it.
    pub fn change(&mut self, name: &str, verb: &Verb, caller: &Actor, terms: &Terms) -> Result<Done, Failure> {
        let from = self.active(name);
        let result = self.try_change(name, verb, caller, terms);
        if !terms.dry_run || result.is_err() {
            self.write_down(name, verb, caller, terms, from, &result);
        }
        result.map(|(done, _)| done)
    }

    /// Writes a change, or the attempt, into the audit log.
    pub fn write_down(
        &self,
        name: &str,
        verb: &Verb,
        caller: &Actor,
        terms: &Terms,
        from: Option<Label>,
        result: &Result<(Done, Outcome), Failure>,
    ) {
        let (verdict, error, undo, mode) = match result {
            Ok((done, outcome)) if outcome.changed => {
                (audit::Verdict::Done, None, done.undo.as_str(), outcome.mode.as_deref())
            }
            Ok((_, outcome)) => (audit::Verdict::Unchanged, None, "", outcome.mode.as_deref()),
            Err(failure) => {
                let verdict = match failure.code {
                    Code::Conflict => audit::Verdict::Conflict,
                    Code::Refused | Code::Usage => audit::Verdict::Refused,
                    Code::Other | Code::TimedOut | Code::NoDaemon => audit::Verdict::Failed,
                };
                (verdict, Some(failure.error.as_str()), "", verb.mode())
            }
        };
        self.audit.write(&audit::Line {
            at: now(),
            actor: caller,
            service: name,
            verb: verb.name(),
            version: verb.about(),
            mode,
            from,
            to: self.active(name),
            generation: self.generation(name),
            reason: terms.reason.as_deref(),
            details: None,
            force: terms.force,
            dry_run: terms.dry_run,
            result: verdict,
            error,
            undo,
        });
    }

    fn try_change(
        &mut self,
        name: &str,
        verb: &Verb,
        caller: &Actor,
        terms: &Terms,
    ) -> Result<(Done, Outcome), Failure> {
        let config = self.service_config(name)?.clone();
        self.check_generation(name, terms)?;
        let mut state = self.state.clone();
        let left = self.left_for(name, verb)?;
        let (born, before) = self.past_of(name, verb)?;
        let given = Circumstances {
            left,
            born,
            before,
            guard: config.canary,
            now: unix_now(),
            random: u64::from_ne_bytes(random_bytes()?),
            insistence: if terms.force { Insistence::Force } else { Insistence::None },
            table: if self.table_is_full() { Table::Full } else { Table::HasRoom },
            ..Circumstances::new(rules(&config), &self.conditions)
        };
        let mut outcome = model::apply(&mut state, name, &given, verb)?;
        let to = state.service(name).and_then(|service| service.active.clone());
        if !terms.dry_run && outcome.changed {
            state.record(Change {
                at: now(),
                who: caller.name.clone(),
                service: name.to_owned(),
                verb: verb.name().to_owned(),
                from: self.active(name),
                to: to.clone(),
                version: outcome.version.clone(),
                mode: outcome.mode.clone(),
                undo: outcome.undo.clone(),
                reason: terms.reason.clone(),
                generation: 0,
            });
            if verb.flips() {
                self.note_for_hook(&mut state, name, verb, &outcome, caller, terms, "done");
            }
            let insists = terms.force || verb.goes_back();
            let held = self.holds(name);
            self.commit(state, name, insists)?;
            if held && matches!(verb, Verb::Abort { .. }) {
                let released = self.release(name)?;
                outcome.did.push(format!("{name}: requests go on, {released} of them were held until now"));
            }
            if let Some(problem) = &self.unsaved {
                outcome.warnings.push(problem.clone());
            }
            self.tally(name, verb);
            for line in &outcome.did {
                info!("{line} ({})", caller.name);
                self.journal.add(Some(name), "change", format!("{line} ({})", caller.name));
            }
        } else if !terms.dry_run && verb.flips() {
            let mut state = self.state.clone();
            self.note_for_hook(&mut state, name, verb, &outcome, caller, terms, "unchanged");
            self.save_untold(state);
        }
        let done = Done {
            will: outcome.will.clone(),
            did: if terms.dry_run { Vec::new() } else { outcome.did.clone() },
            warnings: outcome.warnings.clone(),
            undo: outcome.undo.clone(),
            active: to,
            generation: self.generation(name),
            pin: None,
        };
        Ok((done, outcome))
    }

    /// What is left on the version that a verb would take away.
    fn left_for(&mut self, name: &str, verb: &Verb) -> Result<Left, Failure> {
        let Verb::Retire { label } = verb else { return Ok(Left::default()) };
        let Some(service) = self.state.service(name).cloned() else { return Ok(Left::default()) };
        // Counted now, whatever was counted a moment ago.
        self.counted = None;
        service.version(label).map_or(Ok(Left::default()), |version| self.left(&service, version))
    }

    /// New sessions so far of the version that a verb makes a canary, and of the active one; and what became of their requests.
    fn past_of(&self, name: &str, verb: &Verb) -> Result<Past, Failure> {
        match (verb, self.state.service(name)) {
            (Verb::Canary { label, .. }, Some(service)) => {
                let (one, other) = (service.version(label), service.active());
                Ok((self.born(service, one, other)?, self.tallies(service, one, other)?))
            }
            _ => Ok(Default::default()),
        }
    }

    /// New sessions that two versions had.
    pub(super) fn born(
        &self,
        service: &model::Service,
        one: Option<&model::Version>,
        other: Option<&model::Version>,
    ) -> Result<(u64, u64), Failure> {
        let of = |version: Option<&model::Version>| {
            version.map_or(Ok(0), |version| Ok::<_, Failure>(self.plane.traffic(service.id, version.index)?.born.get()))
        };
        Ok((of(one)?, of(other)?))
    }

    /// Refuses a change that was meant for another state of things than there is.
    fn check_generation(&self, name: &str, terms: &Terms) -> Result<(), Failure> {
        let generation = self.generation(name);
        match terms.if_generation {
            Some(wanted) if wanted != generation => Err(Failure::new(
                Code::Conflict,
                format!("service `{name}` is at generation {generation}, not {wanted}: somebody changed it meanwhile"),
                format!(
                    "look at it again (balancer status {name}, balancer history {name}), then give --if-generation {generation}"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// The generation of a service: how often it was changed.
    pub fn generation(&self, name: &str) -> u64 {
        self.state.service(name).map_or(0, |service| service.generation)
    }

    /// Makes a change the present state that the director decided on by itself, and writes it down.
    pub(super) fn decided(
        &mut self,
        mut state: State,
        name: &str,
        actor: &Actor,
        verb: &str,
        version: Option<Label>,
        why: &str,
    ) -> Result<(), Failure> {
        let from = self.active(name);
        let to = state.service(name).and_then(|service| service.active.clone());
        let text = match (&version, &to) {
            (Some(version), _) => format!("{version}: {why}"),
            (None, Some(to)) if from.as_ref() != Some(to) => format!("new sessions get {to}: {why}"),
            (None, _) => why.to_owned(),
        };
        info!("{name}: {text}");
        self.journal.add(Some(name), "change", format!("{text} ({})", actor.name));
        state.record(Change {
            at: now(),
            who: actor.name.clone(),
            service: name.to_owned(),
            verb: verb.to_owned(),
            from: from.clone(),
            to: to.clone(),
            version: version.clone(),
            mode: None,
            undo: String::new(),
            reason: Some(why.to_owned()),
            generation: 0,
        });
        // A full disk must not keep anybody on a version that fails.
        let result = self.commit(state, name, true);
        if result.is_ok() {
            self.tally_own(name, verb);
        }
        let error = result.as_ref().err().map(|failure| failure.error.as_str());
        self.audit.write(&audit::Line {
            dry_run: false,
            at: now(),
            actor,
            service: name,
            verb,
            version: version.as_ref(),
            mode: None,
            from,
            to,
            generation: self.generation(name),
            reason: Some(why),
            details: None,
            force: false,
            result: if error.is_none() { audit::Verdict::Done } else { audit::Verdict::Failed },
            error,
            undo: "",
        });
        result
    }

    /// Makes a planned state the present one: on disk, then in the kernel.
    fn commit(&mut self, state: State, service: &str, insists: bool) -> Result<(), Failure> {
        self.save_if(&state, insists)?;
        let old = std::mem::replace(&mut self.state, state);
        if self.state.service(service).is_none_or(|service| service.exclusive.is_none()) {
            // So that one store ends the hold and does what it was for.
            self.holds.remove(service);
        }
        self.reset_new_versions(&old, service)?;
        // Before a policy names a new backend: its first answer has to be known for what it is.
        self.sync_addresses()?;
        self.sync_pins()?;
        self.sync_service(service)?;
        self.free_backends(&old)?;
        self.counted = None;
        self.to_tell.notify_one();
        Ok(())
    }
}
