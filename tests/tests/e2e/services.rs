//! Several services on one address, told apart by rules: each has its own versions, sessions and flips, also where their cookies have one
//! name and their requests one connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_tests::client::{Connection, Request, Response, Whoami};
use balancer_tests::lab::{Hook, Lab};
use rustix::process::Signal;

use crate::scene::{Kind, Scene, wait_until};
use crate::stage::{Neighbour, Stage};

/// The table that the core is tested with as well.
#[expect(unreachable_pub, reason = "it is a module of the core's")]
#[path = "../../../balancer-ebpf/src/rules/evasion.rs"]
mod evasion;

use evasion::Goes;

under_both_hooks! {
    nobody_is_taken_for_another,
    one_connection_alternates_between_services,
    each_service_flips_by_itself,
    a_held_service_does_not_hold_its_neighbour,
    a_service_that_goes_while_it_flips_lets_its_requests_go,
    rules_change_on_open_connections,
    without_a_default_service_the_director_answers,
}

const CONTEXTS: &str = r#"default = "admin"
rules = [{ path = "/shop", service = "shop" }]"#;
const SHOP: &[(&str, &[usize])] = &[("shop-1", &[1]), ("shop-2", &[2])];
const ADMIN: &[Neighbour] = &[("admin", &[("admin-1", &[3]), ("admin-2", &[4])])];

/// The shop below `/shop`, and all else the administration's.
fn stage<'a>(hook: Hook, label: &'a str) -> Stage<'a> {
    Stage::new(hook, label).kind(Kind::Contexts).explicit().hosts(4).versions(SHOP).neighbours(ADMIN, CONTEXTS)
}

/// The service whose application answered.
fn service(response: &Response) -> Option<&str> {
    response.header("x-version")?.split('-').next()
}

/// D19: the table of evasion, end to end.
fn nobody_is_taken_for_another(hook: Hook) -> Result<()> {
    let rules: String = evasion::RULES.iter().map(|rule| format!("    {{ {rule} }},\n")).collect();
    let rules = format!("default = \"site\"\non_ambiguous = \"reject\"\nrules = [\n{rules}]");
    let neighbours: &[Neighbour] = &[("admin", &[("admin-1", &[2])]), ("site", &[("site-1", &[3])])];
    let stage = Stage::new(hook, "evasion").kind(Kind::Contexts).hosts(3).versions(&[("shop-1", &[1])]);
    stage.neighbours(neighbours, &rules).play(|scene| {
        let unframed = |scene: &Scene| -> Result<u64> {
            let status = scene.json(&["status"])?;
            let counters = status["counters"].as_array().context("no counters")?;
            let unframed =
                counters.iter().filter(|one| one["name"].as_str().is_some_and(|n| n.starts_with("unframed_")));
            Ok(unframed.filter_map(|one| one["value"].as_u64()).sum())
        };
        for (index, (head, goes)) in evasion::TABLE.iter().enumerate() {
            let before = if *goes == Goes::Unread { unframed(scene)? } else { 0 };
            let mut connection = scene.connection()?;
            let bytes = format!("{head}\r\n").into_bytes();
            // In one segment, or the fields in one of their own.
            let cut = if index % 2 == 0 { bytes.len() } else { head.find('\n').context("no line")? + 1 };
            connection.write(&bytes[..cut])?;
            if cut < bytes.len() {
                std::thread::sleep(Duration::from_millis(2));
                connection.write(&bytes[cut..])?;
            }
            let answer = connection.receive(head.split(' ').next().unwrap_or_default());
            match goes {
                Goes::To(wanted) => {
                    let answer = answer.with_context(|| format!("{head:?}"))?;
                    ensure!(service(&answer) == Some(wanted), "{head:?} went to {:?}: {answer:?}", service(&answer));
                }
                Goes::Ambiguous => {
                    let answer = answer.with_context(|| format!("{head:?}"))?;
                    let own = answer.status == 400 && answer.body.starts_with(b"one could read it");
                    ensure!(own && answer.closes(), "{head:?} is not refused: {answer:?}");
                }
                Goes::Unread => {
                    // What a server makes of it is its own business.
                    let own = answer.is_ok_and(|answer| answer.body.starts_with(b"one could read it"));
                    ensure!(!own && unframed(scene)? > before, "{head:?} was read");
                }
            }
        }
        let ambiguous = evasion::TABLE.iter().filter(|(_, goes)| *goes == Goes::Ambiguous).count() as u64;
        ensure!(scene.counter("rule_ambiguous")? == ambiguous, "{} of {ambiguous}", scene.counter("rule_ambiguous")?);
        ensure!(scene.counter("rule_unmatched")? > 0 && scene.counter("answered_no_service")? >= ambiguous);
        idle(scene, &["shop", "admin", "site"])
    })
}

