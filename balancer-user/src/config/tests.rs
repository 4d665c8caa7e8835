//! The config's errors as a table: what is written, and what the operator reads.

mod typed;

use super::*;

const GOOD: &str = r#"
name = "lab"
interfaces = ["client0", "b1"]
sources = ["10.60.254.1"]

[[service]]
name = "shop"
listen = "10.60.255.1:80"
[service.health]
path = "/health"
[[service.version]]
label = "001"
backends = ["10.60.1.2:8080"]
"#;

#[test]
fn defaults() {
    let config = Config::parse(GOOD).unwrap();
    assert_eq!(config.socket, Path::new("/run/balancer/lab.sock"));
    assert_eq!(config.state, Path::new("/var/lib/balancer/lab"));
    assert_eq!(
        config.pin_dir(),
        PathBuf::from(format!("/sys/fs/bpf/balancer/lab/v{}", balancer_ebpf::layout::VERSION))
    );
    assert_eq!((config.flows, config.sessions), (262_144, 1_048_576));
    assert_eq!(config.flow_idle, Duration::from_secs(900));
    assert_eq!(config.snapshot_every, Some(Duration::from_secs(10)));
    let shop = config.service("shop").unwrap();
    assert_eq!((shop.select, shop.order), (Select::Highest, Order::String));
    assert_eq!((shop.cookie.as_str(), shop.parameter.as_str()), ("JSESSIONID", "jsessionid"));
    assert_eq!(shop.idle, Duration::from_secs(1800));
    assert_eq!((shop.return_path, shop.on_unframed), (ReturnPath::Snat, OnUnframed::Close));
    assert_eq!((shop.pool, shop.pool_legs), (Pool::Safe, 64));
    assert_eq!((shop.rename_grace, &shop.adopt), (Duration::from_secs(30), &None));
    assert_eq!((shop.health.rise, shop.health.fall), (1, 2));
}

#[test]
fn a_service_over_ipv6() {
    let text = GOOD
        .replace("[\"10.60.254.1\"]", "[\"10.60.254.1\", \"fd00:60::fe:1\"]")
        .replace("10.60.255.1:80", "[fd00:60::ff:1]:80")
        .replace("10.60.1.2:8080", "[fd00:60::1:2]:8080");
    let config = Config::parse(&text).unwrap();
    let shop = config.service("shop").unwrap();
    assert_eq!(shop.listen.to_string(), "[fd00:60::ff:1]:80");
    assert_eq!(shop.versions[0].backends[0].to_string(), "[fd00:60::1:2]:8080");
    let sources = crate::plan::sources(&config);
    assert_eq!(sources.1, [1, 1]);
    assert_eq!(sources.0.map(|list| list[0].to_string()), ["10.60.254.1", "fd00:60::fe:1"]);
    // Behind a gateway legs start at the clients' own addresses.
    let alone = text.replace("\"10.60.254.1\", \"fd00:60::fe:1\"", "\"10.60.254.1\"");
    assert!(Config::parse(&alone).is_err());
    Config::parse(&alone.replace("listen =", "return = \"gateway\"\nlisten =")).unwrap();
}

/// C20.
#[test]
fn a_named_cookie_names_the_parameter() {
    let text = GOOD.replace("listen =", "cookie = \"SID\"\nlisten =");
    assert_eq!(Config::parse(&text).unwrap().services[0].parameter, "SID");
}

