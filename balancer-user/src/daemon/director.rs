//! The director: config, state, health and maps, and the changes that keep them in step.
//!
//! A change is planned on a clone of the state, written to disk, and then to the kernel, in this order: what a crash leaves
//! behind is a state that the next start makes true.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use log::{info, warn};
use tokio::sync::Notify;

use super::{back_off::BackOffs, canary, drains::Looks, events::Journal, report::SessionCounts};
use crate::{
    audit::{self, Actor},
    config::{self, Config},
    dataplane::Dataplane,
    exit::{Code, Failure},
    health::{Passed, Report, Target},
    label::Label,
    metrics::{Exporter, Tallies},
    model::{
        self, Change, Circumstances, Condition, Conditions, Insistence, Left, Outcome, Rules, State, Table, Tally,
        Verb, reselect,
    },
    plan::Offers,
    snapshot::Keeper,
    store::Store,
    wire::{self, Done, Terms},
};

/// A running director.
pub struct Director {
    pub config: Config,
    pub(super) state: State,
    pub(super) conditions: Conditions,
    /// What the last check of a backend said.
    pub(super) details: BTreeMap<u16, String>,
    /// What TCP_INFO said of a backend.
    pub(super) learned: BTreeMap<u16, Offers>,
    pub(super) plane: Box<dyn Dataplane>,
    store: Store,
    pub(super) audit: audit::Log,
    keeper: Arc<Keeper>,
    /// Nothing is written before the programs are attached: a first start that fails leaves no state that would win over
    /// the corrected config.
    saves: bool,
    pub(super) interfaces: Vec<wire::Interface>,
    pub(super) limits: Limits,
    pub(super) started: Instant,
    /// Counting means reading the whole table, so it is done at most once a second.
    pub(super) counted: Option<SessionCounts>,
    pub(super) journal: Journal,
    /// Requests that were answered with a 503 because a version was missing, as of the last look: by service and version index.
    pub(super) missed: Option<BTreeMap<(u32, u32), u64>>,
    /// When a backend came back that had been down, for as long as it starts slowly.
    pub(super) returned: BTreeMap<u16, Instant>,
    /// What checks found, as they go on.
    pub(super) passed: Passed,
    pub(super) back_offs: BackOffs,
    /// How often in a row nobody was found on a version.
    pub(super) empty_looks: Looks,
    /// Until which millisecond of the boot clock the requests of a service are held.
    pub(super) holds: BTreeMap<String, u64>,
    /// Until when services are paused: by the wall clock, as the state says it, and in milliseconds of the boot clock.
    pub(super) pauses: BTreeMap<String, (u64, u64)>,
    pub(super) canary_looks: canary::Looks,
    /// The kernel was found as the last daemon left it.
    pub(super) adopted: bool,
    /// Why the present state is not on disk, if it is not.
    pub(super) unsaved: Option<String>,
    /// Wakes who tells the hook `post-flip`.
    pub(super) to_tell: Arc<Notify>,
    /// Sessions that found no place in the table, as of the last look; and when it was last seen that some did not.
    pub(super) turned_away: Option<u64>,
    pub(super) full_since: Option<Instant>,
    pub(super) tallies: Tallies,
    /// Where the config came from.
    pub(super) file: File,
    /// Whom to tell that metrics are to be served elsewhere; not there before the start is over.
    pub(super) exporter: Option<Exporter>,
}

/// Where a config comes from.
#[derive(Clone, Debug, Default)]
pub struct File {
    pub path: PathBuf,
    /// Another socket than the file says.
    pub socket: Option<PathBuf>,
}

/// What was computed at the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub flows: u32,
    pub memory: u64,
}

/// New sessions of a canary-to-be and of the active version so far, and what became of their requests.
type Past = ((u64, u64), (Tally, Tally));

/// What was attached.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub interfaces: Vec<wire::Interface>,
    pub object: u64,
}

impl Director {
    pub fn new(
        config: Config,
        state: State,
        conditions: Conditions,
        plane: Box<dyn Dataplane>,
        store: Store,
        keeper: Keeper,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let known = conditions.0.keys().map(|id| (*id, "as before the restart".to_owned()));
        Ok(Self {
            details: known.collect(),
            config,
            state,
            conditions,
            learned: BTreeMap::new(),
            plane,
            audit: audit::Log::in_dir(store.dir()),
            store,
            keeper: Arc::new(keeper),
            saves: false,
            interfaces: Vec::new(),
            limits,
            started: Instant::now(),
            counted: None,
            journal: Journal::default(),
            missed: None,
            returned: BTreeMap::new(),
            passed: Passed::default(),
            back_offs: BackOffs::new(),
            empty_looks: Looks::new(),
            holds: BTreeMap::new(),
            pauses: BTreeMap::new(),
            canary_looks: canary::Looks::new(),
            adopted: false,
            unsaved: None,
            to_tell: Arc::new(Notify::new()),
            turned_away: None,
            full_since: None,
            tallies: Tallies::default(),
            file: File::default(),
            exporter: None,
        })
    }

