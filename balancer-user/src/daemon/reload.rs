//! A reload of the config: from a file to a running director, as a whole or not at all.
//!
//! What can fail is done first: reading, planning, listening, writing the state. If the kernel then refuses in the middle, the
//! former config is made true again.

use std::collections::BTreeMap;

use log::{info, warn};

use super::{
    Director,
    director::{now, rules},
};
use crate::{
    audit::{self, Actor},
    config::{self, Config},
    exit::{Code, Failure},
    metrics,
    model::{Change, Circumstances, State, begin},
    reload::{Given, Users, differences, refusal},
    wire::{ConfigDiff, Difference, Done, Exported, How, Terms},
};

/// The verb's name in the history and the audit log.
const VERB: &str = "config reload";

impl Director {
    /// What is different between what runs and a text; without one, what the daemon's own file says now.
    pub fn config_diff(&mut self, text: Option<&str>) -> Result<ConfigDiff, Failure> {
        let new = match text {
            Some(text) => self.overridden(Config::parse(text)?),
            None => self.read_config()?,
        };
        let differences = self.differences(&new)?;
        Ok(ConfigDiff { file: self.file.path.clone(), differences })
    }

    /// The present state as a config file.
    pub fn export(&self) -> Exported {
        Exported { config: config::export(&self.config, &self.state) }
    }

    /// Reads the config again, and makes what is different; or says what it would do. Writes down what came of it.
    pub fn reload(&mut self, caller: &Actor, terms: &Terms) -> Result<Done, Failure> {
        let result = self.try_reload(caller, terms);
        // The command line may ask for the plan first: one that is refused ends there, and one that can be made is no reload yet.
        if !terms.dry_run || result.is_err() {
            let tally = if result.is_ok() { &mut self.tallies.reloads.0 } else { &mut self.tallies.reloads.1 };
            *tally += 1;
            self.tallies.last_reload = Some(result.is_ok());
        }
        let (verdict, error, details) = match &result {
            Ok((_, made)) if made.is_empty() => (audit::Verdict::Unchanged, None, None),
            Ok((_, made)) => (audit::Verdict::Done, None, Some(join(made))),
            Err(failure) if matches!(failure.code, Code::Usage | Code::Refused) => {
                (audit::Verdict::Refused, Some(failure.error.as_str()), None)
            }
            Err(failure) => (audit::Verdict::Failed, Some(failure.error.as_str()), None),
        };
        if !terms.dry_run || error.is_some() {
            self.audit.write(&audit::Line {
                at: now(),
                actor: caller,
                service: "",
                verb: VERB,
                version: None,
                mode: None,
                from: None,
                to: None,
                generation: 0,
                reason: terms.reason.as_deref(),
                details: details.as_deref(),
                force: terms.force,
                dry_run: terms.dry_run,
                result: verdict,
                error,
                undo: "",
            });
        }
        result.map(|(done, _)| done)
    }

    fn try_reload(&mut self, caller: &Actor, terms: &Terms) -> Result<(Done, Vec<Difference>), Failure> {
        if terms.if_generation.is_some() {
            let what = "a reload is about the director and all services, not about the generation of one";
            return Err(Failure::usage(what, "leave if_generation out"));
        }
        let new = self.read_config()?;
        let all = self.differences(&new)?;
        if let Some(failure) = refusal(&all, terms.force) {
            return Err(failure);
        }
        let (stays, made): (Vec<_>, Vec<_>) = all.into_iter().partition(|difference| difference.how == How::FirstStart);
        let mut done = Done {
            will: made.iter().map(|difference| format!("{difference}: {}", difference.what)).collect(),
            warnings: stays
                .iter()
                .map(|stays| format!("{stays}: {}; for what the file says: {}", stays.what, stays.fix))
                .collect(),
            ..Done::default()
        };
        if made.is_empty() {
            done.will.push(format!("nothing: all that a reload takes from {} is so already", self.file.path.display()));
        }
        if terms.dry_run {
            return Ok((done, made));
        }
        self.take_config(new, &made, caller, terms)?;
        for difference in &made {
            info!("{difference} ({})", caller.name);
            let text = format!("{VERB}: {difference} ({})", caller.name);
            self.journal.add(difference.service.as_deref(), "change", text);
        }
        done.did = made.iter().map(ToString::to_string).collect();
        if made.is_empty() {
            let text = "the config is as it was; nothing changed";
            info!("{text} ({})", caller.name);
            done.did.push(text.to_owned());
        }
        Ok((done, made))
    }

