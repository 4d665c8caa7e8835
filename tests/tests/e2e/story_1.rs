//! Story 1, the flip: one version serves at a time, and an update of each server passes without an error.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::{Browser, Expect, Load, Whoami};
use balancer_tests::lab::Hook;

use crate::scene::{Kind, Scene};
use crate::stage::Stage;
use crate::wrk::Wrk;

under_both_hooks! {
    with_the_demo_under_load,
    with_tomcat_under_load,
}

const SERVERS: [(&str, &[usize]); 2] = [("server-1", &[1]), ("server-2", &[2])];

fn with_the_demo_under_load(hook: Hook) -> Result<()> {
    Stage::new(hook, "story1").explicit().versions(&SERVERS).play(|scene| {
        let wrk = Wrk::start(scene.lab)?;
        story(scene, Duration::from_millis(2))?;
        wrk.finish()?;
        scene.all_idle()
    })
}

fn with_tomcat_under_load(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "story1tomcat").explicit().versions(&SERVERS).kind(Kind::Tomcat);
    stage.play(|scene| story(scene, Duration::from_millis(20)))
}

fn story(scene: &mut Scene, pause: Duration) -> Result<()> {
    // Both servers run 1.0, and all users are on server 1.
    let expect = Expect::Moves;
    let staying = Load { pause, expect, clear_after: Some(40), ..scene.load(4) };
    let closing = Load { pause, expect, disconnect_after: Some(3), ..scene.load(4) };
    let load = [staying.start(scene.lab.client()), closing.start(scene.lab.client())];
    let mut anna = scene.browser();
    serves(scene, &mut anna, "server-1", "b1")?;
    let port = anna.local_port()?;

    // Flip to server 2, wait until nothing is in flight on server 1, update it, flip back.
    flip(scene, "server-2")?;
    serves(scene, &mut anna, "server-2", "b2")?;
    scene.idle("server-1")?;
    scene.start(1, "server-1 at 1.1")?;
    scene.healthy("server-1")?;
    flip(scene, "server-1")?;
    ensure!(serves(scene, &mut anna, "server-1", "b1")?.version == "server-1 at 1.1", "server 1 is not updated");

    // Something is bad: roll back. It was nothing: forward again.
    scene.cli(&["rollback", "shop"])?;
    ensure!(serves(scene, &mut anna, "server-2", "b2")?.version == "server-2", "not rolled back");
    flip(scene, "server-1")?;
    serves(scene, &mut anna, "server-1", "b1")?;

    // All is well: update server 2 too.
    scene.idle("server-2")?;
    scene.start(2, "server-2 at 1.1")?;
    scene.healthy("server-2")?;
    flip(scene, "server-2")?;
    ensure!(serves(scene, &mut anna, "server-2", "b2")?.version == "server-2 at 1.1", "server 2 is not updated");

    // No user saw an error at any step.
    ensure!(anna.local_port()? == port && anna.connections() == 1, "Anna had to connect again");
    for load in load {
        let tally = load.finish()?;
        tally.expect_clean()?;
        ensure!(tally.moved > 0 && tally.versions.len() == 4, "nobody moved: {tally:?}");
    }
    Ok(())
}

fn flip(scene: &Scene, to: &str) -> Result<()> {
    scene.cli(&["flip", "shop", to, "--mode", "forced"])?;
    // For the load to get there.
    std::thread::sleep(Duration::from_millis(200));
    Ok(())
}

/// The browser is on `server` now, in a session that begins or goes on there; and so says the CLI.
fn serves(scene: &Scene, browser: &mut Browser, server: &str, backend: &str) -> Result<Whoami> {
    let answer = browser.whoami()?;
    ensure!(answer.backend == backend, "{backend} should answer: {answer:?}");
    let again = browser.whoami()?;
    ensure!(again.session == answer.session && again.hits == answer.hits + 1, "{again:?} after {answer:?}");
    ensure!(scene.active()? == server, "{server} is not active");
    Ok(answer)
}
