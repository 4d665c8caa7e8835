//! Drains and retiring, with people on the versions.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Connection, Request};
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    c41_a_drain_ends_when_the_last_session_and_the_last_request_have,
    d11_a_deadline_moves_sessions_and_closes_what_is_open,
    d11_close_and_keep_leave_the_version,
    a_daemon_that_is_killed_in_mid_drain_carries_on,
    c39_c43_old_versions_go_by_themselves_but_for_the_last_one,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// The labels of the versions that are there.
fn labels(scene: &Scene) -> Result<Vec<String>> {
    let versions = scene.json(&["version", "ls", "shop"])?;
    let labels = versions.as_array().context("no versions")?.iter().filter_map(|version| version["label"].as_str());
    Ok(labels.map(str::to_owned).collect())
}

/// A connection that has changed protocols, on 001.
fn socket(scene: &Scene, session: &str) -> Result<Connection> {
    let mut connection = scene.connection()?;
    let request = Request::get("/upgrade").header("Connection", "Upgrade").header("Upgrade", "websocket");
    let response = connection.request(&request.session(session))?;
    ensure!(response.status == 101, "{response:?}");
    connection.write(b"hello")?;
    ensure!(connection.receive_bytes(5)? == b"hello");
    Ok(connection)
}

fn c41_a_drain_ends_when_the_last_session_and_the_last_request_have(hook: Hook) -> Result<()> {
    Stage::new(hook, "drains").explicit().versions(&VERSIONS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        goes_on(&mut anna, &mut annas)?;
        let refused = scene.balancer.try_cli(&["drain", "shop", "001"])?;
        ensure!(refused.status.code() == Some(3), "the active version drains: {refused:?}");
        scene.cli(&["flip", "shop", "002"])?;
        let mut slow = scene.connection()?;
        slow.send(&Request::get("/slow?ms=2500").session(&annas.session))?;
        scene.cli(&["drain", "shop", "001"])?;
        goes_on(&mut anna, &mut annas)?;
        begins_on(&mut scene.browser(), "002")?;
        let refused = scene.balancer.try_cli(&["retire", "shop", "001"])?;
        let says = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(refused.status.code() == Some(3) && says.contains("1 sessions"), "{says}");

        // She logs out; her last request is still under way.
        let gone = anna.request(Request::post("/clear", Vec::new()))?;
        ensure!(gone.status == 303, "{gone:?}");
        let waits = scene.balancer.try_cli(&["wait", "shop", "--for", "drained=001", "--timeout", "500ms"])?;
        ensure!(waits.status.code() == Some(4), "a request is in flight: {waits:?}");
        let answer = slow.receive("GET")?;
        ensure!(answer.status == 200 && answer.version() == "001", "the request was cut: {answer:?}");
        scene.cli(&["wait", "shop", "--for", "drained=001", "--timeout", "10s"])?;
        wait_until("001 is retired", Duration::from_secs(10), || Ok(labels(scene)? == ["002"]))?;
        let status = scene.cli(&["status", "shop"])?;
        ensure!(status.contains("retired"), "{status}");
        // Repeating it is harmless.
        scene.cli(&["retire", "shop", "001"])?;
        scene.cli(&["wait", "shop", "--for", "drained=001"])?;
        begins_on(&mut anna, "002").map(drop)
    })
}

fn d11_a_deadline_moves_sessions_and_closes_what_is_open(hook: Hook) -> Result<()> {
    Stage::new(hook, "deadline").explicit().versions(&VERSIONS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        let mut socket = socket(scene, &annas.session)?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.cli(&["drain", "shop", "001", "--deadline", "2s", "--reason", "end of life"])?;
        goes_on(&mut anna, &mut annas)?;
        socket.write(b"still")?;
        ensure!(socket.receive_bytes(5)? == b"still");
        // Said again, with --wait: until it is over.
        let said = scene.cli(&["drain", "shop", "001", "--deadline", "1s", "--wait", "--timeout", "20s"])?;
        ensure!(said.contains("left:    1 sessions") && said.contains("it is retired"), "{said}");
        ensure!(socket.receive_bytes(1).is_err(), "the socket lives on");
        ensure!(scene.counter("closed_by_drain_reset")? == 1);
        let port = anna.local_port()?;
        begins_on(&mut anna, "002")?;
        ensure!(anna.local_port()? == port, "Anna had to connect again");
        scene.all_idle()?;
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("end of life") && history.contains("its deadline has come"), "{history}");
        Ok(())
    })
}

fn d11_close_and_keep_leave_the_version(hook: Hook) -> Result<()> {
    Stage::new(hook, "leaves").explicit().versions(&VERSIONS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        let mut socket = socket(scene, &annas.session)?;
        scene.cli(&["flip", "shop", "002"])?;
        let drain = |then: &str| {
            scene.cli(&["drain", "shop", "001", "--deadline", "1s", "--then", then, "--wait", "--timeout", "20s"])
        };
        drain("keep")?;
        goes_on(&mut anna, &mut annas)?;
        socket.write(b"kept")?;
        ensure!(socket.receive_bytes(4)? == b"kept");
        drain("close")?;
        begins_on(&mut anna, "002")?;
        ensure!(socket.receive_bytes(1).is_err(), "the socket lives on");
        ensure!(labels(scene)? == ["001", "002"]);
        scene.all_idle()?;
        scene.cli(&["flip", "shop", "001"])?;
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}

fn a_daemon_that_is_killed_in_mid_drain_carries_on(hook: Hook) -> Result<()> {
    Stage::new(hook, "drainkilled").explicit().versions(&VERSIONS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.cli(&["drain", "shop", "001", "--deadline", "2s"])?;
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        // Without the daemon nothing ends, and nobody is disturbed.
        std::thread::sleep(Duration::from_millis(2500));
        goes_on(&mut anna, &mut annas)?;
        scene.restart()?;
        scene.cli(&["wait", "shop", "--for", "drained=001", "--timeout", "10s"])?;
        wait_until("001 is retired", Duration::from_secs(10), || Ok(labels(scene)? == ["002"]))?;
        begins_on(&mut anna, "002").map(drop)
    })
}

fn c39_c43_old_versions_go_by_themselves_but_for_the_last_one(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "byitself").hosts(3).versions(&[("001", &[1])]);
    stage.service_lines("retire = \"empty\"\nkeep = 2\n").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.add("002", &[2])?;
        scene.add("003", &[3])?;
        begins_on(&mut scene.browser(), "003")?;
        // Anna is on 001; 002 is what a rollback would go to.
        std::thread::sleep(Duration::from_secs(3));
        goes_on(&mut anna, &mut annas)?;
        ensure!(labels(scene)? == ["001", "002", "003"]);
        anna.request(Request::post("/clear", Vec::new()))?;
        wait_until("001 is retired", Duration::from_secs(10), || Ok(labels(scene)? == ["002", "003"]))?;
        std::thread::sleep(Duration::from_secs(3));
        scene.cli(&["rollback", "shop"])?;
        begins_on(&mut anna, "002").map(drop)
    })
}
