//! The daemon without a kernel: verbs, health and the API against maps that are plain memory.

use std::{cell::Cell, collections::BTreeMap, sync::Mutex as StdMutex, time::Duration};

use balancer_ebpf::{
    layout::{
        Address, BACKEND_UP, BUCKET_WAYS, Backend, Binding, Bucket, Entry, FAMILIES, FlowKey, Globals, KIND_ISSUED,
        KIND_PRESENTED, KIND_RENAMED, Key, Listener, ListenerKey, MAX_SOURCES, OFFER_SACK, Pin, PinEvent, PinKey,
        Policy, ROLE_BACKEND, RuleSet, SourceKey, Times, Traffic,
    },
    sip::hash_id,
    verdict::Note,
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

const BUCKETS: u32 = 16;
const KEY: Key = Key { k0: 1, k1: 2 };

/// What the kernel would hold.
#[derive(Default)]
struct Memory {
    addresses: BTreeMap<Address, u32>,
    listeners: Vec<(ListenerKey, Listener)>,
    backends: BTreeMap<u16, Backend>,
    idle_legs: BTreeMap<u16, u64>,
    policies: BTreeMap<u32, Policy>,
    rules: BTreeMap<u32, RuleSet>,
    published: u32,
    buckets: BTreeMap<u32, Vec<[u64; 4]>>,
    detached: bool,
    /// Sessions that found no place in the table.
    turned_away: u64,
    flows: Vec<FlowSight>,
    pins: BTreeMap<PinKey, Pin>,
    source_pins: BTreeMap<(SourceKey, u32), Pin>,
    told: Vec<PinEvent>,
    /// Requests in flight, on every version.
    in_flight: u64,
    /// By version index.
    outcomes: BTreeMap<u32, Outcomes>,
    /// How often held requests were released.
    released: u32,
    /// How often the whole session table was read.
    reads: u32,
}

#[derive(Clone, Default)]
struct Fake(Arc<StdMutex<Memory>>);

impl Fake {
    fn bind(&self, id: &str, binding: Binding) {
        let hash = hash_id(KEY, 0, id.as_bytes());
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u32;
        let bucket = hash.bucket as u32 & (BUCKETS - 1);
        let entry = [hash.tag, binding.0, Times::new(now + 1800, now).0, hash.bucket];
        self.0.lock().unwrap().buckets.entry(bucket).or_default().push(entry);
    }
}

impl SessionTable for Fake {
    fn each(&self, visit: &mut dyn FnMut(Image)) {
        self.0.lock().unwrap().reads += 1;
        for [tag, binding, times, bucket_hash] in self.0.lock().unwrap().buckets.values().flatten().copied() {
            visit(Image { tag, binding, times, bucket_hash });
        }
    }
}

impl Dataplane for Fake {
    fn globals(&self) -> anyhow::Result<Globals> {
        Ok(Globals {
            session_key: KEY,
            cookie_key: KEY,
            isn_key: KEY,
            flows: 1,
            stashes: 1,
            bucket_mask: BUCKETS - 1,
            source_count: [1, 0],
            flow_idle_seconds: 1,
            sources: [[Address::NONE; MAX_SOURCES]; FAMILIES],
        })
    }
    fn addresses(&self) -> anyhow::Result<BTreeMap<Address, u32>> {
        Ok(self.0.lock().unwrap().addresses.clone())
    }
    fn set_addresses(&mut self, wanted: &BTreeMap<Address, u32>) -> anyhow::Result<()> {
        self.0.lock().unwrap().addresses.clone_from(wanted);
        Ok(())
    }
    fn listeners(&self) -> anyhow::Result<Vec<(ListenerKey, Listener)>> {
        Ok(self.0.lock().unwrap().listeners.clone())
    }
    fn set_listener(&mut self, key: ListenerKey, listener: Listener) -> anyhow::Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.listeners.retain(|(other, _)| *other != key);
        memory.listeners.push((key, listener));
        Ok(())
    }
    fn remove_listener(&mut self, key: ListenerKey) -> anyhow::Result<()> {
        self.0.lock().unwrap().listeners.retain(|(other, _)| *other != key);
        Ok(())
    }
    fn backend(&self, id: u16) -> anyhow::Result<Backend> {
        let free = Backend {
            address: Address::NONE,
            port: [0; 2],
            zero: [0; 6],
            flags: 0,
            weight: 0,
            shunned_until: Cell::new(0),
            legs: Cell::new(0),
            failures: Cell::new(0),
        };
        Ok(self.0.lock().unwrap().backends.get(&id).cloned().unwrap_or(free))
    }
    fn set_backend(&mut self, id: u16, backend: &Backend) -> anyhow::Result<()> {
        self.0.lock().unwrap().backends.insert(id, backend.clone());
        Ok(())
    }
    fn forgive(&mut self, id: u16) -> anyhow::Result<()> {
        if let Some(backend) = self.0.lock().unwrap().backends.get_mut(&id) {
            backend.shunned_until.set(0);
            backend.failures.set(0);
        }
        Ok(())
    }
    fn forget_sessions(&mut self, id: u16) -> anyhow::Result<u64> {
        let mut forgotten = 0;
        for bucket in self.0.lock().unwrap().buckets.values_mut() {
            let before = bucket.len();
            bucket.retain(|[_, binding, ..]| Binding(*binding).backend() != u32::from(id));
            forgotten += (before - bucket.len()) as u64;
        }
        Ok(forgotten)
    }
    fn idle_legs(&self, id: u16) -> u64 {
        self.0.lock().unwrap().idle_legs.get(&id).copied().unwrap_or_default()
    }
    fn empty_pools(&mut self, id: u16) -> anyhow::Result<()> {
        self.0.lock().unwrap().idle_legs.remove(&id);
        Ok(())
    }
    fn policy(&self, service: u32) -> anyhow::Result<Option<Policy>> {
        Ok(self.0.lock().unwrap().policies.get(&service).copied())
    }
    fn publish(&mut self, service: u32, policy: Policy) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let changed = memory.policies.insert(service, policy) != Some(policy);
        memory.published += u32::from(changed);
        Ok(changed)
    }
    fn rules(&self, listener: u32) -> anyhow::Result<Option<RuleSet>> {
        Ok(self.0.lock().unwrap().rules.get(&listener).copied())
    }
    fn publish_rules(&mut self, listener: u32, rules: Option<&RuleSet>) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let former = memory.rules.remove(&listener);
        memory.rules.extend(rules.map(|rules| (listener, *rules)));
        Ok(former.as_ref() != rules)
    }
    fn traffic(&self, _: u32, _: u32) -> anyhow::Result<Traffic> {
        let word = |value| Cell::new(value);
        Ok(Traffic {
            in_flight: word(self.0.lock().unwrap().in_flight),
            requests: word(7),
            issued: word(3),
            flows: word(2),
            born: word(3),
        })
    }
    fn outcomes(&self, _: u32, version: u32) -> anyhow::Result<Outcomes> {
        Ok(self.0.lock().unwrap().outcomes.get(&version).copied().unwrap_or_default())
    }
    fn reset_traffic(&mut self, _: u32, _: u32) -> anyhow::Result<()> {
        Ok(())
    }
    fn counters(&self) -> anyhow::Result<Vec<u64>> {
        let mut counters = vec![5, 0, 1];
        let full = Note::SessionsFull.counter() as usize;
        counters.resize(full, 0);
        counters.push(self.0.lock().unwrap().turned_away);
        Ok(counters)
    }
    fn pins(&self) -> anyhow::Result<BTreeMap<PinKey, Pin>> {
        Ok(self.0.lock().unwrap().pins.clone())
    }
    fn source_pins(&self) -> anyhow::Result<BTreeMap<(SourceKey, u32), Pin>> {
        Ok(self.0.lock().unwrap().source_pins.clone())
    }
    fn set_pins(
        &mut self,
        wanted: &BTreeMap<PinKey, Pin>,
        sources: &BTreeMap<(SourceKey, u32), Pin>,
    ) -> anyhow::Result<()> {
        let mut memory = self.0.lock().unwrap();
        memory.pins.clone_from(wanted);
        memory.source_pins.clone_from(sources);
        Ok(())
    }
    fn pin(&self, key: &PinKey) -> Option<Pin> {
        self.0.lock().unwrap().pins.get(key).copied()
    }
    fn source_pin(&self, key: &SourceKey) -> Option<Pin> {
        let memory = self.0.lock().unwrap();
        let longest = memory.source_pins.iter().filter(|((network, bits), _)| {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let [a, b] = [network.address, key.address].map(|address| u128::from_be_bytes(address.into()));
            network.service == key.service && a & mask == b & mask
        });
        longest.max_by_key(|((_, bits), _)| *bits).map(|(_, pin)| *pin)
    }
    fn told(&mut self) -> Vec<PinEvent> {
        std::mem::take(&mut self.0.lock().unwrap().told)
    }
    fn flows_of(&self, service: u32, version: u32) -> anyhow::Result<Vec<FlowSight>> {
        let flows = self.0.lock().unwrap().flows.clone();
        Ok(flows.into_iter().filter(|flow| (flow.service, flow.version) == (service, version)).collect())
    }
    fn release_held(&mut self, _: u32) -> anyhow::Result<u64> {
        self.0.lock().unwrap().released += 1;
        Ok(0)
    }
    fn close_flow(&mut self, flow: &FlowSight) -> anyhow::Result<bool> {
        let mut memory = self.0.lock().unwrap();
        let before = memory.flows.len();
        memory.flows.retain(|other| other != flow);
        Ok(memory.flows.len() < before)
    }
    fn buckets(&self) -> u32 {
        BUCKETS
    }
    fn bucket(&self, index: u32) -> Option<Bucket> {
        let memory = self.0.lock().unwrap();
        let entries = memory.buckets.get(&index).cloned().unwrap_or_default();
        let entry = |way: usize| {
            let words = entries.get(way).copied().unwrap_or_default();
            let [tag, binding, times, bucket_hash] = words.map(Cell::new);
            Entry { tag, binding, times, bucket_hash }
        };
        Some(Bucket { entries: std::array::from_fn::<_, BUCKET_WAYS, _>(entry) })
    }
    fn sessions(&self) -> Arc<dyn SessionTable> {
        Arc::new(self.clone())
    }
    fn detach(&mut self) -> anyhow::Result<Vec<String>> {
        self.0.lock().unwrap().detached = true;
        Ok(vec!["links/tc-1-b1".to_owned()])
    }
}

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

