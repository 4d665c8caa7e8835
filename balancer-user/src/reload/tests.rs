//! Tables of two configs and what a reload makes of them.

use super::*;
use crate::{
    model::{Circumstances, Condition, Entrance, Rules, Verb, apply},
    wire::How::{self, FirstStart, Force, Live, Restart},
};

const OLD: &str = r#"
name = "lab"
interfaces = ["b1"]
sources = ["10.60.254.1"]
[snapshot]
every = "10s"
[[service]]
name = "shop"
listen = "10.60.255.1:80"
idle = "30m"
select = "explicit"
[service.health]
path = "/health"
[[service.version]]
label = "001"
backends = ["10.60.1.2:8080"]
[[service.version]]
label = "002"
backends = ["10.60.2.2:8080"]
"#;

/// 001 and 002 are there and healthy, 001 is active.
fn state(config: &Config) -> (State, Conditions) {
    let mut state = State::default();
    let conditions = Conditions([(0, Condition::Up), (1, Condition::Up)].into());
    for service in &config.services {
        state.ensure_service(&service.name).unwrap();
        let rules = Rules { select: service.select, order: service.order, family: service.listen.into() };
        for version in &service.versions {
            let (label, backends) = (version.label.clone(), version.backends.clone());
            let verb = Verb::Add { label, backends, entrance: Entrance::Normal };
            apply(&mut state, &service.name, &Circumstances::new(rules, &conditions), &verb).unwrap();
        }
    }
    (state, conditions)
}

fn compare(new: &str, users: Users) -> Vec<Difference> {
    let old = Config::parse(OLD).unwrap();
    let new = Config::parse(new).unwrap_or_else(|error| panic!("{error}: {}\n{new}", error.fix));
    let (state, conditions) = state(&old);
    let users = [("shop".to_owned(), users)].into();
    differences(&old, &new, &Given { state: &state, conditions: &conditions, users: &users })
}

const SOME: Users = Users { sessions: 3, flows: 2, in_flight: 1 };

