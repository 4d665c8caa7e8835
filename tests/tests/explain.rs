//! `explain` and the data path agree (D1): on the same maps, for random services, and random requests, the loaded program sends
//! its SYN to the backend that `explain` names, or answers with a 503 where it says so.
//!
//! The services are made by the daemon's own verbs: versions come and go, are flipped to, drained, tried as canaries and rolled
//! back from; backends are down, passed over or of any weight; sessions are bound to all of that, also to what is no more;
//! requests carry several ids, routes, path parameters and pins.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use aya::maps::{Array, Map, MapData};
use aya::programs::SchedClassifier;
use balancer_ebpf::layout::{Backend, Binding, Globals, KIND_ISSUED, KIND_PRESENTED, KIND_RENAMED, Key, map};
use balancer_ebpf::sessions::{Shelf, bind, term};
use balancer_ebpf::sip::hash_id;
use balancer_tests::lab::{Family, Hook, Lab};
use balancer_tests::progrun::frames::{Numbers, Way, greeting, read, reset, segment};
use balancer_tests::progrun::{World, run, skb_context};
use balancer_user::config::Config;
use balancer_user::dataplane::Dataplane;
use balancer_user::explain::{self, Now};
use balancer_user::kernel::{load, maps, object, pins::Pins};
use balancer_user::label::Label;
use balancer_user::model::{
    Circumstances, Condition, Conditions, Drainage, Entrance, GuardWish, Insistence, Mode, Rules, Sessions, State,
    Then, Verb, apply,
    pin::{Carrier, Network, Pin, Target},
};
use balancer_user::plan;
use balancer_user::sizes::Sizes;
use balancer_user::wire::{ExplainRequest, Explanation};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Services, and requests of each: 100,000 in all.
const ROUNDS: usize = 200;
const REQUESTS: usize = 500;
/// Whatever went wrong is found again by this number.
const SEED: u64 = 20_261_125;

const KEY: Key = Key { k0: 11, k1: 13 };
const HOSTS: usize = 3;
const LABELS: [&str; 6] = ["001", "002", "003", "004", "005", "006"];
const IDS: usize = 60;
/// Seconds.
const PINNED_AGO: u64 = 1000;
const VALUES: [&str; 4] = ["v0", "v1", "v2", "v3"];

#[test]
fn d1_explain_equals_the_data_path_on_100_000_requests() -> Result<()> {
    agree(Family::V4)
}

/// The client's address is of another kind: it chooses among backends, and pins are by networks of it.
#[test]
fn d1_explain_equals_the_data_path_over_ipv6() -> Result<()> {
    agree(Family::V6)
}

fn agree(family: Family) -> Result<()> {
    let lab = Lab::builder("agree").hook(Hook::Tc).backends(HOSTS).family(family).build()?;
    let world = World::of(&lab)?;
    lab.director().run(|| Agreement::new(&lab, &world)?.hold())
}

/// Everything that the two sides share.
struct Agreement<'a> {
    world: &'a World,
    random: StdRng,
    config: Config,
    state: State,
    conditions: Conditions,
    ebpf: aya::Ebpf,
    plane: maps::Maps,
    pins: Pins,
    hosts: Vec<IpAddr>,
    family: Family,
    /// The client's next port.
    port: u16,
    /// How requests were decided.
    reasons: std::collections::BTreeMap<String, u64>,
}

/// A request, and what is asked of `explain`.
struct Asked {
    bytes: Vec<u8>,
    request: ExplainRequest,
}

impl<'a> Agreement<'a> {
    fn new(lab: &Lab, world: &'a World) -> Result<Self> {
        let text = format!(
            "name = \"{}\"\ninterfaces = {:?}\nsources = {:?}\nflows = 65536\nsessions = 4096\n[[service]]\n\
             name = \"shop\"\nlisten = \"{}\"\n",
            lab.name(),
            lab.interfaces(),
            lab.sources().iter().map(ToString::to_string).collect::<Vec<_>>(),
            lab.service(),
        );
        let config = Config::parse(&text)?;
        let sizes = Sizes::of(&config);
        let bytes = object::bytes(None).map_err(|failure| anyhow::anyhow!("{failure}"))?;
        let plans = object::maps(&bytes, &sizes)?;
        let pins = Pins::new(config.pin_dir());
        pins.make()?;
        let mut ebpf = load::load(&bytes, &pins, &plans, false)?;
        load::verify(&mut ebpf, false)?;
        let mut plane = maps::Maps::open(pins.clone())?;
        let (sources, source_count) = plan::sources(&config);
        plane.set_globals(&Globals {
            session_key: KEY,
            cookie_key: KEY,
            isn_key: KEY,
            flows: sizes.usable_flows,
            stashes: sizes.stashes,
            bucket_mask: plane.buckets() - 1,
            source_count,
            flow_idle_seconds: 60,
            sources,
        })?;
        let mut state = State::default();
        let service = state.ensure_service("shop").map_err(|refusal| anyhow::anyhow!("{refusal}"))?.id;
        plane.set_addresses(&plan::addresses(&config, &state))?;
        let listen = config.services[0].listen;
        plane.set_listener(plan::listener_key(listen), plan::listener(service, listen.into(), plan::UNLEARNED))?;
        Ok(Self {
            world,
            random: StdRng::seed_from_u64(SEED),
            config,
            state,
            conditions: Conditions::default(),
            ebpf,
            plane,
            pins,
            hosts: lab.backends().iter().map(|node| lab.address_of(node)).collect(),
            family: lab.family(),
            port: 1024,
            reasons: std::collections::BTreeMap::new(),
        })
    }

