//! What the values have to do with each other, and the defaults.

use std::{collections::BTreeSet, net::SocketAddr, ops::Range, path::PathBuf, time::Duration};

use balancer_ebpf::layout::{MAX_NAME, MAX_SERVICES, MAX_SOURCES, MAX_VERSIONS, VERSION_BACKENDS};
use toml::Spanned;

use super::{Config, ConfigError, Health, Pool, Retire, ReturnPath, Service, Version, hooks::check_hooks, raw, rules};
use crate::{endpoint::Endpoint, family::Family, model::GuardDefault};

/// Room for flows, unless the config says otherwise.
const FLOWS: u32 = 262_144;
/// How often the sessions are written to disk, unless the config says otherwise.
const SNAPSHOT_EVERY: Duration = Duration::from_secs(10);
/// Idle legs that are kept for a backend, unless the config says otherwise.
const POOL_LEGS: u32 = 64;
/// Versions that are not retired by themselves: the active one, and the one before it for a rollback.
const KEEP: u32 = 2;
/// Room for sessions, unless the config says otherwise.
const SESSIONS: u32 = 1_048_576;

pub(super) fn check(text: &str, raw: raw::Config) -> Result<Config, ConfigError> {
    let name = raw.name.into_inner().0;
    let at = |span: Range<usize>, what: String, fix: &str| Err(ConfigError::at(text, span, what, fix));

    if raw.interfaces.as_ref().is_empty() {
        return at(
            raw.interfaces.span(),
            "`interfaces` is empty".into(),
            "name the interfaces of clients and backends",
        );
    }
    let interfaces = unique(text, "interface", raw.interfaces.into_inner(), Clone::clone)?;

    let span = raw.sources.span();
    if raw.sources.as_ref().is_empty() {
        return at(span, "`sources` is empty".into(), "name at least one address that backends answer to");
    }
    let sources = unique(text, "source", raw.sources.into_inner(), |source| source.0)?;
    for family in Family::ALL {
        if sources.iter().filter(|source| Family::of(**source) == family).count() > MAX_SOURCES {
            return at(span, format!("`sources` has more than {MAX_SOURCES} {family} addresses"), "remove some");
        }
    }

    let flows = number(text, "flows", raw.flows, FLOWS, 64..=4_194_304)?;
    let sessions = number(text, "sessions", raw.sessions, SESSIONS, 64..=268_435_456)?;
    let flow_idle = seconds(text, "flow_idle", raw.flow_idle, Duration::from_secs(15 * 60))?;

    let snapshot_every = every(text, raw.snapshot.every)?;

    if raw.service.is_empty() {
        return Err(ConfigError::whole("there is no [[service]]", "add one, with `name` and `listen`"));
    }
    if raw.service.len() > MAX_SERVICES as usize {
        return Err(ConfigError::whole(format!("there are more than {MAX_SERVICES} services"), "remove some"));
    }
    let mut names = BTreeSet::new();
    let mut services = Vec::new();
    for service in raw.service {
        let service = service.into_inner();
        let (name_span, listen_span) = (service.name.span(), service.listen.span());
        let service = check_service(text, service)?;
        if !names.insert(service.name.clone()) {
            return at(name_span, format!("there are two services `{}`", service.name), "give each a name of its own");
        }
        if sources.contains(&service.listen.ip()) {
            let what = format!("{} is both a listener and a source", service.listen.ip());
            return at(
                listen_span,
                what,
                "use different addresses: a leg's answer must not look like a client's packet",
            );
        }
        let family = Family::from(service.listen);
        let snat = service.return_path == ReturnPath::Snat;
        if snat && sources.iter().all(|source| Family::of(*source) != family) {
            let what = format!("{} is {family}, and `sources` has no {family} address", service.listen);
            let fix = format!("add one to `sources` for {family} backends to answer to, or write return = \"gateway\"");
            return at(listen_span, what, &fix);
        }
        services.push((service, listen_span));
    }
    let listeners = rules::check(text, raw.listener, &services)?;
    let services: Vec<Service> = services.into_iter().map(|(service, _)| service).collect();

    let metrics = raw.metrics.map(|metrics| check_metrics(text, metrics, &sources, &services)).transpose()?;

    let hooks = check_hooks(text, raw.hooks)?;

    Ok(Config {
        socket: raw.socket.unwrap_or_else(|| PathBuf::from(format!("/run/balancer/{name}.sock"))),
        state: raw.state.unwrap_or_else(|| PathBuf::from(format!("/var/lib/balancer/{name}"))),
        bpffs: raw.bpffs.unwrap_or_else(|| PathBuf::from("/sys/fs/bpf")),
        hook: raw.hook,
        name,
        interfaces,
        sources,
        flows,
        sessions,
        flow_idle,
        snapshot_every,
        metrics,
        hooks,
        services,
        listeners,
    })
}