#[test]
fn the_first_choice_is_the_newest_healthy_version() {
    let mut bench = bench();
    assert!(bench.director.unchecked());
    bench.director.note_report(&report(0, Condition::Up));
    bench.director.note_report(&report(1, Condition::Down));
    bench.director.note_report(&report(2, Condition::Down));
    assert!(!bench.director.unchecked());
    bench.attach();
    assert_eq!(bench.policy().active, 0);
    // One backend of 002 comes up: the version is healthy, and the new one to get.
    bench.up(2);
    assert_eq!((bench.policy().active, bench.policy().fallback), (1, 0));
    let flags = |id: u16| bench.fake.backend(id).unwrap().flags & BACKEND_UP;
    assert_eq!([flags(0), flags(1), flags(2)], [BACKEND_UP, 0, BACKEND_UP]);
}

#[test]
fn a_start_that_fails_before_it_is_attached_leaves_no_state() {
    let bench = bench();
    assert_eq!(crate::store::load(&bench.dir.path().join("state")).unwrap(), None);
}

/// D14.
#[test]
fn a_restart_publishes_nothing() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    bench.flip("001", Mode::Forced).unwrap();
    let published = bench.fake.0.lock().unwrap().published;
    let Bench { director, fake, dir } = bench;
    let conditions = director.conditions.clone();
    drop(director);

    let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
    assert_eq!(state.object, Some(7));
    let mut again = start(dir.path(), &fake, state, conditions);
    again.sync_all().unwrap();
    assert_eq!(fake.0.lock().unwrap().published, published);
    assert_eq!(again.history().changes.last().unwrap().undo, "balancer flip shop 002 --mode forced");
}

#[test]
fn verbs_change_the_policy_and_dry_runs_do_not() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let before = bench.policy();
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::Forced };
    let plan = bench
        .director
        .change("shop", &verb, &Actor::director("root"), &Terms { dry_run: true, ..Terms::default() })
        .unwrap();
    assert!(!plan.will.is_empty() && plan.did.is_empty());
    assert_eq!(bench.policy(), before);
    bench.flip("001", Mode::Forced).unwrap();
    let after = bench.policy();
    assert_eq!((before.active, after.active), (1, 0));
    assert!(after.versions[1].generation > before.versions[1].generation);
    bench.verb(Verb::Rollback { sessions: Sessions::Move }).unwrap();
    assert_eq!(bench.policy().active, 1);
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    assert_eq!((bench.policy().active, bench.policy().versions[1].generation), (0, 0));
    assert_eq!(bench.fake.backend(1).unwrap().flags, 0, "its backends are free");
    assert_eq!(bench.director.targets().len(), 1);
}

/// What a removed backend still sends has to be known for what it is, until another has its place.
#[test]
fn a_backend_of_a_gateway_service_keeps_its_role_beyond_its_end() {
    let mut bench = bench();
    bench.director.config.services[0].return_path = ReturnPath::Gateway;
    bench.attach();
    let roles = |bench: &Bench| {
        let addresses = bench.fake.addresses().unwrap();
        [[10, 60, 1, 2], [10, 60, 2, 2], [10, 60, 3, 2]].map(|address| addresses.get(&address.into()).copied())
    };
    let backend = Some(ROLE_BACKEND);
    assert_eq!(roles(&bench), [backend, backend, None]);
    bench.verb(Verb::Remove { label: "001".parse().unwrap() }).unwrap();
    assert_eq!(roles(&bench), [backend, backend, None]);
    let add = Verb::Add {
        label: "003".parse().unwrap(),
        backends: vec!["10.60.3.2:8080".parse().unwrap()],
        entrance: Entrance::Normal,
    };
    bench.director.state.next_backend = 0;
    bench.verb(add).unwrap();
    bench.director.sync_all().unwrap();
    assert_eq!(roles(&bench), [None, backend, backend]);
}

#[test]
fn legs_are_shown_and_those_of_a_removed_backend_given_up() {
    let mut bench = bench();
    bench.attach();
    bench.fake.0.lock().unwrap().idle_legs = [(0, 5), (1, 7)].into();
    let legs = |bench: &mut Bench| {
        let status = bench.director.service_status("shop", false).unwrap();
        let backends = status.versions.into_iter().flat_map(|version| version.backends);
        backends.map(|backend| (backend.id, backend.legs_busy, backend.legs_idle)).collect::<Vec<_>>()
    };
    assert_eq!(legs(&mut bench), [(0, 0, 5), (1, 0, 7), (2, 0, 0)]);
    let busy = Backend { legs: Cell::new(3), ..bench.fake.backend(2).unwrap() };
    bench.fake.0.lock().unwrap().backends.insert(2, busy);
    assert_eq!(legs(&mut bench), [(0, 0, 5), (1, 0, 7), (2, 3, 0)]);
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    assert_eq!(legs(&mut bench), [(0, 0, 5)]);
    assert_eq!(bench.fake.0.lock().unwrap().idle_legs.keys().copied().collect::<Vec<_>>(), [0]);
}

#[test]
fn all_backends_lost_and_found() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    bench.down(1);
    assert_eq!(bench.policy().active, 1);
    bench.down(2);
    assert_eq!(bench.policy().active, 0);
    bench.up(1);
    assert_eq!(bench.policy().active, 1);
    let last = bench.director.history().changes.pop().unwrap();
    assert_eq!((last.who.as_str(), last.verb.as_str()), ("health", "select"));
}

#[test]
fn listeners_promise_what_backends_keep() {
    let mut bench = bench();
    bench.attach();
    let offers = |bench: &Bench| bench.fake.listeners().unwrap()[0].1;
    assert_eq!((offers(&bench).offers, offers(&bench).mss), (UNLEARNED.bits, 1460));
    let poor = Offers { bits: OFFER_SACK, mss: 1400, scale: 2 };
    bench.director.take_report(&Report { offers: Some(poor), ..report(0, Condition::Up) });
    assert_eq!((offers(&bench).offers, offers(&bench).mss, offers(&bench).scale), (OFFER_SACK, 1400, 2));
}

#[test]
fn explain_follows_a_binding_and_counts_sessions() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    bench.fake.bind("OLD", Binding::new(0, 1, 0, KIND_PRESENTED));
    bench.fake.bind("NEW", Binding::new(1, 2, 2, KIND_ISSUED));
    bench.fake.bind("STALE", Binding::new(0, 99, 0, KIND_PRESENTED));
    let explain = |cookies: &[&str], path: &str| {
        let request = ExplainRequest {
            host: None,
            cookies: cookies.iter().map(|id| (*id).to_owned()).collect(),
            path: Some(path.to_owned()),
            source: "10.60.0.9".parse().unwrap(),
            headers: Vec::new(),
        };
        let explanation = bench.director.explain("shop", &request).unwrap();
        let backend = explanation.backend.unwrap().to_string();
        (explanation.version.unwrap().to_string(), backend, explanation.reason)
    };
    let table: &[(&[&str], &str, &str, &str)] = &[
        (&[], "/", "002", "active"),
        (&["OLD"], "/", "001", "bound"),
        (&["NEW"], "/", "002", "bound"),
        (&["STALE"], "/", "002", "moved"),
        (&["UNKNOWN"], "/", "002", "active"),
        // C22.
        (&["UNKNOWN", "OLD"], "/", "001", "bound"),
        // C20, C23.
        (&[], "/a;jsessionid=OLD/b", "001", "bound"),
        // C21.
        (&["UNKNOWN"], "/a;jsessionid=OLD", "002", "active"),
    ];
    for (cookies, path, version, reason) in table {
        let (got, _, why) = explain(cookies, path);
        assert_eq!((got.as_str(), why.as_str()), (*version, *reason), "{cookies:?} {path}");
    }
    assert_eq!(explain(&["NEW"], "/").1, "10.60.2.3:8080");

    let status = bench.director.status(true).unwrap();
    let shop = &status.services[0];
    assert_eq!(shop.adopt, None);
    let sessions: Vec<_> = shop.versions.iter().map(|v| v.sessions.unwrap()).map(|s| (s.issued, s.presented)).collect();
    assert_eq!(sessions, [(0, 1), (1, 0)]);
    assert_eq!((shop.versions[1].state, shop.versions[1].in_flight), (VersionState::Active, 0));
    assert_eq!(status.counters.len(), 2);
    let list = bench.director.sessions("shop", 1).unwrap();
    assert_eq!((list.total, list.sessions.len()), (2, 1));
}