#[test]
fn errors_name_the_key_the_line_and_the_fix() {
    let table: &[(&str, &str, usize, &str, &str)] = &[
        (
            "name = \"lab\"",
            "name = \"lab\"\ncolour = 1",
            3,
            "unknown key `colour`",
            "remove it, or write one of: name, socket",
        ),
        ("path = \"/health\"", "pth = \"/health\"", 10, "unknown key `pth`", "path, interval"),
        ("label = \"001\"", "label = \"00 1\"", 12, "the version label `00 1` has a blank", "write it without"),
        ("\"10.60.1.2:8080\"", "\"10.60.1.2\"", 13, "`10.60.1.2` has no port", "write \"10.60.1.2:8080\""),
        (
            "\"10.60.1.2:8080\"",
            "\"10.60.1.300:80\"",
            13,
            "`backends`: `10.60.1.300:80` is not an address",
            "for example",
        ),
        ("\"10.60.1.2:8080\"", "", 13, "version `001` has 0 backends", "name 1 to"),
        ("10.60.255.1:80", "[::1]:80", 8, "`[::1]:80` is not an address and a port", "[2001:db8::2]:80"),
        ("10.60.255.1:80", "2001:db8::1", 8, "`2001:db8::1` has no port", "write \"[2001:db8::1]:80\""),
        ("10.60.255.1:80", "[fe80::1]:80", 8, "`[fe80::1]:80` is not an address and a port", "write both"),
        ("10.60.255.1:80", "[::ffff:10.0.0.1]:80", 8, "is not an address and a port", "write both"),
        ("\"10.60.254.1\"", "\"fd00::1\"", 8, "10.60.255.1:80 is IPv4, and `sources` has no IPv4 address", "add one"),
        (
            "\"10.60.1.2:8080\"",
            "\"[2001:db8::2]:8080\"",
            13,
            "the service listens on IPv4 (10.60.255.1:80), and [2001:db8::2]:8080 is none",
            "name an IPv4 address of that server",
        ),
        ("\"10.60.254.1\"", "\"fe80::1\"", 4, "`fe80::1` is not an address of a host", "write one"),
        ("10.60.255.1:80", "10.60.254.1:80", 8, "both a listener and a source", "different addresses"),
        ("\"10.60.254.1\"", "\"nowhere\"", 4, "`nowhere` is not an address of a host", "write one"),
        ("\"10.60.254.1\"", "", 4, "`sources` is empty", "at least one"),
        ("\"client0\", \"b1\"", "\"b1\", \"b1\"", 3, "the interface b1 is there twice", "remove one"),
        ("name = \"lab\"", "", 1, "the key `name` is missing", "add `name"),
        ("name = \"lab\"", "name = \"a/b\"", 2, "`a/b` is not a name", "write 1 to 32"),
        (
            "name = \"shop\"",
            "name = \"shop\"\nselect = \"newest\"",
            8,
            "`newest` is not a possible value",
            "\"highest\"",
        ),
        ("name = \"shop\"", "name = \"shop\"\nidle = \"soon\"", 8, "`soon` is not a time", "a unit"),
        ("name = \"shop\"", "name = \"shop\"\ncookie = \"a b\"", 8, "is not a name of a cookie", "write 1 to 64"),
        ("name = \"shop\"", "name = \"shop\"\norder = \"semver\"", 13, "`001` is not a semantic version", "1.2.3"),
        ("sources", "flows = 1\nsources", 4, "`flows` = 1 is out of range", "from 64"),
        ("name = \"shop\"", "name = \"shop\"\npool = \"on\"", 8, "`on` is not a possible value", "\"safe\""),
        ("name = \"shop\"", "name = \"shop\"\npool_legs = 0", 8, "`pool_legs` = 0 is out of range", "from 1"),
        (
            "name = \"shop\"",
            "name = \"shop\"\npool = \"off\"\npool_legs = 9",
            9,
            "no legs are pooled",
            "pool = \"safe\"",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\nreturn = \"gateway\"\npool = \"safe\"",
            9,
            "does not go with `return` = \"gateway\"",
            "pool = \"off\"",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\nreturn = \"gateway\"\npool_legs = 9",
            9,
            "no legs are pooled",
            "legs in `gateway`",
        ),
        ("name = \"shop\"", "name = \"shop\"\nreturn = \"dsr\"", 8, "`dsr` is not a possible value", "\"gateway\""),
        ("name = \"shop\"", "name = \"shop\"\non_unframed = \"drop\"", 8, "`drop` is not", "\"keep\""),
        ("[[service]]", "[snapshot]\nevery = \"often\"\n[[service]]", 7, "`often` is not a time", "or \"never\""),
        ("[[service]]", "[snapshot]\nevery = \"9ms\"\n[[service]]", 7, "`every` is below 100ms", "at least"),
        ("[[service]]", "[snapshot]\nfile = \"x\"\n[[service]]", 7, "unknown key `file`", "every"),
        (
            "[[service]]",
            "[metrics]\nlisten = \"0.0.0.0:9114\"\n[[service]]",
            7,
            "can be reached from other hosts",
            "allow_remote = true",
        ),
        ("[[service]]", "[metrics]\nlisten = \"127.0.0.1\"\n[[service]]", 7, "has no port", "127.0.0.1:9114"),
        (
            "[[service]]",
            "[metrics]\nlisten = \"here:1\"\n[[service]]",
            7,
            "`here:1` is not an address",
            "127.0.0.1:9114",
        ),
        ("[[service]]", "[metrics]\n[[service]]", 6, "the key `listen` is missing", "add `listen"),
        (
            "[[service]]",
            "[metrics]\nlisten = \"10.60.254.1:9114\"\nallow_remote = true\n[[service]]",
            7,
            "the programs' own",
            "another address",
        ),
        (
            "name = \"shop\"",
            "name = \"shop\"\nactive = \"009\"",
            8,
            "`active` names the version `009`, which service `shop` does not have",
            "or remove `active`",
        ),
        ("name = \"shop\"", "name = \"shop\"\nrename_grace = \"0s\"", 8, "`0s` is not a time", "a unit"),
        (
            "name = \"shop\"",
            "name = \"shop\"\nadopt = \"009\"",
            8,
            "`adopt` names the version `009`, which service `shop` does not have",
            "name one of its versions",
        ),
        (
            "[\"10.60.1.2:8080\"]",
            "[{ address = \"10.60.1.2:8080\", route = \"a.b\" }]",
            13,
            "`a.b` is not a route",
            "write 1 to 32",
        ),
        ("[\"10.60.1.2:8080\"]", "[{ address = \"10.60.1.2\" }]", 13, "`10.60.1.2` has no port", "10.60.1.2:8080"),
        (
            "[\"10.60.1.2:8080\"]",
            "[{ address = \"10.60.1.2:80\", colour = 3 }]",
            13,
            "unknown key `colour`",
            "address, route, weight",
        ),
        (
            "[\"10.60.1.2:8080\"]",
            "[{ address = \"10.60.1.2:80\", weight = 1001 }]",
            13,
            "1001 is not a weight",
            "write 0 to 1000",
        ),
        (
            "[\"10.60.1.2:8080\"]",
            "[{ address = \"10.0.0.1:80\", route = \"n1\" }, { address = \"10.0.0.2:80\", route = \"n1\" }]",
            13,
            "two backends have the route `n1`",
            "a route of its own",
        ),
        ("name = \"lab\"", "name = \"lab", 2, "", ""),
    ];
    for (from, to, line, what, fix) in table {
        let text = GOOD.replace(from, to);
        assert_ne!(text, GOOD, "{from}");
        let error = Config::parse(&text).expect_err(to);
        assert!(error.what.contains(what), "{to}: {error:?}");
        assert!(error.fix.contains(fix), "{to}: {error:?}");
        assert_eq!(error.line, Some(*line), "{to}: {error:?}");
    }
}

