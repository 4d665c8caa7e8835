//! Pins: testers who know which version they hit, and an operator who sends one session elsewhere (D1, D15).

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Request, Whoami};
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use serde_json::Value;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    d15_testers_reach_a_staged_version_and_nobody_else_does,
    d15_pins_end_and_go_with_their_version,
    d1_an_operator_overrides_a_session,
    d15_a_pinned_version_that_is_down_is_a_503,
}

/// 001 is active, 002 is staged on host 2.
fn staged(hook: Hook, label: &str, story: impl FnOnce(&mut Scene) -> Result<()>) -> Result<()> {
    Stage::new(hook, label).clients(3).hosts(3).versions(&[("001", &[1])]).play(|scene| {
        scene.start(2, "002")?;
        let second = scene.lab.application(2).to_string();
        scene.cli(&["version", "add", "shop", "002", "--backend", &second, "--stage"])?;
        scene.healthy("002")?;
        story(scene)
    })
}

/// Adds a pin to 002; its number and value.
fn pin(scene: &Scene, arguments: &[&str]) -> Result<(u64, String)> {
    let said = scene.json(&[&["pin", "add", "shop", "--to", "002"], arguments].concat())?;
    let id = said["pin"]["id"].as_u64().with_context(|| said.to_string())?;
    Ok((id, said["pin"]["value"].as_str().unwrap_or("").to_owned()))
}

/// A request of a browser's, with something more.
fn ask(browser: &mut Browser, target: &str, header: Option<(&str, &str)>) -> Result<Whoami> {
    let request = Request::get(target);
    let request = match header {
        Some((name, value)) => request.header(name, value),
        None => request,
    };
    let response = browser.request(request)?;
    ensure!(response.status == 200, "{response:?}");
    response.json()
}

fn d15_testers_reach_a_staged_version_and_nobody_else_does(hook: Hook) -> Result<()> {
    staged(hook, "pins", |scene| {
        let (mut anna, mut other) = (scene.browser(), scene.browser());
        let mut annas = begins_on(&mut anna, "001")?;
        begins_on(&mut other, "001")?;
        let (_, header) = pin(scene, &["--header", "X-Pin", "--trace", "--note", "the header"])?;
        let (_, query) = pin(scene, &["--query", "pin"])?;
        let (_, cookie) = pin(scene, &["--cookie", "pin"])?;
        ensure!(header.len() == 32 && header != query, "{header} and {query}");

        // Each carrier, on the connection that Anna has; her own session is left as it is, where she is without the pin.
        let session = annas.session.clone();
        let with_query = format!("/whoami?a=b&pin={query}");
        let with_cookie = format!("JSESSIONID={session}; pin={cookie}");
        for (target, extra) in [
            ("/whoami", Some(("x-pin", header.as_str()))),
            (with_query.as_str(), None),
            ("/whoami", Some(("Cookie", with_cookie.as_str()))),
        ] {
            let mut connection = scene.connection()?;
            let request = Request::get(target);
            let request =
                if extra.is_none_or(|(name, _)| name != "Cookie") { request.session(&session) } else { request };
            let request = match extra {
                Some((name, value)) => request.header(name, value),
                None => request,
            };
            let response = connection.request(&request)?;
            ensure!(response.version() == "002", "{target} {extra:?}: {response:?}");
            goes_on(&mut anna, &mut annas)?;
        }
        // Made-up values pin nobody.
        let answer = ask(&mut other, "/whoami?pin=0123456789abcdef0123456789abcdef", Some(("X-Pin", "x")))?;
        ensure!(answer.version == "001", "{answer:?}");

        // Born under a pin: the session stays on its version without it.
        let mut tester = scene.browser();
        let mut born = ask(&mut tester, "/whoami", Some(("X-Pin", &header)))?;
        ensure!(born.new && born.version == "002", "{born:?}");
        goes_on(&mut tester, &mut born)?;
        begins_on(&mut scene.browser(), "001")?;

        // "Which version did I hit?" And nobody sees the values again.
        let source = scene.lab.addresses().client_nth(0).to_string();
        let asked = ["explain", "shop", "--source", &source, "--header", &format!("X-Pin: {header}")];
        let said = scene.cli(&asked)?;
        ensure!(said.starts_with("002 on ") && said.contains("(pin)"), "{said}");
        wait_until("the decisions are told", Duration::from_secs(3), || {
            let events = scene.cli(&["events", "shop", "--limit", "100"])?;
            Ok(events.lines().filter(|line| line.contains(" pin: pin 1: ") && line.contains("-> 002 on")).count() == 2)
        })?;
        let shown = scene.cli(&["pin", "ls"])? + &scene.cli(&["history"])? + &scene.cli(&["events"])?;
        ensure!(!shown.contains(&header) && !shown.contains(&query) && shown.contains("the header"), "{shown}");
        let state = std::fs::read_to_string(scene.lab.dir().join("state/state.json"))?;
        ensure!(!state.contains(&header) && !state.contains(&session), "a secret is in the state");

        // All of it survives a restart of the daemon, and a reboot.
        for reboot in [false, true] {
            if reboot {
                scene.balancer.reboot()?;
                scene.healthy("002")?;
            } else {
                scene.balancer.process().signal(Signal::KILL)?;
                scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
                scene.restart()?;
            }
            let answer = ask(&mut scene.browser(), "/whoami", Some(("X-Pin", &header)))?;
            ensure!(answer.version == "002", "{answer:?}, reboot: {reboot}");
        }
        Ok(())
    })
}

