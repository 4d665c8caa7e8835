//! `explain`: what the data path would do with a request, and why.
//!
//! It *is* the data path's code: a head is written, scanned, looked up and decided by the same core that the kernel runs
//! (D1), on copies of the maps, so that asking marks no session as seen.

#![forbid(unsafe_code)]

use std::{cell::OnceCell, collections::BTreeMap, net::SocketAddrV4};

use balancer_ebpf::{
    decide::{Backends, Choice, Decided, MISSING_GONE, Search, Why, decide},
    host::Machine,
    http::{Head, Scan, Scanned, Span, scan_request},
    layout::{
        Backend, Binding, Bucket, Buffer, Globals, KIND_RENAMED, MAX_BACKENDS, NONE, PIN_NO_CANARY, PIN_OVERRIDES,
        PIN_QUERY, Pin, PinKey, Policy, RULES_REJECT_AMBIGUOUS, SessionHash, SourceKey, pinned_version, target_backend,
        target_version,
    },
    pins::{self, Pins},
    plain::Plain,
    route::{self, Scratch},
    rules::{self, Ruled},
    sessions::{Shelf, Table, present, term},
    sip::session_hash,
    splice::Lookup,
};

use crate::{
    boot, config,
    dataplane::Dataplane,
    exit::Failure,
    model, plan,
    wire::{ExplainRequest, Explanation},
};

/// Copies of what a decision reads, made when they are read.
struct Copies<'a> {
    plane: &'a dyn Dataplane,
    buckets: BTreeMap<u32, OnceCell<Option<Bucket>>>,
    backends: Vec<OnceCell<Option<Backend>>>,
    /// By source, and by the kinds of keys.
    pins: [OnceCell<Option<Pin>>; PIN_QUERY as usize + 1],
}

impl Machine for Copies<'_> {
    type Cpu = Plain;
}

impl Table for Copies<'_> {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(&index)?.get_or_init(|| self.plane.bucket(index)).as_ref()
    }
}

impl Backends for Copies<'_> {
    fn backend(&self, id: u32) -> Option<&Backend> {
        let cell = self.backends.get(id as usize)?;
        cell.get_or_init(|| self.plane.backend(u16::try_from(id).ok()?).ok()).as_ref()
    }
}

impl Pins for Copies<'_> {
    fn pin(&self, key: &PinKey) -> Option<&Pin> {
        // A request is looked up once for each kind.
        self.pins.get(key.kind as usize)?.get_or_init(|| self.plane.pin(key)).as_ref()
    }
    fn source_pin(&self, key: &SourceKey) -> Option<&Pin> {
        self.pins[0].get_or_init(|| self.plane.source_pin(key)).as_ref()
    }
}

/// Now, on the clocks of the data path.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    pub seconds: u32,
    pub milliseconds: u64,
}

impl Now {
    /// This moment.
    pub fn read() -> Self {
        let elapsed = boot::elapsed();
        Self { seconds: elapsed.as_secs() as u32, milliseconds: boot::whole_millis(elapsed) }
    }
}

/// The rules of the address that a service listens on, and the services there.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    index: u32,
    listener: &'a config::Listener,
    services: Vec<(&'a model::Service, &'a config::Service)>,
}

impl<'a> Rules<'a> {
    /// `None` if there are none.
    pub fn of(config: &'a config::Config, state: &'a model::State, listen: SocketAddrV4) -> Option<Self> {
        let services = config.services_on(listen).filter_map(|service| Some((state.service(&service.name)?, service)));
        Some(Self {
            index: plan::rules_index(config, state, listen)?,
            listener: config.listener(listen)?,
            services: services.collect(),
        })
    }
}

/// Explains a request to the listener of `service`: to the service itself, or to the one that the listener's rules lead to.
pub fn explain(
    plane: &dyn Dataplane,
    service: &model::Service,
    config: &config::Service,
    rules: Option<&Rules<'_>>,
    request: &ExplainRequest,
    now: Now,
) -> Result<Explanation, Failure> {
    let mut steps = Vec::new();
    let Some(rules) = rules else { return explain_to(plane, service, config, request, now, steps) };
    match choose(plane, service, config, rules, request, &mut steps)? {
        Ok((service, config)) => {
            let explanation = explain_to(plane, service, config, request, now, steps)?;
            Ok(Explanation { service: Some(service.name.clone()), ..explanation })
        }
        Err(reason) => {
            Ok(Explanation { service: None, version: None, backend: None, reason: reason.to_owned(), steps })
        }
    }
}