/// No request is in flight anywhere: what was counted in was counted out, on the service that it was counted on.
fn idle(scene: &Scene, services: &[&str]) -> Result<()> {
    wait_until("nothing is in flight", Duration::from_secs(5), || {
        let mut left = 0;
        for service in services {
            let status = scene.json(&["status", service])?;
            let versions = status["versions"].as_array().context("no versions")?;
            left += versions.iter().map(|version| version["in_flight"].as_i64().unwrap_or(1).abs()).sum::<i64>();
        }
        Ok(left == 0)
    })
}

/// A user of both contexts, on one connection, with a jar.
struct User {
    connection: Connection,
    jar: [Option<String>; 2],
    /// Both cookies are sent, as where one of them is for `/`.
    both: bool,
    last: [Option<Whoami>; 2],
}

const NAMES: [&str; 2] = ["shop", "admin"];

impl User {
    fn new(lab: &Lab, both: bool) -> Result<Self> {
        let connection = Connection::open(lab.client(), lab.service())?;
        Ok(Self { connection, jar: [None, None], both, last: [None, None] })
    }

    /// Asks a context who it is; the answer has to be its own.
    fn visit(&mut self, context: usize) -> Result<Whoami> {
        let name = NAMES[context];
        let mut request = Request::get(&format!("/{name}/whoami"));
        // The longer path first (RFC 6265, section 5.4), or whichever.
        let ids = if self.both { [1 - context, context] } else { [context, context] };
        let mut ids: Vec<&String> = ids.iter().filter_map(|index| self.jar[*index].as_ref()).collect();
        ids.dedup();
        if !ids.is_empty() {
            let cookies: Vec<String> = ids.iter().map(|id| format!("JSESSIONID={id}")).collect();
            request = request.header("Cookie", &cookies.join("; "));
        }
        let response = self.connection.request(&request)?;
        ensure!(response.status == 200, "{name}: {response:?}");
        ensure!(service(&response) == Some(name), "{name} was answered by {:?}", service(&response));
        if let Some(id) = response.set_cookie("JSESSIONID") {
            self.jar[context] = Some(id);
        }
        let answer: Whoami = response.json()?;
        self.last[context] = Some(answer.clone());
        Ok(answer)
    }

    /// The same, and the context's session goes on where it was.
    fn goes_on(&mut self, context: usize) -> Result<()> {
        let last = self.last[context].clone().context("no session")?;
        let answer = self.visit(context)?;
        let wanted = Whoami { known: true, new: false, hits: last.hits + 1, ..last };
        ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
        Ok(())
    }
}

/// D20: one cookie name in two contexts, on one connection.
fn one_connection_alternates_between_services(hook: Hook) -> Result<()> {
    stage(hook, "alternates").play(|scene| {
        for both in [false, true] {
            let mut anna = User::new(scene.lab, both)?;
            for context in [0, 1] {
                ensure!(anna.visit(context)?.new);
            }
            for turn in 0..100 {
                anna.goes_on(turn % 2)?;
            }
            for context in [0, 0, 0, 1, 1, 1, 0] {
                anna.goes_on(context)?;
            }
            // A session that nobody began here is none, though the neighbour knows it.
            anna.jar = [anna.jar[1].clone(), None];
            ensure!(anna.visit(0)?.new, "the shop knows a session of the administration's");
        }
        ensure!(scene.json(&["status", "shop"])?["versions"][0]["requests"].as_u64() > Some(100));
        ensure!(scene.json(&["status", "admin"])?["versions"][0]["requests"].as_u64() > Some(100));
        // Two requests for two services in one segment: each gets its own answer, in order.
        let mut pipelined = scene.connection()?;
        let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        for _ in 0..5 {
            pipelined
                .write([ask("/shop/nosession"), ask("/admin/nosession"), ask("/shop/nosession")].concat().as_bytes())?;
            for wanted in ["shop", "admin", "shop"] {
                let answer = pipelined.receive("GET")?;
                ensure!(service(&answer) == Some(wanted), "{answer:?} instead of {wanted}");
            }
        }
        idle(scene, &NAMES)
    })
}

