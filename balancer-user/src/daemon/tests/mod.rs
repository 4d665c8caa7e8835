//! The daemon without a kernel: verbs, health and the API against maps that are plain memory.

mod backends;
mod canaries;
mod counted;
mod drains;
mod explained;
mod holds;
mod hooked;
mod memory;
mod reloads;
mod socket;
mod verbs;

use std::{cell::Cell, collections::BTreeMap, sync::Mutex as StdMutex, time::Duration};

use balancer_ebpf::{
    layout::{
        Address, BACKEND_UP, BUCKET_WAYS, Backend, Binding, Bucket, Entry, FAMILIES, FlowKey, Globals, KIND_ISSUED,
        KIND_PRESENTED, KIND_RENAMED, Key, Listener, ListenerKey, MAX_SOURCES, OFFER_SACK, Pin, PinEvent, PinKey,
        Policy, ROLE_BACKEND, RuleSet, SourceKey, Times, Traffic,
    },
    sip::hash_id,
    verdict::{Note, Verdict},
};

use super::*;
use crate::{
    audit::Actor,
    boot,
    config::{Config, ReturnPath},
    dataplane::{Dataplane, FlowSight, Image, Outcomes, SessionTable},
    exit::Code,
    model::{
        Condition, Conditions, Drainage, Entrance, Exclusive, GuardWish, Mode, Sessions, State, Tally, Then, Verb, Way,
    },
    plan::{Offers, UNLEARNED},
    snapshot::Keeper,
    store::Store,
    wire::{ExplainRequest, Terms, VersionState},
};

use memory::{Fake, KEY};

/// A director over [`Fake`], its files in a directory of its own.
struct Bench {
    director: Director,
    fake: Fake,
    dir: tempfile::TempDir,
}

const TOML: &str = r#"
    name = "lab"
    interfaces = ["b1"]
    sources = ["10.60.254.1"]
    [[service]]
    name = "shop"
    listen = "10.60.255.1:80"
    [[service.version]]
    label = "001"
    backends = ["10.60.1.2:8080"]
    [[service.version]]
    label = "002"
    backends = ["10.60.2.2:8080", "10.60.2.3:8080"]
"#;

fn bench() -> Bench {
    bench_with("")
}

/// With more lines for the service.
fn bench_with(lines: &str) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let fake = Fake::default();
    let toml = TOML.replacen("[[service.version]]", &format!("{lines}\n[[service.version]]"), 1);
    let director = start_with(&toml, dir.path(), &fake, State::default(), Conditions::default());
    Bench { director, fake, dir }
}

fn start(dir: &std::path::Path, fake: &Fake, state: State, conditions: Conditions) -> Director {
    start_with(TOML, dir, fake, state, conditions)
}

fn start_with(toml: &str, dir: &std::path::Path, fake: &Fake, state: State, conditions: Conditions) -> Director {
    let mut config = Config::parse(toml).unwrap();
    config.socket = dir.join("x.sock");
    config.state = dir.join("state");
    let store = Store::open(&config.state).unwrap();
    let limits = director::Limits::default();
    let keeper = Keeper::new(&config, KEY, fake.sessions(), None);
    let mut director = Director::new(config, state, conditions, Box::new(fake.clone()), store, keeper, limits).unwrap();
    director.fill_services().unwrap();
    director
}

fn report(backend: u16, condition: Condition) -> Report {
    Report { backend, condition, detail: "said the test".to_owned(), offers: None }
}

impl Bench {
    /// The daemon is gone without a word, and another one takes over what it wrote.
    fn restarted(self) -> Self {
        let Self { director, fake, dir } = self;
        let state = crate::store::load(&director.config.state).unwrap().unwrap();
        drop(director);
        Self { director: start(dir.path(), &fake, state, Conditions::default()), fake, dir }
    }

    fn attach(&mut self) {
        self.director.sync_all().unwrap();
        self.director.attached(director::Kernel { interfaces: Vec::new(), object: 7 }).unwrap();
    }

    fn policy(&self) -> Policy {
        self.fake.policy(0).unwrap().unwrap()
    }

    fn up(&mut self, backend: u16) {
        self.director.take_report(&report(backend, Condition::Up));
    }

    fn down(&mut self, backend: u16) {
        self.director.take_report(&report(backend, Condition::Down));
    }

    fn verb(&mut self, verb: Verb) -> Result<crate::wire::Done, Failure> {
        self.director.change("shop", &verb, &Actor::director("root"), &Terms::default())
    }

    fn flip(&mut self, label: &str, mode: Mode) -> Result<crate::wire::Done, Failure> {
        self.verb(Verb::Flip { label: label.parse().unwrap(), mode })
    }
}