/// Whoever reads metrics is not asked who he is: so nobody else's host does, unless that is said.
fn check_metrics(
    text: &str,
    raw: raw::Metrics,
    sources: &[std::net::IpAddr],
    services: &[Service],
) -> Result<SocketAddr, ConfigError> {
    let (span, listen) = (raw.listen.span(), raw.listen.into_inner().0);
    if !listen.ip().is_loopback() && !raw.allow_remote {
        let what =
            format!("`listen` = {listen} can be reached from other hosts, and nobody is asked for a password there");
        let fix = format!("write \"127.0.0.1:{}\", or add allow_remote = true", listen.port());
        return Err(ConfigError::at(text, span, what, fix));
    }
    let taken = sources.iter().any(|source| listen.ip() == *source);
    if taken || services.iter().any(|service| listen == service.listen) {
        let what = format!("`listen` = {listen} is the programs' own: no packet for it reaches the daemon");
        return Err(ConfigError::at(text, span, what, "write another address, for example \"127.0.0.1:9114\""));
    }
    Ok(listen)
}

fn check_service(text: &str, raw: raw::Service) -> Result<Service, ConfigError> {
    let name = raw.name.into_inner().0;
    let listen = raw.listen.into_inner().0;
    let cookie = token(text, "cookie", raw.cookie, "JSESSIONID")?;
    // C20: the path parameter is `jsessionid`, unless the cookie has a name of its own: then that.
    let parameter_default = if cookie == "JSESSIONID" { "jsessionid" } else { &cookie };
    let parameter = token(text, "parameter", raw.parameter, parameter_default)?;
    let idle = seconds(text, "idle", raw.idle, Duration::from_secs(30 * 60))?;
    let (pool, pool_legs) = check_pool(text, raw.return_path, raw.pool, raw.pool_legs)?;
    let rename_grace = seconds(text, "rename_grace", raw.rename_grace, Duration::from_secs(30))?;
    let health = check_health(text, raw.health)?;
    let canary = check_canary(text, raw.canary)?;
    if let Some(event) = &raw.hooks.event {
        let what = "`event` is a hook of the director, not of a service: it is told of everything";
        return Err(ConfigError::at(text, event.span(), what, "move it to [hooks.event]"));
    }
    let hooks = check_hooks(text, raw.hooks)?;
    let keep = match (raw.retire, raw.keep) {
        (Retire::Never, Some(keep)) => {
            let what = "`keep` is set, but no version is retired by itself";
            return Err(ConfigError::at(text, keep.span(), what, "remove it, or write retire = \"empty\""));
        }
        (_, keep) => number(text, "keep", keep, KEEP, 1..=MAX_VERSIONS)? as usize,
    };

    if raw.version.len() > MAX_VERSIONS as usize {
        let what = format!("service `{name}` has more than {MAX_VERSIONS} versions");
        return Err(ConfigError::whole(what, "remove some"));
    }
    let mut labels = BTreeSet::new();
    let mut versions = Vec::new();
    for version in raw.version {
        let (span, label) = (version.label.span(), version.label.into_inner());
        if !labels.insert(label.clone()) {
            let what = format!("service `{name}` has the version `{label}` twice");
            return Err(ConfigError::at(text, span, what, "give each version a label of its own"));
        }
        if let Some(what) = raw.order.refuses(&label) {
            return Err(ConfigError::at(text, span, what, "write it as 1.2.3, or set another `order`"));
        }
        let backends_span = version.backends.span();
        let backends = check_backends(text, version.backends.into_inner())?;
        let family = Family::from(listen);
        if let Some(other) = backends.iter().find(|backend| Family::from(backend.address) != family) {
            let what = format!("the service listens on {family} ({listen}), and {} is none", other.address);
            let fix = format!(
                "name an {family} address of that server: a connection does not change its address family here"
            );
            return Err(ConfigError::at(text, backends_span, what, fix));
        }
        if backends.is_empty() || backends.len() > VERSION_BACKENDS {
            let what = format!("version `{label}` has {} backends", backends.len());
            return Err(ConfigError::at(text, backends_span, what, format!("name 1 to {VERSION_BACKENDS}")));
        }
        versions.push(Version { label, backends });
    }
    for (key, label) in [("active", &raw.active), ("adopt", &raw.adopt)] {
        if let Some(label) = label.as_ref().filter(|label| !labels.contains(label.as_ref())) {
            let what = format!("`{key}` names the version `{}`, which service `{name}` does not have", label.as_ref());
            return Err(ConfigError::at(
                text,
                label.span(),
                what,
                format!("name one of its versions, or remove `{key}`"),
            ));
        }
    }

    Ok(Service {
        name,
        listen,
        select: raw.select,
        order: raw.order,
        cookie,
        parameter,
        idle,
        return_path: raw.return_path,
        pool,
        pool_legs,
        on_unframed: raw.on_unframed,
        rename_grace,
        active: raw.active.map(Spanned::into_inner),
        adopt: raw.adopt.map(Spanned::into_inner),
        on_backend_restart: raw.on_backend_restart,
        missing_version: raw.missing_version,
        retire: raw.retire,
        keep,
        health,
        canary,
        hooks,
        versions,
    })
}