fn d15_pins_end_and_go_with_their_version(hook: Hook) -> Result<()> {
    staged(hook, "pinsend", |scene| {
        let source = scene.lab.addresses().client_nth(1).to_string();
        let (id, value) = pin(scene, &["--source", &source, "--ttl", "3s"])?;
        ensure!(value.is_empty());
        let from = |scene: &Scene, index: u8| -> Result<String> {
            scene.come_from(index)?;
            Ok(ask(&mut scene.browser(), "/whoami", None)?.version)
        };
        ensure!(from(scene, 1)? == "002" && from(scene, 0)? == "001" && from(scene, 2)? == "001");
        // Its end comes without the daemon.
        scene.balancer.process().signal(Signal::STOP)?;
        std::thread::sleep(Duration::from_millis(4500));
        ensure!(from(scene, 1)? == "001", "it has not expired");
        scene.balancer.process().signal(Signal::CONT)?;
        wait_until("it is gone", Duration::from_secs(3), || {
            Ok(scene.json(&["pin", "ls", "shop"])?["pins"] == Value::Array(Vec::new()))
        })?;
        let gone = scene.balancer.try_cli(&["pin", "rm", "shop", &id.to_string()])?;
        ensure!(gone.status.code() == Some(3), "{gone:?}");

        // A chosen value only from where it may come.
        let refused =
            scene.balancer.try_cli(&["pin", "add", "shop", "--to", "002", "--header", "x-env", "--value", "blue"])?;
        ensure!(refused.status.code() == Some(2), "{refused:?}");
        let arguments =
            ["pin", "add", "shop", "--to", "002", "--header", "x-env", "--value", "blue", "--source", &source];
        let said = scene.cli(&arguments)?;
        ensure!(said.contains("use:     x-env: blue"), "{said}");
        for (index, version) in [(1, "002"), (2, "001")] {
            scene.come_from(index)?;
            let answer = ask(&mut scene.browser(), "/whoami", Some(("X-Env", "blue")))?;
            ensure!(answer.version == version, "{answer:?} from {index}");
        }
        let other = scene.balancer.try_cli(&["pin", "add", "shop", "--to", "002", "--header", "x-other"])?;
        ensure!(other.status.code() == Some(3), "two headers: {other:?}");

        // With the version its pins go; and whoever has its place in the kernel is not meant.
        scene.cli(&["version", "rm", "shop", "002"])?;
        scene.start(3, "003")?;
        let third = scene.lab.application(3).to_string();
        scene.cli(&["version", "add", "shop", "003", "--backend", &third, "--stage"])?;
        scene.healthy("003")?;
        scene.come_from(1)?;
        let answer = ask(&mut scene.browser(), "/whoami", Some(("X-Env", "blue")))?;
        ensure!(answer.version == "001", "{answer:?}");
        Ok(())
    })
}

fn d1_an_operator_overrides_a_session(hook: Hook) -> Result<()> {
    staged(hook, "overrides", |scene| {
        let (mut anna, mut bert) = (scene.browser(), scene.browser());
        let mut annas = begins_on(&mut anna, "001")?;
        let mut berts = begins_on(&mut bert, "001")?;
        let mut command = scene.balancer.command(&["pin", "add", "shop", "--to", "002", "--session", "-"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        child.stdin.take().context("no input")?.write_all(annas.session.as_bytes())?;
        let output = child.wait_with_output()?;
        let said = String::from_utf8(output.stdout)?;
        ensure!(output.status.success() && !said.contains(&annas.session), "{said}");
        let mut connection = scene.connection()?;
        let answer = connection.get("/whoami", Some(&annas.session))?;
        ensure!(answer.version() == "002", "{answer:?}");
        goes_on(&mut bert, &mut berts)?;
        let undo = said.lines().find_map(|line| line.strip_prefix("undo:    balancer ")).context("no undo")?;
        scene.cli(&undo.split_whitespace().collect::<Vec<_>>())?;
        goes_on(&mut anna, &mut annas)
    })
}

fn d15_a_pinned_version_that_is_down_is_a_503(hook: Hook) -> Result<()> {
    staged(hook, "pindown", |scene| {
        let (_, value) = pin(scene, &["--header", "x-pin"])?;
        scene.kill(2);
        let mut connection = scene.connection()?;
        // On an open connection, before any check has seen it; and again.
        connection.get("/nosession", None)?;
        let request = Request::get("/whoami").header("x-pin", &value);
        let response = connection.request(&request)?;
        ensure!(response.status == 503 && response.closes(), "{response:?}");
        let response = scene.connection()?.request(&request)?;
        ensure!(response.status == 503, "{response:?}");
        begins_on(&mut scene.browser(), "001")?;
        scene.start(2, "002")?;
        scene.healthy("002")?;
        let response = scene.connection()?.request(&request)?;
        ensure!(response.version() == "002", "{response:?}");
        scene.all_idle()
    })
}