    /// Adds services that the state does not know, with the config's versions.
    pub fn fill_services(&mut self) -> Result<(), Failure> {
        for config in self.config.services.clone() {
            if self.state.service(&config.name).is_some_and(|service| !service.versions.is_empty()) {
                self.check_against_config(&config);
                continue;
            }
            let given = Circumstances::new(rules(&config), &self.conditions);
            for warning in model::begin(&mut self.state, &config, &given)? {
                warn!("{}: {warning}", config.name);
            }
        }
        Ok(())
    }

    /// Says where config and state differ: an operator who edits the file should not wonder.
    fn check_against_config(&self, config: &config::Service) {
        let Some(service) = self.state.service(&config.name) else { return };
        for version in config.versions.iter().filter(|version| service.version(&version.label).is_none()) {
            let backends: Vec<String> = version.backends.iter().map(|b| format!("--backend {b}")).collect();
            warn!(
                "{0}: the config names version {1}, which the state does not have: balancer version add {0} {1} {2}",
                config.name,
                version.label,
                backends.join(" ")
            );
        }
    }

    /// The programs are attached: packets are steered from now on.
    pub fn attached(&mut self, kernel: Kernel) -> anyhow::Result<()> {
        self.interfaces = kernel.interfaces;
        self.state.object = Some(kernel.object);
        self.saves = true;
        self.store.save(&self.state)
    }

    /// Says what is served and where.
    pub fn announce(&self) {
        for service in &self.config.services {
            let Some(state) = self.state.service(&service.name) else { continue };
            let active =
                state.active().map_or("no version yet".to_owned(), |v| format!("new sessions get {}", v.label));
            info!("{}: http://{} is steered; {active}", service.name, service.listen);
            for warning in self.warnings(service, state) {
                warn!("{}: {warning}", service.name);
            }
        }
        info!("ready: balancer --socket {} status", self.config.socket.display());
    }

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

    /// Writes a state to disk, once there is anything to write.
    fn write(&mut self, state: &State) -> anyhow::Result<()> {
        if self.saves {
            self.store.save(state)?;
        }
        if self.unsaved.take().is_some() {
            info!("the state is written again");
        }
        Ok(())
    }

    /// The same, before a change: if it cannot be written, nothing is changed.
    pub(super) fn save(&mut self, state: &State) -> Result<(), Failure> {
        self.write(state).map_err(|error| {
            Failure::other(
                format!("the state cannot be written, and nothing changed: {error:#}"),
                format!(
                    "make room in {}, or mend it; what goes back (rollback, abort, resume) is done all the same, and so is what has \
                     --force",
                    self.store.dir().display()
                ),
            )
        })
    }

    /// The same, for what has to be done also if it cannot be written: then that is tried again as time passes.
    pub(super) fn save_or_later(&mut self, state: &State) {
        if let Err(error) = self.write(state) {
            let problem =
                format!("the state cannot be written, and what was changed is lost if the daemon ends: {error:#}");
            if self.unsaved.as_ref() != Some(&problem) {
                warn!("{problem}");
                self.journal.add(None, "state", problem.clone());
            }
            self.unsaved = Some(problem);
        }
    }

    /// One or the other.
    pub(super) fn save_if(&mut self, state: &State, insists: bool) -> Result<(), Failure> {
        if insists {
            self.save_or_later(state);
            return Ok(());
        }
        self.save(state)
    }

    /// Tries again to write what could not be written.
    pub(super) fn save_again(&mut self) -> Result<(), Failure> {
        if self.unsaved.is_some() {
            let state = self.state.clone();
            self.save_or_later(&state);
        }
        Ok(())
    }