fn check_pool(
    text: &str,
    return_path: ReturnPath,
    pool: Option<Spanned<Pool>>,
    legs: Option<Spanned<u32>>,
) -> Result<(Pool, u32), ConfigError> {
    let chosen = pool.as_ref().map(|pool| *pool.as_ref());
    let pool = match (return_path, chosen, pool) {
        // A leg that has a client's address is this client's alone.
        (ReturnPath::Gateway, Some(Pool::Safe), Some(pool)) => {
            let what = "`pool` = \"safe\" does not go with `return` = \"gateway\": a leg has its client's address";
            return Err(ConfigError::at(text, pool.span(), what, "write pool = \"off\", or return = \"snat\""));
        }
        (ReturnPath::Gateway, ..) => Pool::Off,
        (ReturnPath::Snat, chosen, _) => chosen.unwrap_or(Pool::Safe),
    };
    match (pool, legs) {
        (Pool::Off, Some(legs)) => {
            let what = "`pool_legs` is set, but no legs are pooled";
            let fix = match return_path {
                ReturnPath::Gateway => "remove it: legs in `gateway` are not pooled",
                ReturnPath::Snat => "remove it, or write pool = \"safe\"",
            };
            Err(ConfigError::at(text, legs.span(), what, fix))
        }
        (Pool::Off, None) => Ok((pool, 0)),
        (Pool::Safe, legs) => Ok((pool, number(text, "pool_legs", legs, POOL_LEGS, 1..=65_535)?)),
    }
}

fn check_canary(text: &str, raw: raw::Canary) -> Result<GuardDefault, ConfigError> {
    let default = GuardDefault::default();
    let most = u32::try_from(default.min_requests).unwrap_or(u32::MAX);
    Ok(GuardDefault {
        over: raw.abort_over.unwrap_or(default.over),
        min_requests: u64::from(number(text, "min_requests", raw.min_requests, most, 1..=1_000_000_000)?),
        sessions: raw.sessions.unwrap_or(default.sessions),
    })
}