    fn hold(mut self) -> Result<()> {
        for round in 0..ROUNDS {
            self.change().with_context(|| format!("round {round}"))?;
            for request in 0..REQUESTS {
                let asked = self.ask();
                let said = self.explain(&asked)?;
                let done = self.send(&asked)?;
                let expected = match said.backend {
                    Some(backend) => Done::Syn(backend),
                    None => Done::Unavailable,
                };
                ensure!(
                    done == expected,
                    "round {round}, request {request}: {done:?}, but explain says {said:?} of\n{}",
                    String::from_utf8_lossy(&asked.bytes)
                );
                *self.reasons.entry(said.reason).or_default() += 1;
            }
        }
        println!("{} requests, seed {SEED}: {:?}", ROUNDS * REQUESTS, self.reasons);
        // A test that only ever met the easy ones would prove little.
        for reason in ["pin", "override", "bound", "moved", "route", "adopted", "canary", "active", "rejected"] {
            ensure!(
                self.reasons.get(reason).is_some_and(|count| *count > 100),
                "hardly any: {reason}: {:?}",
                self.reasons
            );
        }
        Ok(())
    }

    fn label(&mut self) -> Label {
        LABELS[self.random.random_range(0..LABELS.len())].parse().unwrap_or_else(|_| unreachable!("a label"))
    }

    /// Another state of things, by some of the operators' verbs, some checks and some sessions.
    fn change(&mut self) -> Result<()> {
        let config = &mut self.config.services[0];
        config.missing_version = match self.random.random_range(0..2) {
            0 => balancer_user::config::MissingVersion::Active,
            _ => balancer_user::config::MissingVersion::Reject,
        };
        config.select = match self.random.random_range(0..2) {
            0 => balancer_user::config::Select::Explicit,
            _ => balancer_user::config::Select::Highest,
        };
        for _ in 0..6 {
            let verb = self.verb();
            let mut state = self.state.clone();
            let config = &self.config.services[0];
            let rules = Rules { select: config.select, order: config.order, family: config.listen.into() };
            let given = Circumstances {
                insistence: Insistence::Force,
                random: self.random.random(),
                ..Circumstances::new(rules, &self.conditions)
            };
            // Refusals are no changes.
            if apply(&mut state, "shop", &given, &verb).is_ok() {
                self.state = state;
            }
        }
        let service = self.state.service("shop").context("no service")?.clone();
        for backend in service.versions.iter().flat_map(|version| &version.backends) {
            let up = self.random.random_bool(0.8);
            let condition = if up { Condition::Up } else { Condition::Down };
            self.conditions.0.insert(backend.id, condition);
            let weight = [0, 1, 50, 100, 1000][self.random.random_range(0..5)];
            self.plane.set_backend(backend.id, &plan::backend(backend, up, weight))?;
            let passed_over = self.random.random_bool(0.15);
            self.pass_over(backend.id, passed_over)?;
        }
        // As if they had been written a while ago, so that those whose time is over are over in this second already: between what
        // explain says and what the program does, the next one may begin.
        let (values, sources) = plan::pins(&self.state, 0, u64::from(Now::read().seconds).saturating_sub(PINNED_AGO));
        self.plane.set_pins(&values, &sources)?;
        self.plane.publish(service.id, plan::policy(&service, &self.config.services[0], &self.conditions))?;
        self.bind_some(service.id)
    }

    /// As if the data path had found a backend not to answer.
    fn pass_over(&mut self, id: u16, passed_over: bool) -> Result<()> {
        const BYTES: usize = size_of::<Backend>();
        let mut backends: Array<_, [u8; BYTES]> =
            Map::Array(MapData::from_pin(self.pins.map(map::BACKENDS))?).try_into()?;
        let mut bytes = backends.get(&id.into(), 0)?;
        let (until, failures) = (std::mem::offset_of!(Backend, shunned_until), std::mem::offset_of!(Backend, failures));
        let value = if passed_over { Now::read().milliseconds + 3_600_000 } else { 0 };
        bytes[until..until + 8].copy_from_slice(&value.to_ne_bytes());
        let failed: u64 = if passed_over { self.random.random_range(1..6) } else { 0 };
        bytes[failures..failures + 8].copy_from_slice(&failed.to_ne_bytes());
        Ok(backends.set(u32::from(id), bytes, 0)?)
    }

