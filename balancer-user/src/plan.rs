//! From config and state to what the kernel's maps have to say. Pure: values in, values out.

#![forbid(unsafe_code)]

use std::{cell::Cell, collections::BTreeMap, net::SocketAddrV4};

use balancer_ebpf::layout::{
    BACKEND_UP, BACKEND_USED, Backend, CONDITION_ANY, CONDITION_BELOW, CONDITION_EQUALS, CONDITION_HEADER,
    CONDITION_HOST, CONDITION_PATH, CONDITION_QUERY, CONDITION_SOURCE, CONDITION_TARGET_CONTAINS,
    CONDITION_TARGET_PREFIX, Condition as RuleCondition, Listener, ListenerKey, MAX_CONDITIONS, MAX_VERSIONS, NONE,
    Name, OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS, PIN_COOKIE, PIN_EXPIRES, PIN_HEADER, PIN_NEVER, PIN_QUERY,
    PIN_SESSION, PIN_TRACED, PINS_COOKIE, PINS_HEADER, PINS_QUERY, PINS_SESSION, PINS_SOURCE, POLICY_GATEWAY,
    POLICY_KEEP_UNFRAMED, POLICY_POOL, POLICY_REJECT_MISSING, Pin, PinKey, Policy, ROLE_BACKEND, ROLE_LISTENER,
    ROLE_SOURCE, RULES_REJECT_AMBIGUOUS, RuleSet, SessionRule, SourceKey, Text, VERSION_BACKENDS, VERSION_ROUTES,
    VERSION_SERVES, VersionPolicy,
};
use balancer_ebpf::route;

use crate::{
    config::{self, Config, MissingVersion, OnAmbiguous, OnUnframed, Pool, ReturnPath, Rule, Select},
    label::Label,
    model::{
        self, Condition, Conditions, State,
        pin::{Carrier, Target},
    },
};

/// What a listener promises before anything was learned of the backends.
pub const UNLEARNED: Offers = Offers { bits: OFFER_TIMESTAMPS | OFFER_SACK | OFFER_SCALE, mss: MAX_MSS, scale: 7 };
/// The largest segment on Ethernet.
pub const MAX_MSS: u32 = 1460;

/// What SYN-ACKs promise in the backends' name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offers {
    /// `OFFER_*` bits.
    pub bits: u32,
    pub mss: u32,
    pub scale: u32,
}

impl Offers {
    /// What both can keep.
    pub fn intersect(self, other: Self) -> Self {
        Self { bits: self.bits & other.bits, mss: self.mss.min(other.mss), scale: self.scale.min(other.scale) }
    }
}

/// What a service's listener may promise.
///
/// `learned` has an item per healthy backend, `None` for one that was not looked at yet; until all were, the promise that
/// stands is only narrowed: a wider one could be broken by the backend that is still unknown.
pub fn offers(standing: Offers, learned: &[Option<Offers>]) -> Offers {
    let known = learned.iter().flatten().copied().reduce(Offers::intersect);
    match known {
        None => standing,
        Some(known) if learned.iter().all(Option::is_some) => known,
        Some(known) => known.intersect(standing),
    }
}

/// The map key of a listener.
pub fn listener_key(listen: SocketAddrV4) -> ListenerKey {
    ListenerKey { address: listen.ip().octets(), port: listen.port().to_be_bytes(), zero: [0; 2] }
}

/// The service that connections to a listener begin with: that of requests which no rule matches, else the first one there.
pub fn home(config: &Config, state: &State, listen: SocketAddrV4) -> Option<u32> {
    let default = config.listener(listen).and_then(|listener| listener.default.as_ref());
    let named = default.or_else(|| config.services_on(listen).next().map(|service| &service.name))?;
    state.service(named).map(|service| service.id)
}

/// The index of a listener's rules; `None` if it has none. It is the lowest number of its services, so it is the same after a restart
/// and stays while services come.
pub fn rules_index(config: &Config, state: &State, listen: SocketAddrV4) -> Option<u32> {
    config.listener(listen)?;
    config.services_on(listen).filter_map(|service| state.service(&service.name)).map(|service| service.id).min()
}