/// C9, C29, C34: as the data path decides, and in the order D1.
#[test]
fn explain_knows_routes_adoption_and_renamed_ids() {
    let mut bench = bench();
    bench.director.take_report(&report(0, Condition::Up));
    let routed = |label: &str, backends: &[&str]| Verb::Add {
        label: label.parse().unwrap(),
        backends: backends.iter().map(|text| text.parse().unwrap()).collect(),
        entrance: Entrance::Normal,
    };
    bench.attach();
    bench.verb(routed("003", &["10.60.3.2:8080,route=n1", "10.60.3.3:8080,route=n2"])).unwrap();
    bench.up(3);
    bench.up(4);
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.fake.bind("HERE.n1", Binding::new(0, 1, 0, KIND_PRESENTED));
    bench.fake.bind("OLD", Binding::new(2, 3, 3, KIND_RENAMED));
    bench.fake.bind("STALE", Binding::new(1, 99, 1, KIND_PRESENTED));
    let explain = |bench: &Bench, cookies: &[&str]| {
        let cookies = cookies.iter().map(|id| (*id).to_owned()).collect();
        let request = ExplainRequest {
            cookies,
            path: None,
            host: None,
            headers: Vec::new(),
            source: "10.60.0.9".parse().unwrap(),
        };
        let explanation = bench.director.explain("shop", &request).unwrap();
        let shown = format!("{} {} {}", explanation.version.unwrap(), explanation.backend.unwrap(), explanation.reason);
        (shown, explanation.steps.join("; "))
    };
    let (n1, n2) = ("003 10.60.3.2:8080 route", "003 10.60.3.3:8080 route");
    let check = |bench: &Bench, table: &[(&[&str], &str)]| {
        for (cookies, expected) in table {
            let (shown, steps) = explain(bench, cookies);
            assert_eq!(shown, *expected, "{cookies:?}: {steps}");
        }
    };
    let common: &[(&[&str], &str)] = &[
        (&["8F3A.n1"], n1),
        (&["8F3A.n2"], n2),
        (&["HERE.n1"], "001 10.60.1.2:8080 bound"),
        (&["8F3A.n1", "HERE.n1"], "001 10.60.1.2:8080 bound"),
        (&["8F3A", "8F3A.n2", "8F3A.n1"], n2),
        (&["OLD"], "003 10.60.3.2:8080 bound"),
        (&["STALE"], "001 10.60.1.2:8080 moved"),
        (&["STALE", "8F3A.n1"], "001 10.60.1.2:8080 moved"),
        (&["8F3A.n1", "STALE"], n1),
        (&[], "001 10.60.1.2:8080 active"),
    ];
    check(&bench, common);
    check(&bench, &[(&["8F3A"], "001 10.60.1.2:8080 active"), (&["8F3A.n3"], "001 10.60.1.2:8080 active")]);
    assert!(explain(&bench, &["8F3A.n1"]).1.contains("ends in `n1`, a route of 003"));
    assert!(explain(&bench, &["OLD"]).1.contains("bound to 003, under another id now"));

    let adopt = |label: Option<&str>| Verb::Adopt { label: label.map(|label| label.parse().unwrap()) };
    bench.verb(adopt(Some("003"))).unwrap();
    assert_eq!(bench.director.status(false).unwrap().services[0].adopt.as_ref().unwrap().as_str(), "003");
    check(&bench, common);
    for id in ["8F3A", "8F3A.n3"] {
        let (shown, steps) = explain(&bench, &[id]);
        assert!(shown.starts_with("003") && shown.ends_with("adopted"), "{shown}");
        assert!(steps.contains("ids that nobody knows are adopted into 003"), "{steps}");
    }
    // Renamed ids are sessions under another id, and not counted.
    let status = bench.director.status(true).unwrap();
    let presented: Vec<u64> = status.services[0].versions.iter().map(|v| v.sessions.unwrap().presented).collect();
    assert_eq!(presented, [1, 0, 0]);
    let kinds: Vec<String> = bench.director.sessions("shop", 9).unwrap().sessions.into_iter().map(|s| s.kind).collect();
    assert!(kinds.contains(&"renamed".to_owned()), "{kinds:?}");

    // Everybody moves: neither routes nor adoption lead back.
    bench.flip("001", Mode::Forced).unwrap();
    check(
        &bench,
        &[
            (&["8F3A.n1"], "001 10.60.1.2:8080 active"),
            (&["8F3A"], "001 10.60.1.2:8080 active"),
            (&["OLD"], "001 10.60.1.2:8080 moved"),
        ],
    );
}