fn check_health(text: &str, raw: Option<Spanned<raw::Health>>) -> Result<Health, ConfigError> {
    let (span, raw) = raw.map_or((0..0, raw::Health::default()), |raw| (raw.span(), raw.into_inner()));
    let second = Duration::from_secs(1);
    let health = Health {
        path: raw.path.map(|path| path.0),
        interval: raw.interval.map_or(second, |interval| interval.0),
        timeout: raw.timeout.map_or(second, |timeout| timeout.0),
        rise: raw.rise.unwrap_or(1),
        fall: raw.fall.unwrap_or(2),
        slow_start: raw.slow_start.map(|slow_start| slow_start.0),
    };
    if health.rise == 0 || health.fall == 0 {
        return Err(ConfigError::at(
            text,
            span,
            "`rise` and `fall` are at least 1",
            "write 1 for the first check that says so",
        ));
    }
    if health.interval < Duration::from_millis(50) {
        return Err(ConfigError::at(text, span, "`interval` is below 50ms", "write at least \"50ms\""));
    }
    Ok(health)
}

/// A version's backends; an error if an address or a route is there twice.
fn check_backends(text: &str, backends: Vec<Spanned<raw::Backend>>) -> Result<Vec<Endpoint>, ConfigError> {
    let places: Vec<_> = backends.iter().map(|backend| (backend.span(), backend.as_ref().0)).collect();
    unique(text, "backend", backends, |backend| backend.0.address)?;
    let mut routes = BTreeSet::new();
    for (span, endpoint) in &places {
        if let Some(route) = endpoint.route
            && !routes.insert(route)
        {
            let what = format!("two backends have the route `{route}`");
            return Err(ConfigError::at(text, span.clone(), what, "give each a route of its own, as its server has"));
        }
    }
    Ok(places.into_iter().map(|(_, endpoint)| endpoint).collect())
}

/// The values without their places; an error if one is there twice.
fn unique<T, U: Ord + Clone + std::fmt::Display>(
    text: &str,
    what: &str,
    values: Vec<Spanned<T>>,
    of: impl Fn(&T) -> U,
) -> Result<Vec<U>, ConfigError> {
    let mut seen = BTreeSet::new();
    let mut unique = Vec::new();
    for value in values {
        let (span, value) = (value.span(), of(value.as_ref()));
        if !seen.insert(value.clone()) {
            return Err(ConfigError::at(text, span, format!("the {what} {value} is there twice"), "remove one"));
        }
        unique.push(value);
    }
    Ok(unique)
}

fn number(
    text: &str,
    key: &str,
    value: Option<Spanned<u32>>,
    default: u32,
    range: std::ops::RangeInclusive<u32>,
) -> Result<u32, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    if range.contains(value.as_ref()) {
        return Ok(value.into_inner());
    }
    let fix = format!("write a number from {} to {}", range.start(), range.end());
    Err(ConfigError::at(text, value.span(), format!("`{key}` = {} is out of range", value.as_ref()), fix))
}

/// How often there is a snapshot.
fn every(text: &str, value: Option<Spanned<super::value::Every>>) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = value else { return Ok(Some(SNAPSHOT_EVERY)) };
    match value.as_ref().0 {
        Some(every) if every < Duration::from_millis(100) => {
            let what = "`every` is below 100ms";
            Err(ConfigError::at(text, value.span(), what, "write at least \"100ms\", or \"never\""))
        }
        every => Ok(every),
    }
}

/// A time that the data path counts in whole seconds.
fn seconds(
    text: &str,
    key: &str,
    value: Option<Spanned<super::value::Duration>>,
    default: Duration,
) -> Result<Duration, ConfigError> {
    let Some(value) = value else { return Ok(default) };
    let (span, duration) = (value.span(), value.into_inner().0);
    if duration.as_secs() >= 1 && duration.as_secs() <= u64::from(u32::MAX) / 2 {
        return Ok(duration);
    }
    Err(ConfigError::at(text, span, format!("`{key}` is out of range"), "write at least \"1s\""))
}

/// A name of a cookie or of a path parameter (RFC 6265: a token).
fn token(text: &str, key: &str, value: Option<Spanned<String>>, default: &str) -> Result<String, ConfigError> {
    let Some(value) = value else { return Ok(default.to_owned()) };
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = value.as_ref();
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(good) {
        return Ok(value.into_inner());
    }
    let fix = format!("write 1 to {MAX_NAME} letters, digits or any of !#$%&'*+-.^_`|~");
    Err(ConfigError::at(text, value.span(), format!("`{key}` = {name:?} is not a name of a cookie"), fix))
}