/// All rules, by the indexes of their listeners.
pub fn rules(config: &Config, state: &State) -> BTreeMap<u32, RuleSet> {
    let mut all = BTreeMap::new();
    for listener in &config.listeners {
        let Some(index) = rules_index(config, state, listener.listen) else { continue };
        let id = |name: &String| state.service(name).map(|service| service.id);
        let mut set = RuleSet::new(listener_key(listener.listen));
        set.default = listener.default.as_ref().and_then(id).unwrap_or(NONE);
        set.flags = if listener.on_ambiguous == OnAmbiguous::Reject { RULES_REJECT_AMBIGUOUS } else { 0 };
        // A service that the state does not know has no policy either.
        let conditions: Vec<RuleCondition> = listener
            .rules
            .iter()
            .filter_map(|rule| Some((rule, id(&rule.service)?)))
            .flat_map(|(rule, service)| conditions(rule, service))
            .collect();
        set.count = conditions.len().min(MAX_CONDITIONS) as u32;
        for (slot, condition) in set.conditions.iter_mut().zip(conditions) {
            *slot = condition;
        }
        all.insert(index, set);
    }
    all
}

/// A rule's conditions, of which the last one says where it leads to.
fn conditions(rule: &Rule, service: u32) -> Vec<RuleCondition> {
    // Texts were checked with the config; an impossible one matches nothing.
    let text = |text: &str| Text::new(text.as_bytes()).unwrap_or(Text { len: u32::MAX, ..Text::NONE });
    let of = |kind: u32| RuleCondition { kind, ..RuleCondition::ANY };
    let valued = |kind: u32, key: &str, value: Option<&String>| RuleCondition {
        name: name(key),
        text: value.map_or(Text::NONE, |value| text(value)),
        flags: if value.is_some() { CONDITION_EQUALS } else { 0 },
        ..of(kind)
    };
    let mut all = Vec::new();
    // What is cheap to look at comes first.
    all.extend(rule.source.map(|network| RuleCondition {
        network: network.address.octets(),
        mask: network.mask().to_be_bytes(),
        ..of(CONDITION_SOURCE)
    }));
    all.extend(rule.host.as_ref().map(|host| RuleCondition {
        text: text(&host.name),
        port: host.port.map_or(0, u32::from),
        flags: if host.below { CONDITION_BELOW } else { 0 },
        ..of(CONDITION_HOST)
    }));
    all.extend(rule.path.as_ref().map(|path| RuleCondition { text: text(path.as_str()), ..of(CONDITION_PATH) }));
    all.extend(
        rule.target_prefix
            .as_ref()
            .map(|part| RuleCondition { text: text(part.as_str()), ..of(CONDITION_TARGET_PREFIX) }),
    );
    all.extend(
        rule.target_contains
            .as_ref()
            .map(|part| RuleCondition { text: text(part.as_str()), ..of(CONDITION_TARGET_CONTAINS) }),
    );
    all.extend(rule.header.as_ref().map(|field| valued(CONDITION_HEADER, &field.name, field.value.as_ref())));
    all.extend(rule.query.as_ref().map(|query| valued(CONDITION_QUERY, &query.name, query.value.as_ref())));
    if all.is_empty() {
        all.push(of(CONDITION_ANY));
    }
    if let Some(last) = all.last_mut() {
        last.service = service;
    }
    all
}

/// The map value of a service's listener.
pub fn listener(service: u32, offers: Offers) -> Listener {
    Listener { service, offers: offers.bits, mss: offers.mss, scale: offers.scale }
}