/// The API from end to end: a socket, JSON, errors with hints.
#[tokio::test]
async fn the_socket_answers() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let Bench { director, fake, dir } = bench;
    let (listener, _file) = api::socket::bind(&dir.path().join("x.sock")).await.unwrap();
    let (stop, changed) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let director = Arc::new(Mutex::new(director));
    tokio::spawn(api::serve(listener, director.clone(), stop.clone(), changed.clone()));

    let ask = |method: &'static str, path: &'static str, body: &'static str| {
        let socket = dir.path().join("x.sock");
        async move {
            use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
            let mut stream = tokio::net::UnixStream::connect(socket).await.unwrap();
            let len = body.len();
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len}\r\n\r\n");
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
            (status, serde_json::from_str::<serde_json::Value>(body).unwrap())
        }
    };
    let (status, value) = ask("GET", "/v1/status", "").await;
    assert_eq!((status, value["services"][0]["active"].as_str()), (200, Some("002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"001","mode":"forced"}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer flip shop 002 --mode forced")));
    let (status, value) = ask("POST", "/v1/services/shop/adopt", r#"{"version":"002"}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer service adopt shop off")));
    let (status, value) = ask("POST", "/v1/services/shop/adopt", r#"{"version":null}"#).await;
    assert_eq!((status, value["undo"].as_str()), (200, Some("balancer service adopt shop 002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"009"}"#).await;
    assert_eq!((status, value["hint"].as_str()), (409, Some("the versions are: 001, 002")));
    let (status, value) = ask("POST", "/v1/services/shop/flip", r#"{"version":"0 1"}"#).await;
    assert!(status == 400 && value["error"].as_str().unwrap().contains("has a blank"), "{value}");
    let (status, _) = ask("GET", "/v1/services/blog", "").await;
    assert_eq!(status, 409);
    // Nobody checks here, so the answer comes after the time-out, with a warning.
    let (status, value) =
        ask("POST", "/v1/services/shop/versions", r#"{"version":"003","backends":["10.60.3.2:8080"]}"#).await;
    assert!(status == 200 && value["warnings"][0].as_str().unwrap().contains("first check"), "{value}");
    tokio::time::timeout(Duration::from_secs(1), changed.notified()).await.unwrap();
    let (status, value) = ask("POST", "/v1/detach", "").await;
    assert_eq!((status, value["removed"][0].as_str()), (200, Some("links/tc-1-b1")));
    assert!(fake.0.lock().unwrap().detached);
    tokio::time::timeout(Duration::from_secs(1), stop.notified()).await.unwrap();
}

/// A change that was meant for another state of things changes nothing, and everything that was asked for is in the log.
#[test]
fn changes_are_numbered_compared_and_written_down() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let status = |bench: &mut Bench| bench.director.service_status("shop", false).unwrap().generation;
    let before = status(&mut bench);
    let flip = |bench: &mut Bench, label: &str, terms: Terms| {
        let verb = Verb::Flip { label: label.parse().unwrap(), mode: Mode::NewSessions };
        let actor = Actor { name: "alice as root".to_owned(), uid: Some(0), pid: Some(7) };
        bench.director.change("shop", &verb, &actor, &terms)
    };
    let at = |generation| Terms { if_generation: Some(generation), reason: Some("CVE".to_owned()), ..Terms::default() };
    assert_eq!(flip(&mut bench, "001", at(before)).unwrap().generation, before + 1);
    assert_eq!(status(&mut bench), before + 1);
    let conflict = flip(&mut bench, "002", at(before)).unwrap_err();
    assert!(conflict.code == Code::Conflict && conflict.hint.contains(&format!("{}", before + 1)), "{conflict}");
    assert_eq!((status(&mut bench), bench.policy().active), (before + 1, 0));
    // Again, and to what does not exist; neither makes a generation.
    flip(&mut bench, "001", Terms::default()).unwrap();
    flip(&mut bench, "009", Terms::default()).unwrap_err();
    let dry = || Terms { dry_run: true, ..Terms::default() };
    flip(&mut bench, "002", dry()).unwrap();
    // The command line stops there.
    flip(&mut bench, "008", dry()).unwrap_err();
    assert_eq!(status(&mut bench), before + 1);
    let change = bench.director.history().changes.pop().unwrap();
    assert_eq!((change.generation, change.reason.as_deref()), (before + 1, Some("CVE")));

    let log = std::fs::read_to_string(bench.dir.path().join("state").join(crate::audit::FILE)).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let results: Vec<&str> = lines.iter().map(|line| line["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["done", "done", "conflict", "unchanged", "refused", "refused"]);
    assert_eq!((&lines[0]["verb"], &lines[0]["actor"]["name"]), (&"select".into(), &"config".into()));
    let flip = &lines[1];
    assert_eq!((&flip["from"], &flip["to"], &flip["reason"]), (&"002".into(), &"001".into(), &"CVE".into()));
    assert_eq!((&flip["actor"]["uid"], &flip["generation"]), (&0.into(), &(before + 1).into()));
    assert_eq!(flip["undo"], "balancer flip shop 002");
    assert!(lines[4]["error"].as_str().unwrap().contains("009"));
    assert_eq!((&lines[4]["dry_run"], &lines[5]["dry_run"]), (&serde_json::Value::Null, &true.into()));
}

/// D13: where sessions find no place, a flip would move those that are not bound.
#[test]
fn a_full_table_refuses_flips() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let turned_away = |bench: &mut Bench, count| {
        bench.fake.0.lock().unwrap().turned_away = count;
        bench.director.tick();
    };
    turned_away(&mut bench, 7);
    turned_away(&mut bench, 7);
    bench.flip("001", Mode::NewSessions).unwrap();
    turned_away(&mut bench, 8);
    let refused = bench.flip("002", Mode::NewSessions).unwrap_err();
    assert!(refused.error.contains("table is full") && refused.hint.contains("--force"), "{refused}");
    // Going back is never refused for that.
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::NewSessions };
    let insist = Terms { force: true, ..Terms::default() };
    bench.director.change("shop", &verb, &Actor::director("root"), &insist).unwrap();
}

#[test]
fn weights_are_written_at_once_and_kept() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let weigh = |address: &str, weight: u32| Verb::Weigh {
        label: "002".parse().unwrap(),
        address: address.parse().unwrap(),
        weight: weight.try_into().unwrap(),
    };
    let done = bench.verb(weigh("10.60.2.3:8080", 0)).unwrap();
    assert_eq!(done.undo, "balancer backend weight shop 002 10.60.2.3:8080 100");
    let weights = |bench: &Bench| [1, 2].map(|id| bench.fake.backend(id).unwrap().weight);
    assert_eq!(weights(&bench), [100, 0]);
    let refused = bench.verb(weigh("10.60.9.9:8080", 5)).unwrap_err();
    assert!(refused.hint.contains("10.60.2.2:8080, 10.60.2.3:8080"), "{refused}");
    // A repetition makes no generation, and a restart finds what was set.
    assert!(bench.verb(weigh("10.60.2.3:8080", 0)).unwrap().undo.is_empty());
    let Bench { director, fake, dir } = bench;
    let conditions = director.conditions.clone();
    drop(director);
    let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
    start(dir.path(), &fake, state, conditions).sync_all().unwrap();
    assert_eq!(fake.backend(2).unwrap().weight, 0);
}

#[test]
fn a_backend_that_comes_back_starts_slowly_and_may_forget() {
    for (lines, forgets) in [("", false), ("on_backend_restart = \"forget\"", true)] {
        let mut bench = bench_with(&format!("{lines}\nhealth = {{ slow_start = \"1h\" }}"));
        for id in 0..3 {
            bench.director.note_report(&report(id, Condition::Up));
        }
        bench.attach();
        for (id, backend) in [("A", 1), ("B", 2)] {
            bench.fake.bind(id, Binding::new(1, 2, backend, KIND_PRESENTED));
        }
        let sessions = |bench: &Bench| bench.director.sessions("shop", 9).unwrap().total;
        // Nobody was down yet.
        assert_eq!((bench.fake.backend(2).unwrap().weight, sessions(&bench)), (100, 2));
        bench.down(2);
        assert_eq!(sessions(&bench), 2);
        bench.up(2);
        assert_eq!((bench.fake.backend(2).unwrap().weight, sessions(&bench)), (1, if forgets { 1 } else { 2 }));
        // Half an hour later.
        let half = std::time::Instant::now().checked_sub(Duration::from_secs(1800)).unwrap();
        bench.director.returned.insert(2, half);
        bench.director.tick();
        assert_eq!(bench.fake.backend(2).unwrap().weight, 50);
        let status = bench.director.service_status("shop", false).unwrap();
        let backend = &status.versions[1].backends[1];
        assert_eq!((backend.weight.number(), backend.weight_now), (100, 50));
        // And another one.
        let hour = half.checked_sub(Duration::from_secs(1800)).unwrap();
        bench.director.returned.insert(2, hour);
        bench.director.tick();
        assert_eq!((bench.fake.backend(2).unwrap().weight, bench.director.returned.len()), (100, 0));
    }
}

/// A check ends what the data path noted only if it began after that, and nothing failed since.
#[test]
fn a_check_that_is_passed_ends_a_back_off() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let failed = |bench: &Bench, failures| {
        let memory = bench.fake.0.lock().unwrap();
        memory.backends[&1].shunned_until.set(boot::millis() + 60_000);
        memory.backends[&1].failures.set(failures);
    };
    let passed_over = |bench: &Bench| bench.director.passed_over(1).unwrap().is_some();
    let ticks = |bench: &mut Bench| (0..2).for_each(|_| bench.director.tick());
    bench.director.passed().note(1, boot::millis() - 1);
    failed(&bench, 1);
    ticks(&mut bench);
    assert!(passed_over(&bench), "the check was before that");
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("passed over for another 60 s")), "{warnings:?}");
    bench.director.passed().note(1, boot::millis() + 1);
    failed(&bench, 2);
    bench.director.tick();
    assert!(passed_over(&bench), "something failed since it was seen");
    bench.director.passed().note(1, boot::millis() + 1);
    bench.director.tick();
    assert!(!passed_over(&bench) && bench.director.back_offs.is_empty());
}

/// A director with sessions on 001, which is drained for an hour, and 002 active.
fn draining(then: Then) -> Bench {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let drainage = Drainage::Begin { deadline: Some(unix_now() + 3600), then };
    bench.verb(Verb::Drain { label: "001".parse().unwrap(), drainage }).unwrap();
    bench
}

/// As if so much time had passed since the drain began, and since its closing did.
fn pass(bench: &mut Bench, seconds: u64) {
    let version = &mut bench.director.state.services[0].versions[0];
    if let Some(drain) = &mut version.drain {
        drain.deadline = drain.deadline.map(|deadline| deadline.saturating_sub(seconds));
        drain.closing = drain.closing.map(|closing| closing.saturating_sub(seconds));
    }
    bench.director.counted = None;
    bench.director.tick();
}

fn labels(bench: &Bench) -> Vec<String> {
    bench.director.state.services[0].versions.iter().map(|version| version.label.to_string()).collect()
}

/// C41: while a session or a request is left, nothing ends; and one look that finds nobody is not enough.
#[test]
fn c41_a_drain_ends_when_nobody_is_left() {
    let mut bench = draining(Then::Retire);
    bench.fake.bind("A", Binding::new(0, 1, 0, KIND_ISSUED));
    pass(&mut bench, 1);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    let status = bench.director.service_status("shop", true).unwrap();
    let drain = status.versions[0].drain.clone().unwrap();
    assert!(drain.seconds_left.is_some_and(|left| left > 3500) && !drain.closing, "{drain:?}");
    assert_eq!((status.versions[0].state, status.versions[0].sessions.unwrap().issued), (VersionState::Draining, 1));
    bench.fake.0.lock().unwrap().buckets.clear();
    bench.fake.0.lock().unwrap().in_flight = 1;
    pass(&mut bench, 1);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    bench.fake.0.lock().unwrap().in_flight = 0;
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["001", "002"]);
    pass(&mut bench, 1);
    assert_eq!(labels(&bench), ["002"]);
    let change = bench.director.history().changes.pop().unwrap();
    assert_eq!((change.who.as_str(), change.verb.as_str()), ("drain", "drain"));
    assert!(change.reason.unwrap().contains("nobody is left"));
    let status = bench.director.service_status("shop", true).unwrap();
    assert_eq!(
        (status.retired[0].label.as_str(), &status.retired[0].backends[..]),
        ("001", &["10.60.1.2:8080".to_owned()][..])
    );
}