/// D20: users on both services while each flips: nothing crosses, and what one does moves nobody of the other.
fn each_service_flips_by_itself(hook: Hook) -> Result<()> {
    stage(hook, "flipsapart").play(|scene| {
        let stop = Arc::new(AtomicBool::new(false));
        let user = |index: usize| {
            let (client, to, stop) = (scene.lab.client().clone(), scene.lab.service(), Arc::clone(&stop));
            std::thread::spawn(move || -> Result<u64> {
                let connection = Connection::open(&client, to)?;
                let mut user = User { connection, jar: [None, None], both: index % 2 == 1, last: [None, None] };
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return Ok(turn);
                    }
                    if index % 3 == 2 && turn % 7 == 0 {
                        user.connection = Connection::open(&client, to)?;
                    }
                    // The shop's sessions move with its flips; those of the administration stay where they began.
                    user.visit(0)?;
                    if user.last[1].is_none() {
                        ensure!(user.visit(1)?.new);
                    } else {
                        user.goes_on(1)?;
                    }
                }
                unreachable!("it counts for ever")
            })
        };
        let users: Vec<_> = (0..9).map(user).collect();
        let mut witness = User::new(scene.lab, true)?;
        for context in [0, 1] {
            witness.visit(context)?;
        }
        for flip in 0..20 {
            let (shop, admin) = if flip % 2 == 0 { ("shop-2", "admin-2") } else { ("shop-1", "admin-1") };
            scene.cli(&["flip", "shop", shop, "--mode", "forced"])?;
            let moved = witness.visit(0)?;
            ensure!(moved.version == shop && moved.new, "{moved:?} is not on {shop}");
            witness.goes_on(1)?;
            scene.cli(&["flip", "admin", admin])?;
            witness.goes_on(0)?;
            witness.goes_on(1)?;
            let fresh = User::new(scene.lab, false)?.visit(1)?;
            ensure!(fresh.version == admin && fresh.new, "{fresh:?} is not on {admin}");
        }
        stop.store(true, Ordering::Relaxed);
        let mut turns = 0;
        for user in users {
            turns += user.join().map_err(|_| anyhow!("a user panicked"))??;
        }
        ensure!(turns > 200, "{turns} turns in all");
        ensure!(scene.counter("rule_ambiguous")? == 0);
        idle(scene, &NAMES)
    })
}

/// D10, D20: of one service: who waits is who asks it for something.
fn a_held_service_does_not_hold_its_neighbour(hook: Hook) -> Result<()> {
    stage(hook, "heldapart").play(|scene| {
        // Its last request was the neighbour's, and so is the connection's leg.
        let mut mixed = User::new(scene.lab, false)?;
        mixed.visit(1)?;
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/shop/slow?ms=1500"))?;
        std::thread::sleep(Duration::from_millis(100));
        let mut flip = scene
            .balancer
            .command(&["flip", "shop", "shop-2", "--mode", "exclusive", "--max-hold", "10s"])
            .stdout(std::process::Stdio::null())
            .spawn()?;
        wait_until("the shop is held", Duration::from_secs(2), || {
            Ok(scene.json(&["status", "shop"])?["hold"].is_object())
        })?;
        ensure!(scene.json(&["status", "admin"])?["hold"].is_null());
        mixed.connection.send(&Request::get("/shop/nosession"))?;
        let mut neighbour = User::new(scene.lab, false)?;
        let began = Instant::now();
        neighbour.visit(1)?;
        for _ in 0..20 {
            neighbour.goes_on(1)?;
        }
        ensure!(began.elapsed() < Duration::from_millis(800), "{:?} for the neighbour's requests", began.elapsed());
        let answer = slow.receive("GET")?;
        ensure!(answer.version() == "shop-1", "{answer:?}");
        let ended = Instant::now();
        let answer = mixed.connection.receive("GET")?;
        ensure!(answer.version() == "shop-2", "{answer:?}");
        // Its client's timer had doubled to more than a second by then.
        ensure!(ended.elapsed() < Duration::from_millis(700), "{:?} after the hold", ended.elapsed());
        ensure!(scene.counter("request_released")? > 0 && flip.wait()?.success());
        mixed.goes_on(1)?;
        idle(scene, &NAMES)
    })
}