#[test]
fn one_change_of_the_file() {
    let metrics = "[metrics]\nlisten = \"127.0.0.1:9114\"\n[snapshot]";
    // What is replaced, by what, and with users there: the key, what a reload makes of it, and a part of what is said.
    let table: &[(&str, &str, &str, How, &str)] = &[
        ("idle = \"30m\"", "idle = \"10m\"", "shop: idle 30m -> 10m", Live, "next request"),
        ("path = \"/health\"", "", "shop: health.path /health -> not there", Live, "checks begin anew"),
        ("path =", "interval = \"5s\"\npath =", "shop: health.interval 1s -> 5s", Live, "checks"),
        ("path =", "timeout = \"5s\"\npath =", "shop: health.timeout 1s -> 5s", Live, "checks"),
        ("path =", "rise = 3\npath =", "shop: health.rise 1 -> 3", Live, "checks"),
        ("path =", "fall = 3\npath =", "shop: health.fall 2 -> 3", Live, "checks"),
        ("path =", "slow_start = \"9s\"\npath =", "shop: health.slow_start not there -> 9s", Live, "come back"),
        ("idle =", "rename_grace = \"9s\"\nidle =", "shop: rename_grace 30s -> 9s", Live, "renamed from now on"),
        ("idle =", "retire = \"empty\"\nidle =", "shop: retire never -> empty", Live, "once a second"),
        ("idle =", "missing_version = \"reject\"\nidle =", "shop: missing_version active -> reject", Live, "next"),
        ("idle =", "on_backend_restart = \"forget\"\nidle =", "shop: on_backend_restart keep -> forget", Live, "next"),
        ("idle =", "on_unframed = \"keep\"\nidle =", "shop: on_unframed close -> keep", Live, "next request"),
        ("idle =", "pool_legs = 7\nidle =", "shop: pool_legs 64 -> 7", Live, "stay until"),
        (
            "[snapshot]",
            "[hooks.pre_flip]\ncommand = [\"/bin/x\"]\n[snapshot]",
            "hooks.pre_flip not there -> /bin/x (10s at most)",
            Live,
            "from the next time on",
        ),
        (
            "[service.health]",
            "[service.hooks.during]\nurl = \"http://x/\"\n[service.health]",
            "shop: hooks.during not there -> POST http://x/ (10s at most)",
            Live,
            "from the next time on",
        ),
        (
            "[service.health]",
            "[service.canary]\nabort_over = \"2%\"\n[service.health]",
            "shop: canary.abort_over 5% -> 2%",
            Live,
            "begin from now on",
        ),
        ("every = \"10s\"", "every = \"never\"", "snapshot.every 10s -> never", Live, "from now on"),
        ("[snapshot]", metrics, "metrics.listen nowhere -> 127.0.0.1:9114", Live, "scrapes"),
        (
            "idle =",
            "cookie = \"SID\"\nparameter = \"jsessionid\"\nidle =",
            "shop: cookie JSESSIONID -> SID",
            Force,
            "3 sessions",
        ),
        ("idle =", "parameter = \"sid\"\nidle =", "shop: parameter jsessionid -> sid", Force, "begins anew"),
        ("255.1:80", "255.1:81", "shop: listen 10.60.255.1:80 -> 10.60.255.1:81", Force, "what is open there ends"),
        ("explicit", "highest", "shop: select explicit -> highest", Force, "new sessions would get 002 instead of 001"),
        ("idle =", "order = \"numeric\"\nidle =", "shop: order string -> numeric", Live, "go on getting"),
        (
            "name = \"lab\"",
            "name = \"lob\"\nsocket = \"/run/balancer/lab.sock\"\nstate = \"/var/lib/balancer/lab\"",
            "name lab -> lob",
            Restart,
            "another director",
        ),
        ("[\"b1\"]", "[\"b1\", \"b2\"]", "interfaces b1 -> b1, b2", Restart, "attached at a start"),
        (
            "254.1\"]",
            "254.1\", \"10.60.254.2\"]",
            "sources 10.60.254.1 -> 10.60.254.1, 10.60.254.2",
            Restart,
            "addresses",
        ),
        ("sources =", "sessions = 128\nsources =", "sessions 1048576 -> 128", Restart, "size for life"),
        ("sources =", "flows = 128\nsources =", "flows 262144 -> 128", Restart, "size for life"),
        ("sources =", "flow_idle = \"1m\"\nsources =", "flow_idle 15m -> 1m", Restart, "at a start"),
        ("sources =", "hook = \"xdp\"\nsources =", "hook auto -> xdp", Restart, "at a start"),
        ("sources =", "socket = \"/x\"\nsources =", "socket /run/balancer/lab.sock -> /x", Restart, "listens"),
        ("sources =", "state = \"/x\"\nsources =", "state /var/lib/balancer/lab -> /x", Restart, "files"),
        ("sources =", "bpffs = \"/x\"\nsources =", "bpffs /sys/fs/bpf -> /x", Restart, "pinned"),
        (
            "10.60.2.2:8080",
            "10.60.2.2:8081",
            "shop: version 002 10.60.2.2:8080 -> 10.60.2.2:8081",
            FirstStart,
            "the state decides",
        ),
        ("idle =", "active = \"002\"\nidle =", "shop: active 001 -> 002", FirstStart, "the state decides"),
        ("idle =", "adopt = \"002\"\nidle =", "shop: adopt off -> 002", FirstStart, "the state decides"),
    ];
    for (from, to, shown, how, says) in table {
        let found = compare(&OLD.replacen(from, to, 1), SOME);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), [*shown], "{to}");
        assert_eq!(found[0].how, *how, "{shown}");
        assert!(found[0].what.contains(says), "{shown}: {}", found[0].what);
        assert_eq!(found[0].fix.is_empty(), *how == Live, "{shown}: {}", found[0].fix);
    }
    assert_eq!(compare(OLD, SOME), []);
}