/// D11: at the deadline sessions move first, then what is under way is closed, a share at a time; what waits for its next
/// request is left alone, and a daemon that was started again in between carries on.
#[test]
fn d11_a_deadline_closes_what_is_left_over_a_minute() {
    for (then, versions) in [(Then::Retire, &["002"][..]), (Then::Close, &["001", "002"])] {
        let mut bench = draining(then);
        bench.fake.bind("A", Binding::new(0, 1, 0, KIND_PRESENTED));
        let flow = |slot: u32, opaque, outstanding| FlowSight {
            slot,
            key: FlowKey::default(),
            service: 0,
            version: 0,
            opaque,
            outstanding,
        };
        let busy = (0..120).map(|slot| flow(slot, slot % 2 == 0, u32::from(slot % 2 != 0)));
        bench.fake.0.lock().unwrap().flows = busy.chain([flow(999, false, 0)]).collect();
        let left = |bench: &Bench| bench.fake.0.lock().unwrap().flows.len();
        let generation = bench.policy().versions[0].generation;
        pass(&mut bench, 3600);
        assert!(bench.policy().versions[0].generation > generation, "sessions move first");
        assert_eq!((labels(&bench), left(&bench)), (vec!["001".to_owned(), "002".to_owned()], 121));
        pass(&mut bench, 0);
        assert_eq!(left(&bench), 119, "a sixtieth");

        let Bench { director, fake, dir } = bench;
        let conditions = director.conditions.clone();
        drop(director);
        let state = crate::store::load(&dir.path().join("state")).unwrap().unwrap();
        let mut director = start(dir.path(), &fake, state, conditions);
        director.sync_all().unwrap();
        director.attached(director::Kernel { interfaces: Vec::new(), object: 7 }).unwrap();
        let mut bench = Bench { director, fake, dir };
        pass(&mut bench, 30);
        assert!((110..118).contains(&left(&bench)), "{}", left(&bench));
        pass(&mut bench, 29);
        assert_eq!((left(&bench), labels(&bench)), (1, versions.iter().map(|label| (*label).to_owned()).collect()));
    }
}

#[test]
fn d11_a_version_that_is_kept_keeps_its_sessions() {
    let mut bench = draining(Then::Keep);
    bench.fake.bind("A", Binding::new(0, 1, 0, KIND_PRESENTED));
    let before = bench.policy();
    pass(&mut bench, 3600);
    assert_eq!(
        (labels(&bench), bench.policy().versions[0]),
        (vec!["001".to_owned(), "002".to_owned()], before.versions[0])
    );
    let status = bench.director.service_status("shop", true).unwrap();
    assert_eq!((status.versions[0].state, &status.versions[0].drain), (VersionState::Held, &None));
}

/// C38, C39, C42, C43: never by default; where the config says so, when nobody is left, but for the last ones; ids that
/// nobody has come back with yet count as sessions until they expire.
#[test]
fn c38_c39_c42_c43_old_versions_are_retired_where_the_config_says_so() {
    for (lines, goes) in [("", false), ("retire = \"empty\"", false), ("retire = \"empty\"\nkeep = 1", true)] {
        let mut bench = bench_with(lines);
        for id in 0..3 {
            bench.director.note_report(&report(id, Condition::Up));
        }
        bench.attach();
        bench.flip("001", Mode::NewSessions).unwrap();
        bench.flip("002", Mode::NewSessions).unwrap();
        bench.fake.bind("A", Binding::new(0, 1, 0, KIND_ISSUED));
        pass(&mut bench, 0);
        pass(&mut bench, 0);
        assert_eq!(labels(&bench), ["001", "002"]);
        bench.fake.0.lock().unwrap().buckets.clear();
        pass(&mut bench, 0);
        pass(&mut bench, 0);
        assert_eq!(labels(&bench).len(), if goes { 1 } else { 2 }, "{lines}");
    }
}

/// D10: held requests are released by the very store that moves everybody, or by one that changes nothing else.
#[test]
fn d10_a_hold_ends_with_the_flip_or_with_nothing() {
    let mut bench = bench();
    for id in 0..3 {
        bench.director.note_report(&report(id, Condition::Up));
    }
    bench.attach();
    let before = bench.policy();
    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    let held = bench.policy();
    assert_eq!(Policy { hold_until: 0, ..held }, before);
    assert!(held.hold_until > 0);
    // Whatever else is changed meanwhile leaves the hold alone.
    bench.down(2);
    bench.up(2);
    assert_eq!(bench.policy().hold_until, held.hold_until);
    bench.director.end_exclusive("shop");
    assert_eq!(bench.policy(), before);

    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    let published = bench.fake.0.lock().unwrap().published;
    bench.flip("001", Mode::Exclusive).unwrap();
    let after = bench.policy();
    assert_eq!((after.hold_until, after.active, bench.fake.0.lock().unwrap().published), (0, 0, published + 1));
    assert!(after.versions[1].generation > before.versions[1].generation, "everybody moves");
}

/// A pause is written down: a daemon that is started again goes on with it, at the same point in time, and it can be resumed.
#[test]
fn a_pause_is_gone_on_with_and_ends_in_time() {
    let (root, terms) = (Actor::director("root"), Terms::default());
    let mut bench = bench();
    bench.attach();
    assert!(matches!(bench.director.resume("shop", &root, &terms), Err(failure) if failure.code == Code::Refused));
    let before = bench.policy();
    bench.director.pause("shop", Duration::from_secs(60), &root, &Terms { dry_run: true, ..terms.clone() }).unwrap();
    assert_eq!(bench.policy(), before, "a dry run holds nothing");
    bench.director.pause("shop", Duration::from_secs(60), &root, &terms).unwrap();
    let until = bench.policy().hold_until;
    let left = until - boot::millis();
    assert!((55_000..=60_000).contains(&left), "{left}");
    // A flip meanwhile leaves it alone, and so does what health says.
    bench.up(0);
    bench.flip("002", Mode::Forced).unwrap();
    assert_eq!(bench.policy().hold_until, until);
    let status = bench.director.service_status("shop", false).unwrap();
    assert!(status.hold.is_some_and(|hold| hold.paused && hold.flip_to.is_none()));

    // Its daemon dies.
    let mut again = bench.restarted();
    again.attach();
    again.director.end_cut_off().unwrap();
    assert!(again.policy().hold_until.abs_diff(until) < 2_000, "{} is not {until}", again.policy().hold_until);
    again.director.end_pauses().unwrap();
    assert_ne!(again.policy().hold_until, 0, "it ended too early");
    again.director.resume("shop", &root, &terms).unwrap();
    assert_eq!((again.policy().hold_until, again.fake.0.lock().unwrap().released), (0, 1));

    // Or its time is up.
    again.director.pause("shop", Duration::from_millis(30), &root, &terms).unwrap();
    std::thread::sleep(Duration::from_millis(40));
    again.director.end_pauses().unwrap();
    let last = again.director.history().changes.last().cloned().unwrap();
    assert_eq!((last.verb.as_str(), last.who.as_str()), ("resume", "pause"));
    assert_eq!((again.policy().hold_until, again.fake.0.lock().unwrap().released), (0, 2));
    assert!(again.director.service_status("shop", false).unwrap().hold.is_none());
}

/// An exclusive flip as somebody asked for it just now.
fn exclusive(label: &str, time: Duration) -> Exclusive {
    let hold_milliseconds = boot::whole_millis(time);
    Exclusive {
        label: label.parse().unwrap(),
        since: unix_now(),
        who: "alice".to_owned(),
        uid: Some(7),
        reason: Some("new column".to_owned()),
        force: false,
        way: Way { until: boot::unix_millis() + hold_milliseconds, hold_milliseconds, ..Way::default() },
        hook: false,
    }
}

/// A bench with 001 active, 002 healthy, and an exclusive flip to 002 under way.
fn flipping() -> Bench {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_secs(30))).unwrap();
    bench
}

/// D10: a daemon that finds an exclusive flip that can go on holds on, and says so; what cannot go on is written down, once, and the
/// old version goes on.
#[test]
fn d10_a_flip_that_was_cut_off_goes_on_or_is_written_down() {
    for (why, adopts, change) in [
        ("", true, None),
        ("`during`", true, Some((|bench| bench.director.runs_hook("shop").unwrap()) as fn(&mut Bench))),
        ("forgotten", false, None),
        (
            "time was up",
            true,
            Some(
                (|bench| {
                    bench.director.end_exclusive("shop");
                    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
                    std::thread::sleep(Duration::from_millis(5));
                }) as fn(&mut Bench),
            ),
        ),
    ] {
        let mut bench = flipping();
        if let Some(change) = change {
            change(&mut bench);
        }
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.hold.and_then(|hold| hold.flip_to), Some("002".parse().unwrap()));
        let until = bench.policy().hold_until;

        let mut again = bench.restarted();
        again.director.take_up_flips(adopts);
        again.attach();
        again.director.end_cut_off().unwrap();
        let taken_up = again.director.taken_up();
        assert_eq!(taken_up.len(), usize::from(why.is_empty()), "{why}");
        if why.is_empty() {
            // The very same point in time, but for a change of a clock's reading in between.
            assert!(again.policy().hold_until.abs_diff(until) < 50);
            assert_eq!(taken_up[0].1.actor(), Actor { name: "alice".to_owned(), uid: Some(7), pid: None });
            assert_eq!(taken_up[0].1.terms().reason.as_deref(), Some("new column"));
            again.flip("002", Mode::Exclusive).unwrap();
            assert_eq!(again.policy().hold_until, 0);
        } else {
            again.director.end_cut_off().unwrap();
            let changes = again.director.history().changes;
            let told: Vec<_> = changes.iter().filter(|change| change.who == "start").collect();
            let said = told[0].reason.as_deref().unwrap();
            assert!(said.contains("cut off") && said.contains("001 stays active") && said.contains(why), "{said}");
            assert_eq!((told.len(), again.policy().hold_until), (1, 0));
            assert_eq!(again.director.active("shop"), Some("001".parse().unwrap()));
        }
    }
}