/// The policy block of a service; the writer puts the generation of the service word into it.
pub fn policy(service: &model::Service, config: &config::Service, conditions: &Conditions) -> Policy {
    let mut versions = [VersionPolicy::NONE; MAX_VERSIONS as usize];
    for version in &service.versions {
        if let Some(slot) = versions.get_mut(version.index as usize) {
            *slot = version_policy(version);
        }
    }
    let index = |label: &Label| service.version(label).map(|version| version.index);
    let mut rule = SessionRule::new(name(&config.cookie), name(&config.parameter));
    let mut pins = 0;
    for pin in &service.pins {
        pins |= match &pin.carrier {
            Carrier::Source => PINS_SOURCE,
            Carrier::Session => PINS_SESSION,
            Carrier::Cookie(text) => {
                rule.pin_cookie = name(text);
                PINS_COOKIE
            }
            Carrier::Header(text) => {
                rule.pin_header = name(text);
                PINS_HEADER
            }
            Carrier::Query(text) => {
                rule.pin_query = name(text);
                PINS_QUERY
            }
        };
    }
    let mut policy = Policy {
        // Without any version the index points to a free slot, which the data path takes for "nothing to serve".
        active: service.active().map_or(0, |version| version.index),
        idle_seconds: u32::try_from(config.idle.as_secs()).unwrap_or(u32::MAX),
        fallback: fallback(service, config, conditions).map_or(0, |version| version.index),
        flags: policy_flags(config),
        pool_limit: config.pool_legs,
        adopt: service.adopt.as_ref().and_then(index).unwrap_or(NONE),
        grace_seconds: u32::try_from(config.rename_grace.as_secs()).unwrap_or(u32::MAX),
        pins,
        canary: service.canary.as_ref().and_then(|canary| index(&canary.label)).unwrap_or(NONE),
        canary_share: service.canary.as_ref().map_or(0, |canary| canary.percent.share()),
        canary_salt: service.canary.as_ref().map_or(0, |canary| canary.salt),
        versions,
        ..Policy::new(rule)
    };
    let entered = route::enter(&mut policy, &routes(service));
    debug_assert!(entered, "one of a thousand seeds serves");
    policy
}

/// Pins that requests carry, and those by source; the latter with the bits of their prefixes.
pub type Pins = (BTreeMap<PinKey, Pin>, BTreeMap<(SourceKey, u32), Pin>);

/// All pins, at a moment of both clocks: an end that is known by the wall clock is written in seconds of the boot clock, so that
/// it comes without the daemon.
pub fn pins(state: &State, unix: u64, boot: u64) -> Pins {
    let (mut values, mut sources) = Pins::default();
    for service in &state.services {
        for pin in &service.pins {
            let Some(value) = pin_value(service, pin, unix, boot) else { continue };
            if let Some(hash) = pin.session_hash() {
                let kind = match pin.carrier {
                    Carrier::Cookie(_) => PIN_COOKIE,
                    Carrier::Header(_) => PIN_HEADER,
                    Carrier::Query(_) => PIN_QUERY,
                    Carrier::Session | Carrier::Source => PIN_SESSION,
                };
                values.insert(PinKey { tag: hash.tag, bucket: hash.bucket, service: service.id, kind }, value);
            } else if let Some(network) = pin.source {
                let key = SourceKey { service: service.id.to_be_bytes(), address: network.address.octets() };
                sources.insert((key, network.bits), value);
            }
        }
    }
    (values, sources)
}

/// A pin's map value; `None` for one that leads nowhere.
fn pin_value(service: &model::Service, pin: &model::pin::Pin, unix: u64, boot: u64) -> Option<Pin> {
    let (version, birth) = match &pin.to {
        Target::Version(label) => service.version(label).map(|version| (version.index, version.birth()))?,
        Target::Never => (PIN_NEVER, 0),
    };
    let mask = pin.source.map_or(0, |network| network.mask());
    let until = pin.expires.map(|expires| boot.saturating_add(expires.saturating_sub(unix)));
    Some(Pin {
        version,
        birth,
        until: until.map_or(0, |until| until as u32),
        flags: if pin.trace { PIN_TRACED } else { 0 } | if until.is_some() { PIN_EXPIRES } else { 0 },
        network: pin.source.map_or([0; 4], |network| network.address.octets()),
        mask: mask.to_be_bytes(),
        id: pin.id,
        zero: 0,
    })
}