    /// The daemon's file, as it would run.
    fn read_config(&self) -> Result<Config, Failure> {
        Ok(self.overridden(Config::load(&self.file.path)?))
    }

    /// What was said when the daemon was started counts more than the file.
    fn overridden(&self, config: Config) -> Config {
        match &self.file.socket {
            Some(socket) => Config { socket: socket.clone(), ..config },
            None => config,
        }
    }

    fn differences(&mut self, new: &Config) -> Result<Vec<Difference>, Failure> {
        let users = self.users()?;
        let given = Given { state: &self.state, conditions: &self.conditions, users: &users };
        Ok(differences(&self.config, new, &given))
    }

    /// Who is on each service.
    fn users(&mut self) -> Result<BTreeMap<String, Users>, Failure> {
        // Counted now, whatever was counted a moment ago.
        self.counted = None;
        self.count_sessions();
        let mut all = BTreeMap::new();
        for service in &self.state.services {
            let mut users = Users::default();
            for version in &service.versions {
                let (counted, traffic) =
                    (self.counted_on(service, version), self.plane.traffic(service.id, version.index)?);
                users.sessions += counted.issued + counted.presented;
                users.flows += traffic.flows.get();
                users.in_flight += traffic.in_flight.get().cast_signed();
            }
            all.insert(service.name.clone(), users);
        }
        Ok(all)
    }

    /// Makes a config the present one.
    fn take_config(&mut self, new: Config, made: &[Difference], caller: &Actor, terms: &Terms) -> Result<(), Failure> {
        let moves = new.metrics != self.config.metrics;
        let listener = if moves { new.metrics.map(metrics::bind).transpose()? } else { None };
        let state = self.reloaded_state(&new, made, caller, terms)?;
        self.save(&state)?;
        let (old_config, old_state) =
            (std::mem::replace(&mut self.config, new), std::mem::replace(&mut self.state, state));
        self.counted = None;
        if let Err(failure) = self.sync_all() {
            (self.config, self.state) = (old_config, old_state);
            let former = self.state.clone();
            let back = self.save(&former).and_then(|()| self.sync_all());
            if let Err(again) = back {
                warn!("the former config cannot be made true again: {again}");
            }
            let what = format!("the config is not reloaded, the former one counts: {}", failure.error);
            return Err(Failure { error: what, ..failure });
        }
        self.keeper().set_every(self.config.snapshot_every);
        if moves && self.exporter.as_ref().is_some_and(|exporter| exporter.send(listener).is_err()) {
            warn!("metrics are served no longer: their server has ended");
        }
        Ok(())
    }

    /// The state with services that are new, and with what is written down.
    fn reloaded_state(
        &self,
        new: &Config,
        made: &[Difference],
        caller: &Actor,
        terms: &Terms,
    ) -> Result<State, Failure> {
        let mut state = self.state.clone();
        for service in &new.services {
            if state.service(&service.name).is_none_or(|known| known.versions.is_empty()) {
                for warning in begin(&mut state, service, &Circumstances::new(rules(service), &self.conditions))? {
                    warn!("{}: {warning}", service.name);
                }
            }
        }
        let mut by_service: BTreeMap<&str, Vec<&Difference>> = BTreeMap::new();
        for difference in made {
            by_service.entry(difference.service.as_deref().unwrap_or_default()).or_default().push(difference);
        }
        for (name, made) in by_service {
            let what: Vec<String> =
                made.iter().map(|Difference { key, from, to, .. }| format!("{key} {from} -> {to}")).collect();
            let why = terms.reason.iter().map(|reason| format!(" ({reason})")).collect::<String>();
            let active = state.service(name).and_then(|service| service.active.clone());
            state.record(Change {
                at: now(),
                who: caller.name.clone(),
                service: name.to_owned(),
                verb: VERB.to_owned(),
                from: self.active(name),
                to: active,
                version: None,
                mode: None,
                undo: String::new(),
                reason: Some(what.join(", ") + &why),
                generation: 0,
            });
        }
        Ok(state)
    }
}

fn join(made: &[Difference]) -> String {
    made.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