/// While requests are held for a flip nobody changes what it waits for or leads to; whoever does not want it gives it up.
#[test]
fn d10_a_flip_that_is_under_way_is_not_changed_but_given_up() {
    let mut bench = flipping();
    let label = |label: &str| label.parse().unwrap();
    for verb in [
        Verb::Flip { label: label("001"), mode: Mode::NewSessions },
        Verb::Flip { label: label("002"), mode: Mode::Forced },
        Verb::Canary { label: label("002"), percent: 5.0.try_into().unwrap(), guard: GuardWish::default() },
        Verb::Remove { label: label("001") },
        Verb::Remove { label: label("002") },
        Verb::Retire { label: label("002") },
        Verb::Drain { label: label("002"), drainage: Drainage::Begin { deadline: None, then: Then::Retire } },
        Verb::Rollback { sessions: Sessions::Move },
        Verb::Promote,
        Verb::Pause { until: u64::MAX, said: "long".to_owned() },
        Verb::Resume,
    ] {
        let name = verb.name();
        let failure = bench.verb(verb).unwrap_err();
        assert_eq!(failure.code, Code::Refused, "{name}");
        assert!(failure.error.contains("to `002` is under way") && failure.hint.contains("abort shop"), "{failure}");
    }
    let before = bench.fake.0.lock().unwrap().released;
    let done = bench.verb(Verb::Abort { sessions: Sessions::Move }).unwrap();
    assert!(done.did[0].contains("to 002 is given up, 001 stays active"), "{done:?}");
    assert!(done.did[1].contains("were held until now"), "{done:?}");
    assert_eq!((bench.policy().hold_until, bench.fake.0.lock().unwrap().released), (0, before + 1));
    assert!(!bench.director.holds("shop") && bench.director.service_status("shop", false).unwrap().hold.is_none());
    assert_eq!(bench.verb(Verb::Abort { sessions: Sessions::Move }).unwrap_err().code, Code::Refused);
}

/// An exclusive flip to what is active already, where there is nobody to move: nothing of it is left behind.
#[test]
fn d10_a_flip_that_changes_nothing_ends_as_well() {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.verb(Verb::Remove { label: "002".parse().unwrap() }).unwrap();
    let before = bench.policy();
    bench.director.begin_exclusive("shop", exclusive("001", Duration::from_secs(30))).unwrap();
    bench.flip("001", Mode::Exclusive).unwrap();
    bench.director.end_exclusive("shop");
    assert_eq!(bench.policy(), before);
    bench.director.pause("shop", Duration::from_secs(1), &Actor::director("root"), &Terms::default()).unwrap();
}

/// A daemon that was held up for longer than the kernel holds does not flip beside requests that go on already.
#[test]
fn d10_a_flip_that_comes_too_late_is_not_made() {
    let mut bench = flipping();
    assert!(bench.director.holds_still("shop"));
    bench.director.end_exclusive("shop");
    assert!(!bench.director.holds_still("shop"));
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
    assert!(bench.director.holds_still("shop"), "the kernel holds a little longer");
    std::thread::sleep(Duration::from_millis(1600));
    assert!(!bench.director.holds_still("shop"));
}

/// D18: a disk that is full: a change is refused and nothing is different, but what goes back is done, and written when there is room. A
/// hold ends in any case.
#[test]
fn a_state_that_cannot_be_written_keeps_nobody_from_going_back() {
    let mut bench = flipping();
    let state = bench.dir.path().join("state");
    let away = bench.dir.path().join("away");
    std::fs::rename(&state, &away).unwrap();

    assert!(bench.director.end_exclusive("shop") == 0 && !bench.director.holds("shop"));
    assert_eq!(bench.policy().hold_until, 0);
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("is lost if the daemon ends")), "{warnings:?}");
    assert!(bench.director.sample().unwrap().state_unsaved);

    let (policy, generation) = (bench.policy(), bench.director.generation("shop"));
    let failure = bench.flip("002", Mode::Forced).unwrap_err();
    assert!(failure.error.contains("nothing changed") && failure.hint.contains("make room"), "{failure}");
    let begun = bench.director.begin_exclusive("shop", exclusive("002", Duration::from_secs(30)));
    assert!(begun.is_err() && !bench.director.holds("shop"));
    assert_eq!((bench.policy(), bench.director.generation("shop")), (policy, generation));

    let done = bench.verb(Verb::Rollback { sessions: Sessions::Move }).unwrap();
    assert!(done.warnings.iter().any(|warning| warning.contains("cannot be written")), "{done:?}");
    assert_eq!(bench.director.active("shop"), Some("002".parse().unwrap()));
    let forced = Terms { force: true, ..Terms::default() };
    let verb = Verb::Flip { label: "001".parse().unwrap(), mode: Mode::NewSessions };
    bench.director.change("shop", &verb, &Actor::director("root"), &forced).unwrap();
    assert_eq!(bench.director.active("shop"), Some("001".parse().unwrap()));

    std::fs::rename(&away, &state).unwrap();
    bench.director.tick();
    let warnings = bench.director.service_status("shop", false).unwrap().warnings;
    assert!(warnings.is_empty(), "{warnings:?}");
    let again = bench.restarted();
    assert_eq!(again.director.active("shop"), Some("001".parse().unwrap()));
}