/// The service that the rules in the kernel lead to; else the reason why they lead to none.
fn choose<'a>(
    plane: &dyn Dataplane,
    asked: &model::Service,
    config: &config::Service,
    rules: &Rules<'a>,
    request: &ExplainRequest,
    steps: &mut Vec<String>,
) -> Result<Result<(&'a model::Service, &'a config::Service), &'static str>, Failure> {
    let (Some(set), Some(policy)) = (plane.rules(rules.index)?, plane.policy(asked.id)?) else {
        return Err(Failure::other(format!("{} has no rules in the kernel", config.listen), ""));
    };
    let (buffer, head) = write(config, request, &policy)?;
    let scratch = rules::Scratch::default();
    scratch.begin::<Plain>(u32::from(request.source));
    let ruled = rules::find(&Machinery, &set, &buffer, &head, &scratch);
    // The rule of the last condition that was looked at: one more than end before it.
    let before = (scratch.looked_at::<Plain>() as usize).saturating_sub(1);
    let number = set.conditions.iter().take(before).filter(|condition| condition.service != NONE).count() + 1;
    let id = match ruled {
        Ruled::Matched => scratch.service::<Plain>(),
        Ruled::Unmatched | Ruled::Ambiguous => set.default,
    };
    let found = rules.services.iter().find(|(service, _)| service.id == id).copied();
    let rule = rules.listener.rules.get(number - 1);
    let of = rules.listener.listen;
    let rejects = set.flags & RULES_REJECT_AMBIGUOUS != 0;
    let name = found.map_or("?", |(service, _)| service.name.as_str());
    match ruled {
        Ruled::Matched => {
            let asks = rule.map_or("?".to_owned(), config::Rule::asks);
            steps.push(format!("rule {number} of {of} ({asks}) leads to {name}"));
        }
        Ruled::Unmatched if found.is_none() => {
            steps.push(format!("no rule of {of} matches, and there is no default service"));
            return Ok(Err("unmatched"));
        }
        Ruled::Unmatched => steps.push(format!("no rule of {of} matches: it goes to the default service {name}")),
        Ruled::Ambiguous => {
            let asks = rule.map_or("?".to_owned(), config::Rule::asks);
            steps.push(format!(
                "servers might read differently what rule {number} of {of} ({asks}) looks at: no rule matches"
            ));
            if rejects || found.is_none() {
                return Ok(Err("ambiguous"));
            }
            steps.push(format!("it goes to the default service {name}"));
        }
    }
    let found = found.ok_or_else(|| Failure::other(format!("the rules lead to service {id}, which is unknown"), ""))?;
    if found.0.id != asked.id {
        steps.push(format!("so it is not for {}", asked.name));
    }
    Ok(Ok(found))
}

/// Where the rules are looked at.
#[derive(Clone, Copy)]
struct Machinery;

impl Machine for Machinery {
    type Cpu = Plain;
}

impl rules::Conditions for Machinery {}

/// Explains a request to `service`.
fn explain_to(
    plane: &dyn Dataplane,
    service: &model::Service,
    config: &config::Service,
    request: &ExplainRequest,
    now: Now,
    mut steps: Vec<String>,
) -> Result<Explanation, Failure> {
    let globals = plane.globals()?;
    let Some(policy) = plane.policy(service.id)? else {
        return Err(Failure::other(format!("service `{}` has no policy in the kernel", service.name), ""));
    };
    let (buffer, head, ids) = scan(config, request, &policy, &mut steps)?;
    let copies = Copies {
        plane,
        buckets: ids.iter().flat_map(|id| buckets(&globals, service.id, &buffer, *id)).collect(),
        backends: (0..MAX_BACKENDS).map(|_| OnceCell::new()).collect(),
        pins: Default::default(),
    };
    let (binding, route, hash) = look_up(&copies, &globals, service, &policy, &buffer, &ids, now, &mut steps);

    let mut lookup = Lookup::default();
    lookup.begin(service.id, u32::from(request.source), term(now.seconds, policy.idle_seconds));
    (lookup.hash, lookup.binding, lookup.presented) = (hash, binding, u32::from(!ids.is_empty()));
    if policy.pins != 0 {
        pins::find(&copies, &globals, &policy, &buffer, &head, &mut lookup);
        steps.extend(pin_step(service, &lookup));
    }

    let mut search = Search::default();
    search.binding = binding;
    search.route = route;
    search.pin = lookup.pin.pin;
    search.presented = lookup.presented;
    search.now = now.milliseconds;
    search.source = u32::from(request.source);
    search.present_version = NONE;
    search.present_backend = NONE;
    search.tried_version = NONE;
    let mut choice = Choice::default();
    let decided = decide(&copies, &policy, &mut search, &mut choice);
    Ok(say(service, request, decided, choice, steps))
}