/// A config without one of its services and without rules.
fn without(config: &str, name: &str) -> String {
    let mut keeps = true;
    let mut lines: Vec<&str> = Vec::new();
    let all: Vec<&str> = config.lines().collect();
    for (index, line) in all.iter().enumerate() {
        match *line {
            "[[service]]" => keeps = all[index + 1] != format!("name = \"{name}\""),
            "[[listener]]" => keeps = false,
            _ => {}
        }
        lines.extend(keeps.then_some(*line));
    }
    lines.join("\n")
}

/// A reload takes a service away in the middle of its exclusive flip: that is over, the daemon goes on at once, and so do the requests
/// that were held.
fn a_service_that_goes_while_it_flips_lets_its_requests_go(hook: Hook) -> Result<()> {
    stage(hook, "goneflip").play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/admin/slow?ms=4000"))?;
        std::thread::sleep(Duration::from_millis(100));
        let flip = scene
            .balancer
            .command(&["flip", "admin", "admin-2", "--mode", "exclusive", "--max-hold", "30s"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped())
            .spawn()?;
        wait_until("it is held", Duration::from_secs(2), || Ok(scene.json(&["status", "admin"])?["hold"].is_object()))?;
        let mut held = scene.connection()?;
        held.send(&Request::get("/admin/nosession"))?;
        std::thread::sleep(Duration::from_millis(200));
        scene.lab.write_config(&without(&scene.config, "admin"))?;
        refused(scene, &["config", "reload"], "1 requests in flight")?;
        let began = Instant::now();
        scene.cli(&["config", "reload", "--force"])?;
        let flip = flip.wait_with_output()?;
        let says = String::from_utf8_lossy(&flip.stderr).into_owned();
        ensure!(flip.status.code() == Some(3) && says.contains("no service `admin`"), "{says}");
        scene.cli(&["status"])?;
        held.receive("GET")?;
        ensure!(began.elapsed() < Duration::from_secs(3), "only {:?} later", began.elapsed());
        slow.receive("GET")?;
        // It comes back as it was.
        scene.lab.write_config(&scene.config)?;
        scene.cli(&["config", "reload"])?;
        let status = scene.json(&["status", "admin"])?;
        ensure!(status["hold"].is_null() && status["active"] == "admin-1", "{status}");
        idle(scene, &NAMES)
    })
}

/// A command that is refused, and what it says.
fn refused(scene: &Scene, arguments: &[&str], says: &str) -> Result<()> {
    let output = scene.balancer.try_cli(arguments)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(3) && text.contains(says), "{arguments:?}: {text}");
    Ok(())
}

/// D19: rules change by one store, for all requests from then on.
fn rules_change_on_open_connections(hook: Hook) -> Result<()> {
    stage(hook, "rulesreload").play(|scene| {
        let config = scene.lab.dir().join("balancer.toml");
        let ask = |connection: &mut Connection, path: &str| -> Result<String> {
            let answer = connection.get(path, None)?;
            service(&answer).map(str::to_owned).with_context(|| format!("{answer:?}"))
        };
        let mut open = scene.connection()?;
        ensure!(ask(&mut open, "/shop/nosession")? == "shop" && ask(&mut open, "/buy")? == "admin");
        let status = scene.cli(&["status", "shop"])?;
        ensure!(status.contains("rules: 1. path /shop"), "{status}");
        let status = scene.cli(&["status", "admin"])?;
        ensure!(status.contains("rules: what no rule matches, or may match"), "{status}");

        let text = std::fs::read_to_string(&config)?;
        let more = text.replace("rules = [{", "rules = [{ path = \"/buy\", service = \"shop\" }, {");
        std::fs::write(&config, &more)?;
        let diff = scene.cli(&["config", "diff"])?;
        ensure!(diff.contains("reload:") && diff.contains("shop if path /buy"), "{diff}");
        scene.cli(&["config", "reload"])?;
        ensure!(ask(&mut open, "/buy")? == "shop" && ask(&mut open, "/shop/nosession")? == "shop");
        ensure!(ask(&mut open, "/admin/nosession")? == "admin");

        let explain = |path: &str| scene.cli(&["explain", "admin", "--source", "10.60.0.9", "--path", path]);
        let said = explain("/buy?x")?;
        ensure!(said.contains("shop shop-1 on") && said.contains("rule 1 of"), "{said}");
        ensure!(said.contains("so it is not for admin"), "{said}");
        let said = explain("/buy/%2e%2e/admin")?;
        ensure!(
            said.contains("admin admin-1 on") && said.contains("what rule 1 of") && said.contains("(path /buy)"),
            "{said}"
        );
        let said = explain("/else")?;
        ensure!(said.contains("no rule of") && said.contains("default service admin"), "{said}");
        let exported = scene.cli(&["config", "export"])?;
        ensure!(exported.contains("{ path = \"/buy\", service = \"shop\" },"), "{exported}");

        // A daemon that is started again has the same rules; and without one they go on.
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        ensure!(ask(&mut open, "/buy")? == "shop" && ask(&mut open, "/admin/nosession")? == "admin");
        scene.config = more.clone();
        scene.restart()?;
        ensure!(ask(&mut open, "/buy")? == "shop" && ask(&mut open, "/admin/nosession")? == "admin");
        // Back, with the shop alone for everything that no rule matches.
        std::fs::write(
            &config,
            more.replace("default = \"admin\"", "default = \"shop\"")
                .replace("\"/buy\", service = \"shop\"", "\"/admin\", service = \"admin\""),
        )?;
        scene.cli(&["config", "reload"])?;
        ensure!(ask(&mut open, "/else")? == "shop" && ask(&mut open, "/admin/nosession")? == "admin");
        // What cannot be reached is refused, and nothing changes.
        std::fs::write(
            &config,
            more.replace("{ path = \"/shop\", service = \"shop\" }", "")
                .replace("{ path = \"/buy\", service = \"shop\" }, ", ""),
        )?;
        let refused = scene.balancer.try_cli(&["config", "reload"])?;
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(!refused.status.success() && says.contains("no request reaches the service `shop`"), "{says}");
        ensure!(ask(&mut open, "/else")? == "shop" && ask(&mut open, "/admin/nosession")? == "admin");
        idle(scene, &NAMES)
    })
}