/// D21: what the hook behind a flip has to be told is in the state with the flip, whoever flipped, until it was told.
#[tokio::test]
async fn what_a_hook_was_not_told_the_next_daemon_tells_it() {
    let mut bench = bench();
    bench.up(0);
    bench.up(1);
    bench.attach();
    let told = bench.dir.path().join("told");
    let script = format!("cat >>{0}; echo >>{0}", told.display());
    let hook = |bench: &mut Bench| {
        let action = crate::config::Action::Command(["/bin/sh", "-c", &script].map(str::to_owned).to_vec());
        bench.director.config.hooks.post_flip =
            Some(crate::config::Callout { action, timeout: Duration::from_secs(20) });
    };
    bench.flip("001", Mode::NewSessions).unwrap();
    assert!(bench.director.state.untold.is_empty(), "there is no hook");
    hook(&mut bench);
    bench.flip("001", Mode::NewSessions).unwrap();
    bench.flip("009", Mode::NewSessions).unwrap_err();
    bench.flip("002", Mode::Forced).unwrap();
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let address = "10.60.1.2:8080".parse().unwrap();
    bench.verb(Verb::Weigh { label: "001".parse().unwrap(), address, weight: 7.try_into().unwrap() }).unwrap();
    bench.director.begin_exclusive("shop", exclusive("002", Duration::from_millis(1))).unwrap();
    std::thread::sleep(Duration::from_millis(5));

    let mut again = bench.restarted();
    hook(&mut again);
    again.director.take_up_flips(true);
    again.attach();
    again.director.end_cut_off().unwrap();
    let Bench { director, fake: _fake, dir: _dir } = again;
    let director: Shared = Arc::new(Mutex::new(director));
    let teller = tokio::spawn(hooks::tell_flips(director.clone()));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while !director.lock().await.state.untold.is_empty() {
        assert!(std::time::Instant::now() < deadline, "{:?}", director.lock().await.state.untold);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    teller.abort();
    let text = std::fs::read_to_string(told).unwrap();
    let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<[&str; 4]> =
        told.iter().map(|told| ["verb", "result", "from", "to"].map(|key| told[key].as_str().unwrap())).collect();
    assert_eq!(
        told,
        [
            ["flip", "unchanged", "001", "001"],
            ["flip", "done", "001", "002"],
            ["rollback", "done", "002", "001"],
            ["flip", "failed", "001", "002"]
        ]
    );
}

/// D17: a canary whose requests fail more often than the active version's is given up, with its figures; also one that was good
/// for long.
#[test]
fn d17_a_canary_that_fails_is_given_up() {
    let tally =
        |answers, errors| Outcomes { tally: Tally { answers, errors, ..Tally::default() }, ..Outcomes::default() };
    for (lines, fails, given_up, moves) in [
        ("", (60, 6), true, true),
        ("", (60, 3), false, false),
        ("[service.canary]\nabort_over = \"20%\"", (60, 6), false, false),
        ("[service.canary]\nabort_over = \"never\"", (60, 60), false, false),
        ("[service.canary]\nmin_requests = 100", (60, 60), false, false),
        ("[service.canary]\nsessions = \"keep\"", (60, 60), true, false),
    ] {
        let mut bench = bench_with(lines);
        for id in 0..3 {
            bench.up(id);
        }
        bench.attach();
        bench.flip("001", Mode::NewSessions).unwrap();
        // What was before does not count.
        bench.fake.0.lock().unwrap().outcomes.extend([(0, tally(1000, 0)), (1, tally(1000, 1000))]);
        let guard = GuardWish::default();
        let (label, percent) = ("002".parse().unwrap(), "10".parse().unwrap());
        bench.verb(Verb::Canary { label, percent, guard }).unwrap();
        let generation = bench.policy().versions[1].generation;
        bench.director.tick();
        assert!(bench.director.service_status("shop", false).unwrap().canary.is_some(), "{lines}");
        bench.fake.0.lock().unwrap().outcomes.extend([(0, tally(2000, 0)), (1, tally(1000 + fails.0, 1000 + fails.1))]);
        let action = crate::config::Action::Url("http://127.0.0.1:9/".to_owned());
        bench.director.config.hooks.post_flip =
            Some(crate::config::Callout { action, timeout: Duration::from_secs(1) });
        bench.director.tick();
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.canary.is_none(), given_up, "{lines}");
        assert_eq!(bench.policy().versions[1].generation > generation, moves, "{lines}");
        if given_up {
            let aborted = status.aborted.unwrap();
            assert!(aborted.why.contains("of 60 requests failed"), "{}", aborted.why);
            let last = bench.director.history().changes.last().cloned().unwrap();
            assert_eq!((last.verb.as_str(), last.who.as_str()), ("abort", "canary"));
            assert!(last.reason.unwrap().contains(&aborted.why));
            let audit = std::fs::read_to_string(bench.director.config.state.join("audit.log")).unwrap();
            assert!(audit.lines().last().unwrap().contains(&aborted.why), "{audit}");
            assert!(bench.director.events(None, Some("shop"), 9).events.iter().any(|e| e.text.contains(&aborted.why)));
            // And the hook behind flips is to be told of it.
            let told = bench.director.state.untold.last().unwrap();
            let label = |label: &str| Some(label.parse().unwrap());
            assert_eq!(
                (told.verb.as_str(), told.who.as_str(), told.result.as_deref()),
                ("abort", "canary", Some("done"))
            );
            assert_eq!((&told.version, &told.to, told.generation), (&label("002"), &label("001"), status.generation));
        } else {
            assert!(bench.director.state.untold.is_empty(), "{lines}");
            let canary = status.canary.unwrap();
            assert_eq!(canary.outcomes.requests(), 60);
            assert_eq!(canary.active_outcomes.requests(), 1000);
        }
    }
    // Good for a day, and then not.
    let mut bench = bench();
    for id in 0..3 {
        bench.up(id);
    }
    bench.attach();
    bench.flip("001", Mode::NewSessions).unwrap();
    let guard = GuardWish { over: Some("10%".parse().unwrap()), min_requests: Some(20) };
    let (label, percent) = ("002".parse().unwrap(), "10".parse().unwrap());
    bench.verb(Verb::Canary { label, percent, guard }).unwrap();
    for (answers, errors, given_up) in [(100_000, 10, false), (100_019, 29, false), (100_020, 30, true)] {
        bench.fake.0.lock().unwrap().outcomes.insert(1, tally(answers, errors));
        bench.director.tick();
        let status = bench.director.service_status("shop", false).unwrap();
        assert_eq!(status.canary.is_none(), given_up, "{answers}");
        if let Some(aborted) = status.aborted {
            assert!(aborted.why.contains("within the last minute, 100.0 % of 20 requests"), "{}", aborted.why);
        }
    }
}

/// Hooks come from a file of root's alone, and name programs of root's alone.
#[test]
fn hooks_are_taken_from_root_only() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let dir = tempfile::tempdir().unwrap();
    let (file, program) = (dir.path().join("balancer.toml"), dir.path().join("hook"));
    std::fs::write(&program, "#!/bin/sh\n").unwrap();
    let hooks = format!("[hooks.pre_flip]\ncommand = [{program:?}]\n[[service]]");
    std::fs::write(&file, TOML.replacen("[[service]]", &hooks, 1)).unwrap();
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let (file, program) = (file.as_path(), program.as_path());
    // The modes of both, who owns them, and what is wrong with that.
    let table = [
        (0o644, 0o755, 0, 0, None),
        (0o600, 0o700, 0, 0, None),
        (0o664, 0o755, 0, 0, Some("this one has the mode 664")),
        (0o646, 0o755, 0, 0, Some("this one has the mode 646")),
        (0o644, 0o755, 1000, 0, Some("this one belongs to uid 1000")),
        (0o644, 0o775, 0, 0, Some("has the mode 775: whoever can change it would be root")),
        (0o644, 0o755, 0, 1000, Some("belongs to uid 1000: whoever can change it would be root")),
        (0o644, 0o644, 0, 0, Some("cannot be executed")),
    ];
    for (of_file, of_program, file_owner, program_owner, wrong) in table {
        mode(file, of_file);
        mode(program, of_program);
        chown(file, Some(file_owner), None).unwrap();
        chown(program, Some(program_owner), None).unwrap();
        match (Config::load(file), wrong) {
            (Ok(config), None) => assert!(config.hooks_of("shop").pre_flip.is_some()),
            (Err(error), Some(wrong)) => assert!(error.to_string().contains(wrong), "{error}"),
            (result, wrong) => panic!("{result:?}, not {wrong:?}"),
        }
    }
    chown(program, Some(0), None).unwrap();
    std::fs::remove_file(program).unwrap();
    assert!(Config::load(file).unwrap_err().to_string().contains("cannot be looked at"));
    // Without hooks anybody may have written it.
    std::fs::write(file, TOML).unwrap();
    mode(file, 0o666);
    Config::load(file).unwrap();
}

impl Bench {
    /// Writes the daemon's file, with replacements, and has it read.
    fn reload(&mut self, changes: &[(&str, &str)], terms: &Terms) -> Result<crate::wire::Done, Failure> {
        let mut text = TOML.to_owned();
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replacen(from, to, 1);
        }
        let path = self.dir.path().join("balancer.toml");
        let state = format!("state = {:?}\n", self.dir.path().join("state"));
        std::fs::write(&path, state + &text).unwrap();
        let (exporter, places) = tokio::sync::mpsc::unbounded_channel();
        // Whoever listens for the metrics' place is there for as long as the test.
        std::mem::forget(places);
        self.director.started_from(File { path, socket: Some(self.dir.path().join("x.sock")) }, exporter);
        self.director.reload(&Actor::director("SIGHUP"), terms)
    }

    /// The audit log's lines of reloads.
    fn audited(&self) -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(self.dir.path().join("state/audit.log")).unwrap_or_default();
        let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["verb"] == "config reload").collect()
    }
}

#[test]
fn a_reload_is_made_and_written_down() {
    let mut bench = bench();
    bench.attach();
    let dry = Terms { dry_run: true, ..Terms::default() };
    let change = [("listen =", "idle = \"5m\"\nlisten =")];
    let done = bench.reload(&change, &dry).unwrap();
    assert!(done.will[0].contains("shop: idle 30m -> 5m") && done.did.is_empty(), "{done:?}");
    assert_eq!((bench.policy().idle_seconds, bench.audited().len()), (1800, 0));

    let before = bench.director.generation("shop");
    let reason = Terms { reason: Some("shorter".to_owned()), ..Terms::default() };
    let done = bench.reload(&change, &reason).unwrap();
    assert_eq!(done.did, ["shop: idle 30m -> 5m"]);
    assert_eq!(bench.policy().idle_seconds, 300);
    assert_eq!(bench.director.generation("shop"), before + 1);
    let history = bench.director.history().changes;
    let last = history.last().unwrap();
    assert_eq!((last.verb.as_str(), last.who.as_str(), last.service.as_str()), ("config reload", "SIGHUP", "shop"));
    assert_eq!(last.reason.as_deref(), Some("idle 30m -> 5m (shorter)"));
    let audited = bench.audited();
    assert_eq!((&audited[0]["result"], &audited[0]["details"]), (&"done".into(), &"shop: idle 30m -> 5m".into()));

    // Once more there is nothing to do.
    let done = bench.reload(&change, &Terms::default()).unwrap();
    assert!(done.did[0].contains("nothing changed"), "{done:?}");
    assert_eq!(bench.director.history().changes.len(), history.len());
    assert_eq!(bench.audited()[1]["result"], "unchanged");
}