#[test]
fn snapshots_can_be_left_to_the_end() {
    let every = |value: &str| {
        let text = GOOD.replace("[[service]]", &format!("[snapshot]\nevery = {value:?}\n[[service]]"));
        Config::parse(&text).unwrap().snapshot_every
    };
    assert_eq!(every("1m"), Some(Duration::from_secs(60)));
    assert_eq!(every("never"), None);
}

#[test]
fn metrics_are_for_this_host_unless_more_is_said() {
    let listen = |lines: &str| {
        let text = GOOD.replace("[[service]]", &format!("[metrics]\n{lines}\n[[service]]"));
        Config::parse(&text).unwrap().metrics.unwrap().to_string()
    };
    assert_eq!(Config::parse(GOOD).unwrap().metrics, None);
    assert_eq!(listen("listen = \"127.0.0.1:9114\""), "127.0.0.1:9114");
    assert_eq!(listen("listen = \"[::1]:9114\""), "[::1]:9114");
    assert_eq!(listen("listen = \"0.0.0.0:9114\"\nallow_remote = true"), "0.0.0.0:9114");
}

#[test]
fn backends_with_and_without_a_route() {
    let text = GOOD
        .replace("[\"10.60.1.2:8080\"]", "[\"10.60.1.2:8080\", { address = \"10.60.2.2:8080\", route = \"n2\" }]")
        .replace("listen =", "adopt = \"001\"\nlisten =");
    let shop = Config::parse(&text).unwrap().services.remove(0);
    let backends: Vec<String> = shop.versions[0].backends.iter().map(ToString::to_string).collect();
    assert_eq!(backends, ["10.60.1.2:8080", "10.60.2.2:8080,route=n2"]);
    assert_eq!(shop.adopt.as_ref().map(Label::as_str), Some("001"));
}