/// D19: what no rule matches and nobody has by default.
fn without_a_default_service_the_director_answers(hook: Hook) -> Result<()> {
    let rules =
        "rules = [{ path = \"/shop\", service = \"shop\" }, { host = \"admin.example.org\", service = \"admin\" }]";
    let stage = Stage::new(hook, "nodefault").kind(Kind::Contexts).explicit().hosts(4).versions(SHOP);
    stage.neighbours(ADMIN, rules).play(|scene| {
        let ask = |head: &str| -> Result<Response> {
            let mut connection = scene.connection()?;
            connection.write(format!("{head}\r\n\r\n").as_bytes())?;
            let answer = connection.receive(head.split(' ').next().unwrap_or_default())?;
            if answer.closes() {
                connection.expect_close()?;
            }
            Ok(answer)
        };
        ensure!(service(&ask("GET /shop/nosession HTTP/1.1\r\nHost: a")?) == Some("shop"));
        ensure!(service(&ask("GET /nosession HTTP/1.1\r\nHost: admin.example.org")?) == Some("admin"));
        let nobody = ask("GET /nosession HTTP/1.1\r\nHost: a")?;
        ensure!(
            nobody.status == 404 && nobody.body.starts_with(b"no service is there") && nobody.closes(),
            "{nobody:?}"
        );
        ensure!(ask("HEAD /nosession HTTP/1.1\r\nHost: a")?.body.is_empty());
        let ambiguous = ask("GET //shop HTTP/1.1\r\nHost: a")?;
        ensure!(ambiguous.status == 400 && ambiguous.closes(), "{ambiguous:?}");
        // In the middle of a connection, behind a good answer, and for a request with a body.
        let mut connection = scene.connection()?;
        ensure!(service(&connection.get("/shop/nosession", None)?) == Some("shop"));
        let refused = connection.request(&Request::post("/else", vec![b'x'; 40_000]))?;
        ensure!(refused.status == 404, "{refused:?}");
        connection.expect_close()?;
        ensure!(scene.counter("rule_unmatched")? == 3 && scene.counter("rule_ambiguous")? == 1);
        let explain = |path: &str| scene.cli(&["explain", "shop", "--source", "10.60.0.9", "--path", path]);
        ensure!(explain("/else")?.contains("404") && explain("//")?.contains("400"));
        let host = ["explain", "shop", "--source", "10.60.0.9", "--path", "/", "--host", "Admin.example.org."];
        let said = scene.cli(&host)?;
        ensure!(said.contains("admin admin-1 on") && said.contains("rule 2 of"), "{said}");
        // What is no HTTP has no answer either.
        let mut foreign = scene.connection()?;
        foreign.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")?;
        ensure!(foreign.receive("GET").is_err());
        idle(scene, &NAMES)
    })
}