/// Where nobody is there, nobody is hurt.
#[test]
fn nothing_needs_force_where_nobody_is() {
    for (from, to) in
        [("idle =", "cookie = \"SID\"\nidle ="), ("255.1:80", "255.1:81"), ("idle =", "return = \"gateway\"\nidle =")]
    {
        let new = OLD.replacen(from, to, 1);
        let all = |users| compare(&new, users).into_iter().map(|difference| difference.how).collect::<Vec<_>>();
        assert!(all(Users::default()).iter().all(|how| *how == Live), "{to}");
        assert!(all(SOME).contains(&Force), "{to}");
        assert!(all(Users { sessions: 1, ..Users::default() }).contains(&Force), "{to}");
    }
}

/// An order that cannot order what is there.
#[test]
fn an_order_has_to_know_the_versions() {
    // The file's own versions are good; it is the state that has 001 and 002.
    let new = OLD.replacen("idle =", "order = \"semver\"\nidle =", 1);
    let new = new.replacen("\"001\"", "\"1.0.0\"", 1).replacen("\"002\"", "\"2.0.0\"", 1);
    let found = compare(&new, SOME);
    assert_eq!((found[0].to_string().as_str(), found[0].how), ("shop: order string -> semver", Restart));
    assert!(found[0].what.contains("`001` is not a semantic version"), "{}", found[0].what);
}

/// Versions of the file are for a first start: what was decided since stays, and the way there is said.
#[test]
fn versions_are_left_to_the_state() {
    let found = compare(&OLD.replacen("\"002\"", "\"003\"", 1), SOME);
    let shown: Vec<_> = found.iter().map(|one| (one.to_string(), one.how, one.fix.as_str())).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert_eq!(shown[0].0, "shop: version 003 not there -> 10.60.2.2:8080");
    assert_eq!(shown[0].2, "balancer version add shop 003 --backend 10.60.2.2:8080");
    assert_eq!(shown[1].0, "shop: version 002 10.60.2.2:8080 -> not there");
    assert!(shown[1].2.starts_with("balancer version rm shop 002"), "{shown:?}");
    assert!(found.iter().all(|one| one.how == FirstStart));
    assert_eq!(refusal(&found, false), None);
}

#[test]
fn services_come_and_go() {
    let second = "[[service]]\nname = \"blog\"\nlisten = \"10.60.255.1:81\"\n";
    let found = compare(&format!("{OLD}{second}"), SOME);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(
        (found[0].to_string().as_str(), found[0].how),
        ("blog: service not there -> http://10.60.255.1:81", Live)
    );
    let without = OLD[..OLD.find("[[service]]").unwrap()].to_owned() + second;
    let found = compare(&without, SOME);
    assert_eq!(found[1].to_string(), "shop: service http://10.60.255.1:80 -> not there");
    assert_eq!(found[1].how, Force);
    assert!(found[1].what.contains("3 sessions, 2 connections and 1 requests in flight"), "{}", found[1].what);
    assert_eq!(compare(&without, Users::default())[1].how, Live);
}

/// A refusal says everything that is in the way at once.
#[test]
fn refusals() {
    let new = OLD.replacen("10.60.254.1", "10.60.254.9", 1).replacen(
        "idle = \"30m\"",
        "idle = \"1m\"\ncookie = \"SID\"\nparameter = \"jsessionid\"",
        1,
    );
    let found = compare(&new, SOME);
    assert_eq!(found.iter().map(|one| one.how).collect::<Vec<_>>(), [Restart, Force, Live]);
    let failure = refusal(&found, false).unwrap();
    for says in ["nothing changed", "sources 10.60.254.1 -> 10.60.254.9", "shop: cookie JSESSIONID -> SID"] {
        assert!(failure.error.contains(says), "{failure}");
    }
    assert!(failure.hint.contains("only add behind") && failure.hint.contains("--force"), "{failure}");
    // Nobody can insist on what cannot be.
    let failure = refusal(&found, true).unwrap();
    assert!(failure.error.contains("sources") && !failure.error.contains("cookie"), "{failure}");
    assert_eq!(refusal(&found[1..], true), None);
}