#[test]
fn the_file_is_named() {
    let error = Config::load(Path::new("/nowhere/balancer.toml")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/balancer.toml: the config cannot be read"), "{error}");
}

#[test]
fn two_services_are_told_apart() {
    let second = "[[service]]\nname = \"NAME\"\nlisten = \"LISTEN\"\n";
    let with = |name: &str, listen: &str| {
        Config::parse(&format!("{GOOD}{}", second.replace("NAME", name).replace("LISTEN", listen)))
    };
    assert!(with("blog", "10.60.255.1:81").is_ok());
    assert!(with("shop", "10.60.255.1:81").unwrap_err().what.contains("two services `shop`"));
    assert!(with("blog", "10.60.255.1:80").unwrap_err().what.contains("two services listen"));
}

#[test]
fn legs_are_pooled_only_where_they_can_be() {
    let service = |lines: &str| {
        let text = GOOD.replace("listen =", &format!("{lines}\nlisten ="));
        let service = Config::parse(&text).unwrap().services.remove(0);
        (service.pool, service.pool_legs)
    };
    assert_eq!(service("pool = \"off\""), (Pool::Off, 0));
    assert_eq!(service("pool_legs = 3"), (Pool::Safe, 3));
    assert_eq!(service("return = \"gateway\""), (Pool::Off, 0));
    assert_eq!(service("return = \"gateway\"\npool = \"off\""), (Pool::Off, 0));
}

/// A service's own hooks come first, and a canary has a limit unless it is taken away.
#[test]
fn hooks_and_canaries() {
    let text = GOOD.replace(
        "[[service]]",
        "[hooks.pre_flip]\ncommand = [\"/bin/true\", \"a b\"]\n[hooks.post_flip]\nurl = \"http://127.0.0.1:9/x\"\n\
         timeout = \"3s\"\n[hooks.event]\ncommand = [\"/bin/true\"]\n[[service]]",
    );
    let text = text.replace(
        "[service.health]",
        "[service.hooks.pre_flip]\ncommand = [\"/bin/false\"]\n[service.canary]\nabort_over = \"0.5%\"\n[service.health]",
    );
    let config = Config::parse(&text).unwrap();
    let shown: Vec<String> = config.hooks_of("shop").all().map(|(key, hook)| format!("{key}: {hook}")).collect();
    let wanted = [
        "pre_flip: /bin/false (10s at most)",
        "post_flip: POST http://127.0.0.1:9/x (3s at most)",
        "event: /bin/true (10s at most)",
    ];
    assert_eq!(shown, wanted);
    assert_eq!(
        config.hooks_of("other").pre_flip.unwrap().action,
        Action::Command(vec!["/bin/true".into(), "a b".into()])
    );
    let canary = config.services[0].canary;
    assert_eq!((canary.over.to_string().as_str(), canary.min_requests), ("0.5%", 50));
    let canary = Config::parse(GOOD).unwrap().services[0].canary;
    assert_eq!((canary.over.to_string().as_str(), canary.min_requests), ("5%", 50));
    for (lines, what, fix) in [
        ("[hooks.pre_flip]", "does nothing", "add `command"),
        ("[hooks.pre_flip]\ncommand = []", "is empty", "/path"),
        ("[hooks.pre_flip]\ncommand = [\"true\"]", "`true` is not a whole path", "from / on"),
        ("[hooks.pre_flip]\ncommand = [\"/x\"]\nurl = \"http://x\"", "a `command` and a `url`", "remove one"),
        ("[hooks.pre_flip]\nurl = \"https://x/\"", "TLS is not spoken", "curl"),
        ("[hooks.pre_flip]\nurl = \"x/y z\"", "is not a web address", "http://HOST"),
        ("[hooks.during]\ncommand = [\"/x\"]\ntimeout = \"11m\"", "above 10m", "at most"),
        ("[hooks.during]\nshell = \"/x\"", "unknown key `shell`", "command"),
        ("[hooks.after]\ncommand = [\"/x\"]", "unknown key `after`", "post_flip"),
    ] {
        let error = Config::parse(&GOOD.replace("[[service]]", &format!("{lines}\n[[service]]"))).unwrap_err();
        assert!(error.what.contains(what) && error.fix.contains(fix), "{lines}: {error} / {}", error.fix);
        assert!(error.line.is_some(), "{lines}: {error}");
    }
    for (lines, what, fix) in [
        ("[service.hooks.event]\ncommand = [\"/x\"]", "not of a service", "[hooks.event]"),
        ("[service.canary]\nabort_over = \"often\"", "`often`", "never"),
        ("[service.canary]\nmin_requests = 0", "`min_requests` = 0", "1 to"),
        ("[service.canary]\nsessions = \"burn\"", "`burn`", "keep"),
    ] {
        let text = GOOD.replace("[service.health]", &format!("{lines}\n[service.health]"));
        let error = Config::parse(&text).unwrap_err();
        assert!(error.what.contains(what) && error.fix.contains(fix), "{lines}: {error} / {}", error.fix);
    }
}

/// A director with two services on one address, whose rules begin in line 10.
fn ruled(rules: &str) -> String {
    let service = |name: &str, host: u8| {
        format!(
            "[[service]]\nname = \"{name}\"\nlisten = \"10.60.255.1:80\"\n[[service.version]]\nlabel = \"001\"\n\
             backends = [\"10.60.{host}.2:8080\"]\n"
        )
    };
    format!(
        "\nname = \"lab\"\ninterfaces = [\"b1\"]\nsources = [\"10.60.254.1\"]\n\n[[listener]]\nlisten = \"10.60.255.1:80\"\n\
         {rules}\n{}{}",
        service("shop", 1),
        service("admin", 2)
    )
}

/// D19: every kind of condition, as it is written and as it is said; what it means is the core's.
#[test]
fn d19_rules_are_read() {
    let table = [
        ("path = \"/shop\"", "path /shop"),
        ("path = \"/\"", "path /"),
        ("host = \"Shop.Example.org\"", "host shop.example.org"),
        ("host = \"shop.example.org.:8080\"", "host shop.example.org:8080"),
        ("host = \"*.example.org\"", "host *.example.org"),
        ("host = \"[2001:DB8::1]:80\"", "host [2001:db8::1]:80"),
        ("target_prefix = \"/shop?a=\"", "target_prefix /shop?a="),
        ("target_contains = \"shop\"", "target_contains shop"),
        ("header = \"X-App\"", "header x-app"),
        ("header = \"X-App: Shop One \"", "header x-app: Shop One"),
        ("query = \"app\"", "query app"),
        ("query = \"app=Shop\"", "query app=Shop"),
        ("source = \"198.51.100.0/24\"", "source 198.51.100.0/24"),
        ("host = \"a.b\", path = \"/x\"", "host a.b, path /x"),
    ];
    for (written, said) in table {
        let text = ruled(&format!("default = \"admin\"\nrules = [{{ {written}, service = \"shop\" }}]"));
        let config = Config::parse(&text).unwrap_or_else(|error| panic!("{written}: {error}"));
        let listener = &config.listeners[0];
        assert_eq!(listener.rules[0].asks(), said);
        assert_eq!((listener.default.as_deref(), listener.on_ambiguous), (Some("admin"), OnAmbiguous::Default));
    }
    let everything = "rules = [{ path = \"/x\", service = \"shop\" }, { service = \"admin\" }]";
    let config = Config::parse(&ruled(everything)).unwrap();
    assert_eq!(config.listeners[0].rules[1].asks(), "everything");
    // Nobody is there for what no rule matches, so nobody gets what may be read in two ways.
    assert_eq!((&config.listeners[0].default, config.listeners[0].on_ambiguous), (&None, OnAmbiguous::Reject));
}

/// D19: what a rule cannot say.
#[test]
fn d19_rules_that_are_wrong_name_the_line_and_the_fix() {
    let rule = |written: &str| format!("default = \"admin\"\nrules = [\n  {{ {written}, service = \"shop\" }},\n]");
    let both = "{ path = \"/x\", service = \"shop\" }, { service = \"admin\" }";
    let table: Vec<(String, usize, &str, &str)> = vec![
        (rule("path = \"shop\""), 10, "`shop` is not a path", "/shop"),
        (rule("path = \"/shop/\""), 10, "`/shop/` is not a path", "without a slash at its end"),
        (rule("path = \"/a//b\""), 10, "is not a path", "empty segments"),
        (rule("path = \"/a/../b\""), 10, "is not a path", "dots"),
        (rule("path = \"/%73hop\""), 10, "is not a path", "%"),
        (rule("path = \"/a;b\""), 10, "is not a path", ";"),
        (rule(&format!("path = \"/{}\"", "a".repeat(balancer_ebpf::layout::MAX_TEXT))), 10, "is not a path", " bytes"),
        (rule("host = \"a b\""), 10, "`a b` is not a host", "*.example.org"),
        (rule("host = \"a..b\""), 10, "is not a host", "write a name"),
        (rule("host = \"*\""), 10, "`*` is not a host", "write a name"),
        (rule("host = \"a:080\""), 10, "is not a host", "port"),
        (rule("host = \"[::1\""), 10, "is not a host", "write a name"),
        (rule("target_prefix = \"shop\""), 10, "nothing that a target can begin with", "begin with /"),
        (rule("target_contains = \"a b\""), 10, "is no part of a target", "without blanks"),
        (rule("header = \"X App: a\""), 10, "is not a header", "Name: value"),
        (rule("query = \"a&b=c\""), 10, "is not a parameter", "name=value"),
        (rule("source = \"10.0.0.0/33\""), 10, "10.0.0.0/33", "192.0.2.0/24"),
        (rule("pth = \"/shop\""), 10, "unknown key `pth`", "path"),
        ("rules = [{ path = \"/x\", service = \"shoe\" }]".to_owned(), 8, "`shoe` is no service on", "shop, admin"),
        ("default = \"shoe\"".to_owned(), 8, "`shoe` is no service on 10.60.255.1:80", "shop, admin"),
        ("default = \"shop\"".to_owned(), 17, "no request reaches the service `admin`", "add a rule for it"),
        (
            format!("on_ambiguous = \"default\"\nrules = [{both}]"),
            8,
            "there is no default service",
            "or write \"reject\"",
        ),
        (format!("on_ambiguous = \"guess\"\nrules = [{both}]"), 8, "`guess` is not a possible value", "reject"),
        (
            "rules = [\n{ service = \"shop\" },\n{ path = \"/x\", service = \"admin\" }]".to_owned(),
            10,
            "no request gets to this rule",
            "last",
        ),
        (
            format!(
                "default = \"admin\"\nrules = [{}]",
                (0..129).map(|n| format!("{{ path = \"/{n}\", service = \"shop\" }},")).collect::<String>()
            ),
            9,
            "more than 128 conditions",
            "remove some",
        ),
    ];
    for (rules, line, says, fix) in table {
        let error = Config::parse(&ruled(&rules)).unwrap_err();
        assert!(error.what.contains(says), "{rules}: {error:?}");
        // Where a value is wrong, what it says has both.
        assert!(error.what.contains(fix) || error.fix.contains(fix), "{rules}: {error:?}");
        assert_eq!(error.line, Some(line), "{rules}: {error}");
    }
    let of_nobody = ruled("default = \"admin\"\nrules = [{ path = \"/x\", service = \"shop\" }]")
        .replacen("255.1:80", "255.1:81", 1);
    assert!(Config::parse(&of_nobody).unwrap_err().to_string().contains("no service listens on 10.60.255.1:81"));
    let without = GOOD.to_owned() + &GOOD[GOOD.find("[[service]]").unwrap()..].replace("\"shop\"", "\"admin\"");
    let error = Config::parse(&without).unwrap_err();
    assert!(error.to_string().contains("two services listen on") && error.fix.contains("[[listener]]"), "{error}");
}