/// The routes that lead somewhere, each once: of versions that have the same one, to the active version, else to the one
/// that was added last.
fn routes(service: &model::Service) -> Vec<(&[u8], u32, u32)> {
    let versions = service.active().into_iter().chain(service.versions.iter().rev());
    let mut routes: Vec<(&[u8], u32, u32)> = Vec::new();
    for version in versions.filter(|version| version.routed) {
        for backend in &version.backends {
            let Some(route) = &backend.route else { continue };
            let text = route.as_str().as_bytes();
            if routes.iter().all(|(other, ..)| *other != text) {
                routes.push((text, version.index, u32::from(backend.id)));
            }
        }
    }
    routes
}

fn policy_flags(config: &config::Service) -> u32 {
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    flag(config.pool == Pool::Safe, POLICY_POOL)
        | flag(config.on_unframed == OnUnframed::Keep, POLICY_KEEP_UNFRAMED)
        | flag(config.return_path == ReturnPath::Gateway, POLICY_GATEWAY)
        | flag(config.missing_version == MissingVersion::Reject, POLICY_REJECT_MISSING)
}

/// What addresses are to the director: listeners', legs' sources, and the backends of services whose answers come back
/// to the clients' addresses.
pub fn addresses(config: &Config, state: &State) -> BTreeMap<[u8; 4], u32> {
    let listeners = config.services.iter().map(|service| (*service.listen.ip(), ROLE_LISTENER));
    let sources = (0u32..).zip(&config.sources).map(|(index, source)| (*source, ROLE_SOURCE | index));
    let gateways = config.services.iter().filter(|service| service.return_path == ReturnPath::Gateway);
    let versions = gateways.filter_map(|service| state.service(&service.name)).flat_map(|service| &service.versions);
    let backends = versions.flat_map(|version| &version.backends).map(|backend| (*backend.address.ip(), ROLE_BACKEND));
    let mut addresses = BTreeMap::new();
    for (address, role) in listeners.chain(sources).chain(backends) {
        *addresses.entry(address.octets()).or_default() |= role;
    }
    addresses
}

/// The version that stands in while the active one has no backend that takes work and the daemon has not noticed yet, or
/// is dead: the active one itself if there is no better.
fn fallback<'a>(
    service: &'a model::Service,
    config: &config::Service,
    conditions: &Conditions,
) -> Option<&'a model::Version> {
    let active = service.active()?;
    let usable = |version: &&model::Version| {
        version.label != active.label && version.held.is_none() && conditions.of_version(version) == Condition::Up
    };
    let other = match config.select {
        Select::Highest => service.sorted(config.order).into_iter().rev().find(usable),
        // What an operator chose before is the only other choice that somebody made.
        Select::Explicit => service.past.iter().rev().filter_map(|label| service.version(label)).find(usable),
    };
    Some(other.unwrap_or(active))
}

fn version_policy(version: &model::Version) -> VersionPolicy {
    let mut backends = [0u16; VERSION_BACKENDS];
    for (slot, backend) in backends.iter_mut().zip(&version.backends) {
        *slot = backend.id;
    }
    VersionPolicy {
        generation: version.generation,
        flags: VERSION_SERVES | if version.routed { VERSION_ROUTES } else { 0 },
        backend_count: version.backends.len().min(VERSION_BACKENDS) as u32,
        birth: version.birth(),
        backends,
    }
}

/// Names were checked with the config; an impossible one matches nothing.
fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap_or(Name { words: [0; 8], len: 0, zero: 0 })
}