    fn verb(&mut self) -> Verb {
        let label = self.label();
        match self.random.random_range(0..20) {
            0..=6 => {
                let count = self.random.random_range(1..=3);
                let backends = (0..count).map(|_| {
                    let host = self.hosts[self.random.random_range(0..self.hosts.len())];
                    let route = self.random.random_range(0..8);
                    let address = SocketAddr::new(host, self.random.random_range(8000..8050));
                    format!("{address},route=n{route}").parse()
                });
                let backends = backends.filter_map(Result::ok).collect();
                let entrance = if self.random.random_bool(0.3) { Entrance::Staged } else { Entrance::Normal };
                Verb::Add { label, backends, entrance }
            }
            7 => Verb::Remove { label },
            8 | 9 => Verb::Flip { label, mode: Mode::NewSessions },
            10 => Verb::Flip { label, mode: Mode::Forced },
            11 => {
                Verb::Rollback { sessions: if self.random.random_bool(0.5) { Sessions::Move } else { Sessions::Keep } }
            }
            12 => Verb::Adopt { label: self.random.random_bool(0.5).then_some(label) },
            13 => Verb::Drain { label, drainage: Drainage::Begin { deadline: None, then: Then::Keep } },
            14 | 15 => Verb::Canary {
                label,
                percent: "40".parse().unwrap_or_else(|_| unreachable!("a share")),
                guard: GuardWish::default(),
            },
            16 => match self.state.service("shop").and_then(|service| service.pins.first()) {
                Some(pin) => Verb::RemovePin { id: pin.id },
                None => Verb::Promote,
            },
            _ => Verb::AddPin { pin: Box::new(self.pin(label)) },
        }
    }

    fn pin(&mut self, label: Label) -> Pin {
        let hash = |text: &str| {
            let hash = hash_id(KEY, 0, text.as_bytes());
            Some((hash.tag, hash.bucket))
        };
        let family = self.family;
        // Of 22 or 24 bits, or as much of what is beside that: see `twin`.
        let network = |bits: u32, random: &mut StdRng| {
            let third = random.random_range(0..4u8) & (0xff << (24 - bits));
            let bits = if family == Family::V6 { bits + 24 } else { bits };
            Network { address: family.of(Ipv4Addr::new(10, 77, third, 0)), bits }
        };
        let value = VALUES[self.random.random_range(0..VALUES.len())];
        let id = id(self.random.random_range(0..IDS));
        let (carrier, hash) = match self.random.random_range(0..5) {
            0 => (Carrier::Cookie("pin".to_owned()), hash(value)),
            1 => (Carrier::Header("x-pin".to_owned()), hash(value)),
            2 => (Carrier::Query("pin".to_owned()), hash(value)),
            3 => (Carrier::Session, hash(&id)),
            _ => (Carrier::Source, None),
        };
        let bits = [22, 24][self.random.random_range(0..2)];
        let limited = hash.is_none() || self.random.random_bool(0.3);
        Pin {
            id: 0,
            to: if self.random.random_bool(0.15) { Target::Never } else { Target::Version(label) },
            carrier,
            hash,
            source: limited.then(|| network(bits, &mut self.random)),
            // Of the wall clock, which is at 0 when the pins are written: some expire at once.
            expires: self.random.random_bool(0.5).then_some(if self.random.random_bool(0.3) { 0 } else { 100_000 }),
            trace: self.random.random_bool(0.2),
            note: None,
        }
    }

    /// Sessions of versions that are, were and never were.
    fn bind_some(&mut self, service: u32) -> Result<()> {
        let table = maps::open_table(&self.pins)?;
        let globals = self.plane.globals()?;
        let versions = self.state.service("shop").map(|service| service.versions.clone()).unwrap_or_default();
        for index in 0..IDS {
            if self.random.random_bool(0.4) {
                continue;
            }
            let hash = hash_id(KEY, service, id(index).as_bytes());
            let version = versions.get(self.random.random_range(0..versions.len().max(1)));
            let kind = [KIND_ISSUED, KIND_PRESENTED, KIND_RENAMED][self.random.random_range(0..3)];
            let (at, generation, backend) = match version {
                Some(version) => {
                    let backend = version.backends[self.random.random_range(0..version.backends.len())].id;
                    let generation = match self.random.random_range(0..10) {
                        0 => version.generation.saturating_sub(1),
                        1 => version.birth().saturating_sub(1),
                        _ => version.generation,
                    };
                    (version.index, generation, u32::from(backend))
                }
                None => (self.random.random_range(0..16), 1, 0),
            };
            let binding = Binding::new(at, generation, backend, kind);
            bind(&table, &globals, &hash, binding.0, term(Now::read().seconds, 100_000), &Shelf::default());
        }
        Ok(())
    }

