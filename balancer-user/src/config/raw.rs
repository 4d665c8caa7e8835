//! The shape of the file, with the place of every value that is checked against others.

use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

pub(super) use super::value::Backend;
use super::{
    Hook, MissingVersion, OnAmbiguous, OnRestart, OnUnframed, Pool, Retire, ReturnPath, Rule, Select,
    value::{Duration, Every, Listen, Name, Path, Socket, Source},
};
use crate::{
    label::Label,
    model::{Over, Sessions},
    order::Order,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Config {
    pub(super) name: Spanned<Name>,
    pub(super) socket: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) bpffs: Option<PathBuf>,
    #[serde(default)]
    pub(super) hook: Hook,
    pub(super) interfaces: Spanned<Vec<Spanned<String>>>,
    pub(super) sources: Spanned<Vec<Spanned<Source>>>,
    pub(super) flows: Option<Spanned<u32>>,
    pub(super) sessions: Option<Spanned<u32>>,
    pub(super) flow_idle: Option<Spanned<Duration>>,
    #[serde(default)]
    pub(super) snapshot: Snapshot,
    pub(super) metrics: Option<Metrics>,
    #[serde(default)]
    pub(super) hooks: Hooks,
    #[serde(default)]
    pub(super) service: Vec<Spanned<Service>>,
    #[serde(default)]
    pub(super) listener: Vec<Spanned<Listener>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    pub(super) every: Option<Spanned<Every>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metrics {
    pub(super) listen: Spanned<Socket>,
    #[serde(default)]
    pub(super) allow_remote: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    pub(super) listen: Spanned<Listen>,
    pub(super) default: Option<Spanned<String>>,
    pub(super) on_ambiguous: Option<Spanned<OnAmbiguous>>,
    #[serde(default)]
    pub(super) rules: Vec<Spanned<Rule>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    pub(super) name: Spanned<Name>,
    pub(super) listen: Spanned<Listen>,
    #[serde(default)]
    pub(super) select: Select,
    #[serde(default)]
    pub(super) order: Order,
    pub(super) cookie: Option<Spanned<String>>,
    pub(super) parameter: Option<Spanned<String>>,
    pub(super) idle: Option<Spanned<Duration>>,
    #[serde(default, rename = "return")]
    pub(super) return_path: ReturnPath,
    pub(super) pool: Option<Spanned<Pool>>,
    pub(super) pool_legs: Option<Spanned<u32>>,
    #[serde(default)]
    pub(super) on_unframed: OnUnframed,
    pub(super) rename_grace: Option<Spanned<Duration>>,
    pub(super) active: Option<Spanned<Label>>,
    pub(super) adopt: Option<Spanned<Label>>,
    #[serde(default)]
    pub(super) on_backend_restart: OnRestart,
    #[serde(default)]
    pub(super) missing_version: MissingVersion,
    #[serde(default)]
    pub(super) retire: Retire,
    pub(super) keep: Option<Spanned<u32>>,
    pub(super) health: Option<Spanned<Health>>,
    #[serde(default)]
    pub(super) canary: Canary,
    #[serde(default)]
    pub(super) hooks: Hooks,
    #[serde(default)]
    pub(super) version: Vec<Version>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) path: Option<Path>,
    pub(super) interval: Option<Duration>,
    pub(super) timeout: Option<Duration>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
    pub(super) slow_start: Option<Duration>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Canary {
    pub(super) abort_over: Option<Over>,
    pub(super) min_requests: Option<Spanned<u32>>,
    pub(super) sessions: Option<Sessions>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Hooks {
    pub(super) pre_flip: Option<Spanned<Callout>>,
    pub(super) during: Option<Spanned<Callout>>,
    pub(super) post_flip: Option<Spanned<Callout>>,
    pub(super) event: Option<Spanned<Callout>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callout {
    pub(super) command: Option<Vec<String>>,
    pub(super) url: Option<String>,
    pub(super) timeout: Option<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    pub(super) label: Spanned<Label>,
    pub(super) backends: Spanned<Vec<Spanned<Backend>>>,
}
