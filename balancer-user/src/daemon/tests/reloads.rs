//! Reloads of the configuration.

use super::*;

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
