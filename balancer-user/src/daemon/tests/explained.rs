//! `explain`, beside what the data path does.

use super::*;

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