#[test]
fn a_reload_that_is_refused_changes_nothing() {
    let mut bench = bench();
    bench.attach();
    let (published, history) = (bench.fake.0.lock().unwrap().published, bench.director.history());
    let idle = ("listen =", "idle = \"5m\"\nlisten =");
    for (change, code, says) in [
        (("name = \"shop\"", "nome = \"shop\""), Code::Usage, "unknown key `nome`"),
        (("10.60.254.1", "10.60.254.2"), Code::Refused, "sources 10.60.254.1 -> 10.60.254.2"),
        // The fake's traffic says that there are connections.
        (("10.60.255.1:80", "10.60.255.1:81"), Code::Refused, "connections"),
    ] {
        let failure = bench.reload(&[idle, change], &Terms::default()).unwrap_err();
        assert!(failure.code == code && failure.error.contains(says), "{failure}");
        assert_eq!(bench.director.config.services[0].idle, Duration::from_secs(1800));
        assert_eq!(bench.director.history(), history);
        assert_eq!(bench.audited().last().unwrap()["result"], "refused");
    }
    assert_eq!(bench.fake.0.lock().unwrap().published, published);
    let sample = bench.director.sample().unwrap();
    assert_eq!((sample.tallies.reloads, sample.tallies.last_reload), ((0, 3), Some(false)));

    // Who insists gets what can be had.
    let force = Terms { force: true, ..Terms::default() };
    bench.reload(&[idle, ("10.60.255.1:80", "10.60.255.1:81")], &force).unwrap();
    let ports: Vec<[u8; 2]> = bench.fake.listeners().unwrap().iter().map(|(key, _)| key.port).collect();
    assert_eq!(ports, [81u16.to_be_bytes()]);
    assert!(bench.reload(&[("10.60.254.1", "10.60.254.2")], &force).is_err());
}

#[test]
fn a_reload_brings_services_and_takes_them_away() {
    let mut bench = bench();
    bench.attach();
    let blog = "[[service]]\nname = \"blog\"\nlisten = \"10.60.255.2:80\"\n[[service.version]]\nlabel = \"1\"\n\
                backends = [\"10.60.3.2:8080\"]\n[[service]]";
    bench.reload(&[("[[service]]", blog)], &Terms::default()).unwrap();
    assert_eq!(bench.fake.listeners().unwrap().len(), 2);
    let id = bench.director.targets().iter().map(|target| target.backend).max().unwrap();
    bench.director.take_report(&report(id, Condition::Up));
    assert_eq!(bench.director.active("blog").unwrap().as_str(), "1");
    bench.reload(&[], &Terms { force: true, ..Terms::default() }).unwrap();
    assert_eq!(bench.fake.listeners().unwrap().len(), 1);
    assert!(bench.director.targets().iter().all(|target| target.backend != id), "it is still checked");
    // It is known when it comes again.
    let done = bench.reload(&[("[[service]]", blog)], &Terms::default()).unwrap();
    assert!(done.will[0].contains("with the versions that the state knows of it: 1"), "{done:?}");
}

/// D22: versions that commands brought are left alone, and so is what they made active.
#[test]
fn a_reload_undoes_no_command() {
    let mut bench = bench();
    bench.attach();
    (0..3).for_each(|id| bench.up(id));
    bench.flip("001", Mode::NewSessions).unwrap();
    let backends = vec!["10.60.9.2:8080".parse().unwrap()];
    bench.verb(Verb::Add { label: "000".parse().unwrap(), backends, entrance: Entrance::Normal }).unwrap();
    let done = bench.reload(&[("listen =", "idle = \"5m\"\nlisten =")], &Terms::default()).unwrap();
    assert!(
        done.warnings.iter().any(|warning| warning.contains("version 000 10.60.9.2:8080 -> not there")),
        "{done:?}"
    );
    assert_eq!(bench.director.active("shop").unwrap().as_str(), "001");
    assert_eq!(bench.director.service_status("shop", false).unwrap().versions.len(), 3);
}

/// A place for metrics that cannot be had is found out before anything is changed.
#[test]
fn a_reload_listens_first() {
    let mut bench = bench();
    bench.attach();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let idle = ("listen =", "idle = \"5m\"\nlisten =");
    let place = format!("[metrics]\nlisten = \"{}\"\n[[service]]", taken.local_addr().unwrap());
    let change = [idle, ("[[service]]", place.as_str())];
    let failure = bench.reload(&change, &Terms::default()).unwrap_err();
    assert!(failure.error.contains("metrics cannot be served on 127.0.0.1"), "{failure}");
    assert_eq!(bench.policy().idle_seconds, 1800);
    drop(taken);
    bench.reload(&change, &Terms::default()).unwrap();
    assert_eq!(bench.policy().idle_seconds, 300);
}

/// However often somebody scrapes, the table is read as seldom as for `status`.
#[test]
fn scrapes_do_not_read_the_table_each_time() {
    let mut bench = bench();
    bench.attach();
    let before = bench.fake.0.lock().unwrap().reads;
    for _ in 0..50 {
        bench.director.sample().unwrap();
        bench.director.readiness().unwrap();
    }
    // Two, if a second ended meanwhile.
    let reads = bench.fake.0.lock().unwrap().reads - before;
    assert!((1..=2).contains(&reads), "{reads}");
}

/// What is counted is what was done.
#[test]
fn flips_are_counted_by_mode() {
    let mut bench = bench();
    bench.attach();
    (0..3).for_each(|id| bench.up(id));
    bench.flip("001", Mode::Forced).unwrap();
    bench.flip("001", Mode::Forced).unwrap();
    bench.flip("009", Mode::Forced).unwrap_err();
    bench.verb(Verb::Rollback { sessions: Sessions::Keep }).unwrap();
    let sample = bench.director.sample().unwrap();
    let count = |how| sample.tallies.flips.get(&("shop".to_owned(), how)).copied().unwrap_or_default();
    // The second flip to it moved whom the first one left: a change as well.
    assert_eq!((count("rollback"), count("exclusive")), (1, 0));
    assert!((1..=2).contains(&count("forced")) && count("select") >= 1, "{:?}", sample.tallies);
    assert_eq!(
        sample.counters.len(),
        balancer_ebpf::verdict::COUNTERS as usize - 32 + balancer_ebpf::http::Scanned::NAMES.len()
    );
}

/// D19, D20: a reload that brings a second service to an address writes its policy first and then the rules; both services look for
/// them, and one that goes takes them away.
#[test]
fn d19_rules_come_and_go_with_a_reload() {
    let mut bench = bench();
    (0..3).for_each(|id| bench.up(id));
    bench.attach();
    assert!(bench.fake.0.lock().unwrap().rules.is_empty() && bench.policy().listener == 0);
    let end = "backends = [\"10.60.2.2:8080\", \"10.60.2.3:8080\"]\n";
    let more = format!(
        "{end}[[service]]\nname = \"admin\"\nlisten = \"10.60.255.1:80\"\n[[service.version]]\nlabel = \"a1\"\n\
         backends = [\"10.60.4.2:8080\"]\n[[listener]]\nlisten = \"10.60.255.1:80\"\ndefault = \"shop\"\n\
         rules = [{{ path = \"/admin\", host = \"a.example.org\", service = \"admin\" }}]\n"
    );
    let done = bench.reload(&[(end, &more)], &Terms::default()).unwrap();
    assert!(done.did.iter().any(|did| did.contains("admin if host a.example.org, path /admin")), "{done:?}");
    {
        let memory = bench.fake.0.lock().unwrap();
        let rules = memory.rules[&0];
        // Two conditions of one rule, of which the last names the service.
        assert_eq!((rules.count, rules.default), (2, 0));
        assert_eq!((rules.conditions[0].service, rules.conditions[1].service), (balancer_ebpf::layout::NONE, 1));
        assert_eq!([0, 1].map(|service| memory.policies[&service].listener), [1, 1]);
    }
    let status = bench.director.service_status("admin", false).unwrap();
    assert_eq!(status.listener.unwrap().rules[0].asks, "host a.example.org, path /admin");
    // The same file again is nothing.
    let done = bench.reload(&[(end, &more)], &Terms::default()).unwrap();
    assert_eq!(done.did, ["the config is as it was; nothing changed"]);
    bench.reload(&[], &Terms { force: true, ..Terms::default() }).unwrap();
    assert!(bench.fake.0.lock().unwrap().rules.is_empty() && bench.policy().listener == 0);
}

/// D12: requests that are answered because their version is missing are an event of their service, which names the version.
#[test]
fn d12_whose_version_is_missing_is_told_by_service() {
    let mut bench = bench();
    (0..3).for_each(|id| bench.up(id));
    bench.attach();
    let missing = |bench: &Bench, version: u32, missing: u64| {
        bench.fake.0.lock().unwrap().outcomes.insert(version, Outcomes { missing, ..Outcomes::default() });
    };
    // What was counted before this daemon is nobody's news.
    missing(&bench, 0, 7);
    bench.director.tick();
    bench.down(0);
    missing(&bench, 0, 8);
    missing(&bench, 5, 2);
    bench.director.tick();
    bench.director.tick();
    let events = bench.director.events(None, Some("shop"), 100).events;
    let told: Vec<&str> =
        events.iter().filter(|event| event.kind == "missing").map(|event| event.text.as_str()).collect();
    assert_eq!(
        told,
        [
            "001 has no healthy backend left",
            "1 request was answered with a 503: 001 has no healthy backend",
            "2 requests were answered with a 503: their version is missing"
        ]
    );
}