/// What a pin has to say.
fn pin_step(service: &model::Service, lookup: &Lookup) -> Option<String> {
    let pin = lookup.pin.pin;
    let version = service.versions.iter().find(|version| version.index == pinned_version(pin));
    match version {
        Some(version) if pin & 0xffff != 0 => {
            let what =
                if pin & PIN_OVERRIDES != 0 { "an operator's override of the session" } else { "the request's pin" };
            Some(format!("{what} (pin {}) wants {}", lookup.pin.id, version.label))
        }
        _ => (pin & PIN_NO_CANARY != 0).then(|| "the request's pin opts out of canaries".to_owned()),
    }
}

/// Writes the request's head and lets the core find the ids in it, in the order in which they are tried.
fn scan(
    config: &config::Service,
    request: &ExplainRequest,
    policy: &Policy,
    steps: &mut Vec<String>,
) -> Result<(Buffer, Head, Vec<Span>), Failure> {
    let (buffer, head) = write(config, request, policy)?;
    let from_cookies = head.ids.iter().take(head.id_count as usize).copied();
    // C21: the path counts only if no cookie has an id.
    let ids: Vec<Span> = if head.id_count > 0 {
        from_cookies.collect()
    } else {
        [head.path_id].into_iter().filter(|id| id.len > 0).collect()
    };
    steps.push(match (head.id_count, ids.len()) {
        (0, 0) => format!("no session id: no cookie `{}`, no `;{}=` in the path", config.cookie, config.parameter),
        (0, _) => format!("a session id in the path, as `;{}=`", config.parameter),
        (1, _) => format!("a session id in the cookie `{}`", config.cookie),
        (count, _) => format!("{count} session ids in cookies `{}`: the first that is known counts", config.cookie),
    });
    Ok((buffer, head, ids))
}

/// Writes the request's head and lets the core read it.
fn write(config: &config::Service, request: &ExplainRequest, policy: &Policy) -> Result<(Buffer, Head), Failure> {
    let path = request.path.as_deref().unwrap_or("/");
    let cookies: Vec<String> = request.cookies.iter().map(|id| format!("{}={id}", config.cookie)).collect();
    let cookies = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
    let host = request.host.clone().unwrap_or_else(|| config.listen.to_string());
    let headers: String = request.headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{cookies}{headers}\r\n");

    let mut buffer = Buffer::new();
    buffer.fill(0, head.as_bytes());
    let mut scan = Scan::new();
    let len = u32::try_from(head.len()).unwrap_or(u32::MAX);
    let scanned = scan_request::<Plain>(&mut scan, &buffer, len, &policy.rule);
    if scanned != Scanned::Complete {
        return Err(Failure::usage(
            format!("that is no request that the director would steer by session: {scanned:?}"),
            "give a path that begins with / and a cookie without blanks, as the client sends them",
        ));
    }
    Ok((buffer, scan.head))
}

fn buckets(globals: &Globals, service: u32, buffer: &Buffer, id: Span) -> [(u32, OnceCell<Option<Bucket>>); 2] {
    let hash = session_hash(globals.session_key, service, buffer, id);
    [hash.bucket as u32, (hash.bucket >> 32) as u32].map(|index| (index & globals.bucket_mask, OnceCell::new()))
}