    /// Says where the config came from, and whom to tell where metrics are served: what a reload needs.
    pub fn started_from(&mut self, file: File, exporter: Exporter) {
        self.file = file;
        self.exporter = Some(exporter);
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

    /// Where checks that are passed are noted.
    pub fn passed(&self) -> Passed {
        self.passed.clone()
    }

    /// What a check said, without touching the kernel.
    pub fn note_report(&mut self, report: &Report) {
        self.details.insert(report.backend, report.detail.clone());
        if let Some(offers) = report.offers {
            self.learned.insert(report.backend, offers);
        }
        self.conditions.0.insert(report.backend, report.condition);
    }

    /// Takes in what a check said: flags, listeners, and which version is the newest healthy one.
    pub fn take_report(&mut self, report: &Report) {
        let Some((service, version, backend)) = self.state.backend(report.backend) else {
            // Removed while its check was under way.
            return;
        };
        let (name, label, address) = (service.name.clone(), version.label.clone(), backend.address);
        let before = self.conditions.of_backend(report.backend);
        let version_before = self.conditions.of_version(version);
        self.note_report(report);
        if before != report.condition {
            match report.condition {
                Condition::Up => {
                    info!("{name}: {address} of {label} is healthy");
                    self.journal.add(Some(&name), "health", format!("{address} of {label} is healthy"));
                }
                Condition::Down | Condition::Unknown => {
                    let text = format!("{address} of {label} takes no new work: {}", report.detail);
                    warn!("{name}: {text}");
                    self.journal.add(Some(&name), "health", text);
                }
            }
        }
        let came_back = before == Condition::Down && report.condition == Condition::Up;
        let result = if came_back { self.came_back(&name, report.backend) } else { Ok(()) };
        let result = result.and_then(|()| self.sync_health(&name, report.backend)).and_then(|()| self.reselect(&name));
        if let Err(error) = result {
            warn!("{name}: the maps cannot be written: {error}");
        }
        let version_after =
            self.state.backend(report.backend).map(|(_, version, _)| self.conditions.of_version(version));
        if version_before == Condition::Up && version_after == Some(Condition::Down) {
            // D12.
            let text = format!("{label} has no healthy backend left");
            warn!("{name}: {text}");
            self.journal.add(Some(&name), "missing", text);
        }
    }

    /// Lets health choose the active version, and writes down what it chose.
    pub(super) fn reselect(&mut self, name: &str) -> Result<(), Failure> {
        let Ok(config) = self.service_config(name).cloned() else { return Ok(()) };
        let mut state = self.state.clone();
        let Some(service) = state.service_mut(name) else { return Ok(()) };
        let Some(switch) = reselect(service, rules(&config), &self.conditions) else {
            // The fallback may be another one.
            return self.sync_service(name);
        };
        let actor = Actor::director(if switch.from.is_some() { "health" } else { "config" });
        self.decided(state, name, &actor, "select", None, &switch.why)
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

    /// What has to be checked.
    pub fn targets(&self) -> Vec<Target> {
        let mut targets = Vec::new();
        for config in &self.config.services {
            let Some(service) = self.state.service(&config.name) else { continue };
            for backend in service.versions.iter().flat_map(|version| &version.backends) {
                targets.push(Target {
                    backend: backend.id,
                    address: backend.address,
                    health: config.health.clone(),
                    condition: self.conditions.of_backend(backend.id),
                });
            }
        }
        targets
    }

    /// Whether a backend was never checked.
    pub fn unchecked(&self) -> bool {
        self.targets().iter().any(|target| self.conditions.of_backend(target.backend) == Condition::Unknown)
    }

    /// The conditions of a version's backends, with what their last checks said; `None` without the version.
    pub fn version_health(&self, name: &str, label: &Label) -> Option<Vec<(SocketAddr, Condition, String)>> {
        let version = self.state.service(name)?.version(label)?;
        Some(
            version
                .backends
                .iter()
                .map(|backend| {
                    let detail = self.details.get(&backend.id).cloned().unwrap_or_default();
                    (backend.address, self.conditions.of_backend(backend.id), detail)
                })
                .collect(),
        )
    }

    /// The active version's label.
    pub fn active(&self, name: &str) -> Option<Label> {
        self.state.service(name)?.active.clone()
    }

    /// The config of a service, or a refusal that names the others.
    pub fn service_config(&self, name: &str) -> Result<&config::Service, Failure> {
        self.config.service(name).ok_or_else(|| {
            let known = self.config.services.iter().map(|service| service.name.clone()).collect();
            model::Refusal::NoService { name: name.to_owned(), known }.into()
        })
    }

    /// Who takes snapshots: without the director's lock, since a large table takes its time.
    pub fn keeper(&self) -> Arc<Keeper> {
        self.keeper.clone()
    }

    /// Takes everything out of the kernel. The state stays.
    pub fn detach(&mut self) -> anyhow::Result<Vec<String>> {
        let removed = self.plane.detach().context("detach")?;
        self.interfaces.clear();
        Ok(removed)
    }

    pub fn history(&self) -> wire::History {
        wire::History { changes: self.state.history.clone() }
    }
}

/// What the config says about the choice among versions.
pub(super) fn rules(config: &config::Service) -> Rules {
    Rules { select: config.select, order: config.order, family: config.listen.into() }
}

/// Now, in the seconds that the state keeps.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Bytes from the kernel's random source.
pub(super) fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes come in one piece (getrandom(2)).
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).context("get random bytes")?;
    Ok(bytes)
}

pub(super) fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}
