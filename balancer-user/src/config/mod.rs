//! `balancer.toml`: what an operator wrote, checked.
//!
//! `raw` is the file's shape, `value` what a single value may be, `rules` the same for rules, `check` what values have to do with each other. Every
//! error names the key, the line and the fix, so that nobody has to guess.
//!
//! The versions in the file are the *initial* ones: once the director has run, its state file knows the versions, and
//! `balancer version add` and `rm` change them. A version that is added to the file afterwards is not added to a director
//! that has a state.

#![forbid(unsafe_code)]

mod check;
mod error;
mod export;
mod hooks;
mod raw;
mod rules;
mod value;

use std::{
    fs::File,
    io::Read as _,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

pub(crate) use self::value::parse_socket;
pub use self::{
    error::ConfigError,
    export::export,
    hooks::{Action, Callout, Hooks},
    rules::{Field, Host, Listener, OnAmbiguous, Parameter, Rule},
};
use crate::{endpoint::Endpoint, label::Label, model::GuardDefault, order::Order};

/// A checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Names the pins, the default socket and the default state directory.
    pub name: String,
    pub socket: PathBuf,
    pub state: PathBuf,
    pub bpffs: PathBuf,
    pub hook: Hook,
    pub interfaces: Vec<String>,
    /// Source addresses of legs.
    pub sources: Vec<IpAddr>,
    /// Flows that there is room for, before the limit of the sources.
    pub flows: u32,
    /// Sessions that there is room for.
    pub sessions: u32,
    pub flow_idle: Duration,
    /// How often the sessions are written to the state directory; `None`: only when the daemon ends, and when asked.
    pub snapshot_every: Option<Duration>,
    /// Where metrics are served; `None`: nowhere. That others than this host may read them was said in the file.
    pub metrics: Option<SocketAddr>,
    /// For all services that have none of their own.
    pub hooks: Hooks,
    pub services: Vec<Service>,
    /// Addresses with rules.
    pub listeners: Vec<Listener>,
}

/// An application behind a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    pub listen: SocketAddr,
    pub select: Select,
    pub order: Order,
    pub cookie: String,
    pub parameter: String,
    /// After this time without a request a binding expires (D3).
    pub idle: Duration,
    /// How backends' answers come back.
    pub return_path: ReturnPath,
    pub pool: Pool,
    /// Idle legs that are kept for each backend at most; 0 where none are pooled.
    pub pool_legs: u32,
    pub on_unframed: OnUnframed,
    /// For this time the former id of a renamed session stays where it is (C34).
    pub rename_grace: Duration,
    /// The version that new sessions get first, for a director without a state; `None`: what rules and health choose.
    pub active: Option<Label>,
    /// The version that ids known nowhere are adopted into (C9), for a director without a state.
    pub adopt: Option<Label>,
    pub on_backend_restart: OnRestart,
    pub missing_version: MissingVersion,
    pub retire: Retire,
    /// With [`Retire::Empty`]: so many versions that were active last are kept, the active one included.
    pub keep: usize,
    pub health: Health,
    /// When a canary is given up, unless somebody says otherwise when it begins.
    pub canary: GuardDefault,
    pub hooks: Hooks,
    /// The versions that a director without a state begins with.
    pub versions: Vec<Version>,
}

/// How backends are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// `None`: a backend is healthy if it accepts a connection.
    pub path: Option<String>,
    pub interval: Duration,
    pub timeout: Duration,
    /// Good checks in a row that make a backend healthy.
    pub rise: u32,
    /// Bad checks in a row that make it unhealthy.
    pub fall: u32,
    /// For so long after it came back a backend's share of new sessions grows to its weight: caches are cold.
    pub slow_start: Option<Duration>,
}

/// A version to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub label: Label,
    pub backends: Vec<Endpoint>,
}

/// Where the programs are attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// XDP where the driver has it natively and is not veth, TC elsewhere.
    #[default]
    Auto,
    Tc,
    Xdp,
}

/// How the version for new sessions is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Select {
    /// The highest that is healthy and not held: parallel deployment.
    #[default]
    Highest,
    /// The one that an operator flipped to.
    Explicit,
}

/// What backends see as the client, and so where their answers go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnPath {
    /// One of `sources`: backends need not know of the director.
    #[default]
    Snat,
    /// The client's own address: backends have to route to clients through the director.
    Gateway,
}

/// Whether legs that no request needs any more serve other flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// Each flow has legs of its own.
    Off,
    /// All that can be told to be at rest are shared.
    Safe,
}

/// What becomes of a flow whose requests cannot be framed any more, when a request belongs to another backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnframed {
    /// It is closed: the client connects again, and is steered.
    #[default]
    Close,
    /// It stays where it is for as long as it lasts.
    Keep,
}

/// What becomes of a backend's sessions when it was down and comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnRestart {
    /// They stay bound to it: it has stored them, or shares them with others; or only the way to it was down.
    #[default]
    Keep,
    /// They were in its memory, and are over: their users are new ones (C16), and get the active version.
    Forget,
}

/// What becomes of a request whose session is of a version that is gone, or that has no backend that takes work (C14, D12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingVersion {
    /// It goes to the active version, and begins anew there.
    #[default]
    Active,
    /// It is answered with a 503: once where the version is gone, and until it is back where it is down.
    Reject,
}

/// What becomes of old versions that nobody is left on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Retire {
    /// They stay until an operator retires them (C38).
    #[default]
    Never,
    /// They are retired (C39).
    Empty,
}

impl Config {
    /// Reads and checks `path`.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::unreadable(path, &error);
        // Whose file it is, is asked of the very file that is read.
        let mut file = File::open(path).map_err(unreadable)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let read = || {
            let config = Self::parse(&text)?;
            hooks::check_owner(&config, &file)?;
            Ok(config)
        };
        read().map_err(|error: ConfigError| error.in_file(path))
    }

    /// Checks the text of a config file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let raw: raw::Config = toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        check::check(text, raw)
    }

    /// The hooks that count for a service.
    pub fn hooks_of(&self, service: &str) -> Hooks {
        self.service(service).map_or_else(|| self.hooks.clone(), |service| service.hooks.or(&self.hooks))
    }

    /// The service of that name.
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name == name)
    }

    /// The rules of an address, if it has any.
    pub fn listener(&self, listen: SocketAddr) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.listen == listen)
    }

    /// The services on an address, in the order of the file.
    pub fn services_on(&self, listen: SocketAddr) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(move |service| service.listen == listen)
    }

    /// Where everything of this director is pinned.
    pub fn pin_dir(&self) -> PathBuf {
        pin_dir(&self.bpffs, &self.name)
    }
}

/// Where a director of that name pins: the layout's version is part of the path, so that maps of another layout are
/// never adopted.
pub fn pin_dir(bpffs: &Path, name: &str) -> PathBuf {
    bpffs.join("balancer").join(name).join(format!("v{}", balancer_ebpf::layout::VERSION))
}

#[cfg(test)]
mod tests;