    fn ask(&mut self) -> Asked {
        let mut cookies = Vec::new();
        for _ in 0..[0, 1, 1, 1, 2, 4][self.random.random_range(0..6)] {
            cookies.push(self.id());
        }
        let mut path = "/shop".to_owned();
        if self.random.random_bool(0.2) {
            path.push_str(&format!(";jsessionid={}", self.id()));
        }
        let value = |random: &mut StdRng| VALUES[random.random_range(0..VALUES.len())];
        if self.random.random_bool(0.2) {
            path.push_str(&format!("?a=b&pin={}", value(&mut self.random)));
        }
        let mut headers = Vec::new();
        if self.random.random_bool(0.2) {
            headers.push(format!("X-Pin: {}", value(&mut self.random)));
        }
        if self.random.random_bool(0.2) {
            headers.push(format!("Cookie: pin={}", value(&mut self.random)));
        }
        let source = Ipv4Addr::new(10, 77, self.random.random_range(0..8), self.random.random());
        let source = self.family.of(source);
        let cookie = cookies.iter().map(|id| format!("JSESSIONID={id}")).collect::<Vec<_>>().join("; ");
        let cookie = if cookie.is_empty() { String::new() } else { format!("Cookie: {cookie}\r\n") };
        let more: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let bytes = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{cookie}{more}\r\n").into_bytes();
        Asked { bytes, request: ExplainRequest { cookies, path: Some(path), host: None, headers, source } }
    }

    /// One that may be known, with or without a route.
    fn id(&mut self) -> String {
        if self.random.random_bool(0.7) {
            return id(self.random.random_range(0..IDS));
        }
        match self.random.random_range(0..10) {
            route @ 0..8 => format!("STRANGER.n{route}"),
            _ => "STRANGER".to_owned(),
        }
    }

    fn explain(&self, asked: &Asked) -> Result<Explanation> {
        let service = self.state.service("shop").context("no service")?;
        explain::explain(&self.plane, service, &self.config.services[0], None, &asked.request, Now::read())
            .map_err(|failure| anyhow::anyhow!("{failure}"))
    }

    /// The request on a new connection; what the program made of it. Then the client leaves.
    fn send(&mut self, asked: &Asked) -> Result<Done> {
        self.port = if self.port == u16::MAX { 1024 } else { self.port + 1 };
        let listen = self.config.services[0].listen;
        let from = SocketAddr::new(asked.request.source, self.port);
        let way = Way { link: self.world.client, from, to: listen };
        let at = Numbers { seq: 1000, ack: 0, tsval: 5, tsecr: 0 };
        let (answer, _) = read(&self.run(&way, &greeting(&way, at)?)?).context("the SYN-ACK")?;
        let at = Numbers { seq: 1001, ack: answer.seq.wrapping_add(1), tsval: 6, tsecr: answer.tsval };
        let out = self.run(&way, &segment(&way, at, &asked.bytes)?)?;
        let done = done(&out)?;
        self.run(&way, &reset(&way, Numbers { seq: 1001 + asked.bytes.len() as u32, ..at })?)?;
        Ok(done)
    }

    fn run(&self, way: &Way, frame: &[u8]) -> Result<Vec<u8>> {
        let program: &SchedClassifier = self.ebpf.program(object::TC).context("no TC program")?.try_into()?;
        Ok(run(program, &skb_context(way.link.interface), frame)?.frame)
    }
}

/// What became of a request.
#[derive(Debug, PartialEq, Eq)]
enum Done {
    /// A leg is being opened.
    Syn(SocketAddr),
    /// The director has answered with a 503.
    Unavailable,
    Other(Vec<u8>),
}

fn done(frame: &[u8]) -> Result<Done> {
    let packet = SlicedPacket::from_ethernet(frame).context("read what came out")?;
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return Ok(Done::Other(frame.to_vec())) };
    let to: IpAddr = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => ip.header().destination_addr().into(),
        Some(NetSlice::Ipv6(ip)) => ip.header().destination_addr().into(),
        _ => return Ok(Done::Other(frame.to_vec())),
    };
    if tcp.syn() && !tcp.ack() {
        return Ok(Done::Syn(SocketAddr::new(to, tcp.destination_port())));
    }
    if tcp.payload().starts_with(b"HTTP/1.1 503 ") {
        return Ok(Done::Unavailable);
    }
    Ok(Done::Other(frame.to_vec()))
}

fn id(index: usize) -> String {
    format!("{index:032X}")
}