/// The map value of a backend, with the weight that it has now.
pub fn backend(backend: &model::Backend, up: bool, weight: u32) -> Backend {
    Backend {
        address: backend.address.ip().octets(),
        port: backend.address.port().to_be_bytes(),
        zero: [0; 2],
        flags: BACKEND_USED | if up { BACKEND_UP } else { 0 },
        weight,
        shunned_until: Cell::new(0),
        legs: Cell::new(0),
        failures: Cell::new(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Circumstances, Entrance, Mode, Rules, Verb, apply};

    const TOML: &str = r#"
        name = "lab"
        interfaces = ["b1"]
        sources = ["10.60.254.1"]
        [[service]]
        name = "shop"
        listen = "10.60.255.1:80"
        idle = "20m"
    "#;

    #[test]
    fn a_policy_says_what_the_state_says() {
        let config = Config::parse(TOML).unwrap();
        let mut state = State::default();
        state.ensure_service("shop").unwrap();
        let rules = Rules { select: config.services[0].select, order: config.services[0].order };
        for (label, address) in [("001", "10.60.1.2:8080"), ("002", "10.60.2.2:8080")] {
            let verb = Verb::Add {
                label: label.parse().unwrap(),
                backends: vec![address.parse().unwrap()],
                entrance: Entrance::Normal,
            };
            apply(&mut state, "shop", &Circumstances::new(rules, &Conditions::default()), &verb).unwrap();
        }
        let service = state.service("shop").unwrap();
        let mut conditions = Conditions::default();
        assert_eq!(
            policy(service, &config.services[0], &conditions).fallback,
            0,
            "nothing else is known to be healthy"
        );
        conditions.0.insert(1, Condition::Up);
        let policy = policy(service, &config.services[0], &conditions);
        assert_eq!((policy.active, policy.fallback, policy.idle_seconds), (0, 1, 1200));
        assert_eq!(policy.rule.cookie, Name::new(b"JSESSIONID").unwrap());
        assert_eq!((policy.versions[0].generation, policy.versions[1].generation), (1, 2));
        assert_eq!((policy.versions[1].backend_count, policy.versions[1].backends[0]), (1, 1));
        assert_eq!(policy.versions[1].flags, VERSION_SERVES);
        assert_eq!(policy.versions[2], VersionPolicy::NONE);

        assert_eq!((policy.adopt, policy.grace_seconds, policy.route_count), (NONE, 30, 0));

        let backend = backend(&service.versions[1].backends[0], true, 70);
        assert_eq!((backend.address, backend.port), ([10, 60, 2, 2], [0x1f, 0x90]));
        assert_eq!((backend.flags, backend.weight), (BACKEND_USED | BACKEND_UP, 70));
        let key = listener_key(config.services[0].listen);
        assert_eq!((key.address, key.port), ([10, 60, 255, 1], [0, 80]));
    }

    /// C29, D1: a route leads to a version that serves users, and after a forced flip no longer to the old one.
    #[test]
    fn routes_lead_to_versions_that_serve() {
        let config = config::Config::parse(TOML).unwrap();
        let mut state = State::default();
        state.ensure_service("shop").unwrap();
        let rules = Rules { select: config::Select::Explicit, order: config.services[0].order };
        let mut verb = |verb: Verb| {
            apply(&mut state, "shop", &Circumstances::new(rules, &Conditions::default()), &verb).unwrap();
            let service = state.service("shop").unwrap();
            let policy = policy(service, &config.services[0], &Conditions::default());
            let led = routes(service).into_iter().map(|(text, version, backend)| {
                assert_eq!(policy.versions[version as usize].flags, VERSION_SERVES | VERSION_ROUTES);
                (String::from_utf8(text.to_vec()).unwrap(), version, backend)
            });
            let led: Vec<_> = led.collect();
            assert_eq!(policy.route_count as usize, led.len());
            led
        };
        let add = |label: &str, backends: &[&str]| Verb::Add {
            label: label.parse().unwrap(),
            backends: backends.iter().map(|text| text.parse().unwrap()).collect(),
            entrance: Entrance::Normal,
        };
        let flip = |label: &str, mode| Verb::Flip { label: label.parse().unwrap(), mode };
        let routes = |list: &[(&str, u32, u32)]| -> Vec<(String, u32, u32)> {
            list.iter().map(|(text, version, backend)| ((*text).to_owned(), *version, *backend)).collect()
        };
        assert_eq!(
            verb(add("v1", &["10.0.0.1:80,route=n1", "10.0.0.2:80,route=n2"])),
            routes(&[("n1", 0, 0), ("n2", 0, 1)])
        );
        // Nobody was sent to v2 yet: no made-up cookie leads there.
        verb(add("v2", &["10.0.0.3:80,route=n2", "10.0.0.4:80,route=n3"]));
        assert_eq!(verb(add("v3", &["10.0.0.5:80"])), routes(&[("n1", 0, 0), ("n2", 0, 1)]));
        // Both serve; n2 is a route of either, and the active one has it.
        let both = routes(&[("n2", 1, 2), ("n3", 1, 3), ("n1", 0, 0)]);
        assert_eq!(verb(flip("v2", Mode::NewSessions)), both);
        assert_eq!(verb(flip("v1", Mode::Forced)), routes(&[("n1", 0, 0), ("n2", 0, 1)]));
        // Whoever was there before finds back.
        assert_eq!(verb(flip("v2", Mode::NewSessions)), both);
        verb(flip("v3", Mode::NewSessions));
        assert_eq!(verb(Verb::Remove { label: "v2".parse().unwrap() }), routes(&[("n1", 0, 0), ("n2", 0, 1)]));
    }

    #[test]
    fn a_service_says_how_its_legs_are_used() {
        let flags = |line: &str| {
            let config = Config::parse(&format!("{TOML}{line}")).unwrap();
            let mut state = State::default();
            let service = state.ensure_service("shop").unwrap();
            let policy = policy(service, &config.services[0], &Conditions::default());
            (policy.flags, policy.pool_limit)
        };
        assert_eq!(flags(""), (POLICY_POOL, 64));
        assert_eq!(flags("pool_legs = 7"), (POLICY_POOL, 7));
        assert_eq!(flags("pool = \"off\"\non_unframed = \"keep\""), (POLICY_KEEP_UNFRAMED, 0));
        assert_eq!(flags("return = \"gateway\""), (POLICY_GATEWAY, 0));
    }

    #[test]
    fn backends_have_a_role_where_they_answer_through_the_director() {
        let backends = ["10.60.1.2:8080".parse().unwrap(), "10.60.1.2:8081".parse().unwrap()];
        let roles = |line: &str| {
            let config = Config::parse(&format!("{TOML}{line}")).unwrap();
            let mut state = State::default();
            state.ensure_service("shop").unwrap();
            let rules = Rules { select: config.services[0].select, order: config.services[0].order };
            let verb =
                Verb::Add { label: "001".parse().unwrap(), backends: backends.to_vec(), entrance: Entrance::Normal };
            apply(&mut state, "shop", &Circumstances::new(rules, &Conditions::default()), &verb).unwrap();
            addresses(&config, &state)
        };
        let always = [([10, 60, 254, 1], ROLE_SOURCE), ([10, 60, 255, 1], ROLE_LISTENER)];
        assert_eq!(roles(""), always.into());
        let with_backend = [([10, 60, 1, 2], ROLE_BACKEND)].into_iter().chain(always).collect();
        assert_eq!(roles("return = \"gateway\""), with_backend);
    }

    #[test]
    fn promises_are_what_every_backend_keeps() {
        let poor = Offers { bits: OFFER_SACK, mss: 1400, scale: 2 };
        let rich = UNLEARNED;
        // (standing, learned, expected)
        let table = [
            (UNLEARNED, vec![], UNLEARNED),
            (poor, vec![None], poor),
            (UNLEARNED, vec![Some(poor), Some(rich)], poor),
            // The one that is unknown may be the poor one.
            (poor, vec![Some(rich), None], poor),
            (UNLEARNED, vec![Some(poor), None], poor),
            // All are known: a promise may grow again.
            (poor, vec![Some(rich)], rich),
        ];
        for (standing, learned, expected) in table {
            assert_eq!(offers(standing, &learned), expected, "{standing:?} {learned:?}");
        }
    }
}
