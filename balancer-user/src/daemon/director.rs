//! The director: config, state, health and maps. What keeps them in step is in the modules beside this one.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime},
};

use anyhow::Context as _;
use log::{info, warn};
use tokio::sync::Notify;

use super::{back_off::BackOffs, canary, drains::Looks, events::Journal, full::Full, report::SessionCounts};
use crate::{
    audit,
    config::{self, Config},
    dataplane::Dataplane,
    exit::Failure,
    health::Passed,
    label::Label,
    metrics::{Exporter, Tallies},
    model::{self, Circumstances, Conditions, Rules, State},
    plan::Offers,
    snapshot::Keeper,
    store::Store,
    wire,
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
    pub(super) store: Store,
    pub(super) audit: audit::Log,
    keeper: Arc<Keeper>,
    /// Nothing is written before the programs are attached: a first start that fails leaves no state that would win over
    /// the corrected config.
    pub(super) saves: bool,
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
    pub(super) full: Full,
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
            full: Full::default(),
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

    /// Says where the config came from, and whom to tell where metrics are served: what a reload needs.
    pub fn started_from(&mut self, file: File, exporter: Exporter) {
        self.file = file;
        self.exporter = Some(exporter);
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
