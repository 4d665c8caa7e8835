//! Pre-connects: connections that a browser opens in case it needs them, and uses much later or never.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use balancer_tests::client::{Browser, Connection};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Scene, wait_until};
use balancer_tests::stage::Stage;

under_both_hooks! {
    a_pre_connect_is_kept_as_long_as_is_promised,
}

/// Few enough that everybody who comes looks for room that somebody else may have had.
const FLOWS: u32 = 64;

/// With room for few, others come and go all the time. What is silent no longer than the configuration promises is there when it is
/// used. After that its room is somebody else's: a client that had answers is told so at once, and connects again. One
/// that never sent anything does not notice: its first segment still proves, by the cookie, that it is one.
/// N11.
fn a_pre_connect_is_kept_as_long_as_is_promised(hook: Hook) -> Result<()> {
    Stage::new(hook, "preconnect").flows(FLOWS, "3s").play(|scene| {
        let [mut early, mut late] = [scene.connection()?, scene.connection()?];
        let mut answered = scene.browser();
        answered.whoami()?;
        crowd(scene, Duration::from_secs(2))?;
        ensure!(early.get("/whoami", None)?.status == 200, "a pre-connect was not kept");
        ensure!(answered.whoami()?.hits == 2 && answered.connections() == 1, "a kept-alive connection was not kept");
        ensure!(scene.counter("flow_collected")? == 0, "something was collected early");
        crowd(scene, Duration::from_millis(3100))?;
        wait_until("all that is silent is collected", Duration::from_secs(20), || {
            crowd(scene, Duration::from_millis(500))?;
            Ok(scene.counter("flow_collected")? >= 3)
        })?;
        let error = answered.whoami().err().map(|error| format!("{error:#}"));
        ensure!(error.as_ref().is_some_and(|error| error.contains("reset")), "instead of a reset: {error:?}");
        ensure!(late.get("/whoami", None)?.status == 200, "a pre-connect has to be forgotten without a trace");
        Ok(())
    })
}

/// Short connections, one after the other, many more than there is room for.
fn crowd(scene: &Scene, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    let mut count = 0;
    while Instant::now() < end {
        let mut browser = Browser::new(scene.lab.client(), scene.lab.service());
        browser.whoami()?;
        count += 1;
        // A closed connection's room is free two seconds later: more a second would be too many for the table.
        std::thread::sleep(Duration::from_millis(50));
    }
    ensure!(count > 4, "only {count} connections");
    Ok(())
}

/// With what the configuration says unless told, and the length that people have in mind: `cargo test -- --ignored ten_minutes`.
#[test]
#[ignore = "it takes ten minutes"]
fn a_pre_connect_of_ten_minutes() -> Result<()> {
    Stage::new(Hook::Tc, "tenminutes").flows(FLOWS, "15m").play(|scene| {
        let mut idle: Vec<Connection> = (0..20).map(|_| scene.connection()).collect::<Result<_>>()?;
        let mut answered = scene.browser();
        answered.whoami()?;
        crowd(scene, Duration::from_secs(600))?;
        for connection in &mut idle {
            ensure!(connection.get("/whoami", None)?.status == 200, "a pre-connect was not kept");
        }
        ensure!(answered.whoami()?.hits == 2 && answered.connections() == 1, "a kept-alive connection was not kept");
        Ok(())
    })
}