/// The binding of the first id that is known, or 0; where the route of the first leads that has one and is not, or [`NONE`];
/// and the hash of the id that is known, else of the first.
#[expect(clippy::too_many_arguments, reason = "a step of `explain`, apart only to be read apart")]
fn look_up(
    copies: &Copies<'_>,
    globals: &Globals,
    service: &model::Service,
    policy: &Policy,
    buffer: &Buffer,
    ids: &[Span],
    now: Now,
    steps: &mut Vec<String>,
) -> (u64, u32, SessionHash) {
    let mut routed = NONE;
    let mut first = None;
    for id in ids {
        let hash = session_hash(globals.session_key, service.id, buffer, *id);
        first.get_or_insert(hash);
        let found = present(copies, globals, &hash, term(now.seconds, policy.idle_seconds), &Shelf::default());
        if found.binding == 0 {
            let shown = short_hash(hash.tag);
            if routed == NONE && policy.route_count != 0 {
                routed = route::find::<Plain>(policy, buffer, *id, &Scratch::default());
                let backend = service.backend(target_version(routed), target_backend(routed));
                if let Some((version, route)) = backend.and_then(|(version, b)| Some((version, b.route?))) {
                    steps.push(format!("id {shown}: not known; it ends in `{route}`, a route of {}", version.label));
                    continue;
                }
            }
            steps.push(format!("id {shown}: not known"));
            continue;
        }
        let binding = Binding(found.binding);
        let version = service.versions.iter().find(|version| version.index == binding.version());
        steps.push(match version {
            Some(version) if version.generation == binding.generation() => {
                let renamed = binding.kind() == KIND_RENAMED;
                let now = if renamed { ", under another id now" } else { "" };
                format!("id {}: bound to {}{now}", short_hash(hash.tag), version.label)
            }
            _ => format!("id {}: bound to a version that was removed or that it was moved from", short_hash(hash.tag)),
        });
        return (found.binding, routed, hash);
    }
    (0, routed, first.unwrap_or_default())
}

fn say(
    service: &model::Service,
    request: &ExplainRequest,
    decided: Decided,
    choice: Choice,
    mut steps: Vec<String>,
) -> Explanation {
    let nowhere = |reason: &str, steps| Explanation {
        service: None,
        version: None,
        backend: None,
        reason: reason.to_owned(),
        steps,
    };
    match decided {
        Decided::Chosen => {}
        Decided::Missing => {
            steps.push(match choice.missing {
                MISSING_GONE => {
                    "its version is gone, and the service rejects such requests (missing_version)".to_owned()
                }
                _ => "that version has no backend that takes work, and no other will do".to_owned(),
            });
            return nowhere("rejected", steps);
        }
        Decided::Nobody => {
            steps.push("no version has a backend that takes work".to_owned());
            return nowhere("none", steps);
        }
    }
    let version = service.versions.iter().find(|version| version.index == choice.version);
    let label = version.map(|version| version.label.clone());
    let backend = version.and_then(|version| version.backends.iter().find(|b| u32::from(b.id) == choice.backend));
    let shown = label.as_ref().map_or("?", |label| label.as_str());
    let why = Why::ALL.into_iter().find(|why| *why as u32 == choice.why).unwrap_or_default();
    let reason = why.label().to_owned();
    // Where the session's memory is, as far as that is known.
    let home = matches!(why, Why::Bound | Why::Route);
    if choice.version_down != 0 {
        steps.push(format!("its version has no backend that takes work: {shown} stands in"));
    } else if why == Why::Adopted {
        steps.push(format!("ids that nobody knows are adopted into {shown}"));
    } else if matches!(why, Why::Pinned | Why::Overridden) {
        steps.push(format!("so it gets {shown}, whatever its session"));
    } else if why == Why::Canary {
        steps.push(format!("of the new sessions, those from {} get the canary {shown}", request.source));
    } else if !home {
        steps.push(format!("new sessions get {shown}"));
    }
    let address = backend.map(|backend| backend.address);
    if let Some(address) = address {
        steps.push(match (home, choice.backend_down != 0) {
            (true, false) => format!("the session lives on {address}"),
            (true, true) => format!("the session's backend takes no work: {address} gets the request"),
            (false, _) => format!("of its backends, {address} is the one for {}", request.source),
        });
    }
    Explanation { service: None, version: label, backend: address, reason, steps }
}

/// How sessions are told apart in print.
pub fn short_hash(tag: u64) -> String {
    format!("{:08x}", tag >> 32)
}
