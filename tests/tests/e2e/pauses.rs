//! `pause` and `resume`: requests wait, and nobody notices more than that.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    a_pause_holds_until_it_is_resumed,
    a_pause_ends_by_itself,
    a_pause_outlives_its_daemon_and_the_next_one_resumes_it,
    a_pause_ends_without_its_daemon,
}

const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];

/// Somebody who comes now: the version that answers in the end, and how long that took.
fn visitor(scene: &Scene) -> JoinHandle<Result<(String, Duration)>> {
    let mut browser = scene.browser();
    std::thread::spawn(move || {
        let began = Instant::now();
        Ok((browser.whoami()?.version, began.elapsed()))
    })
}

fn answer(visitor: JoinHandle<Result<(String, Duration)>>) -> Result<(String, Duration)> {
    visitor.join().map_err(|_| anyhow!("a visitor panicked"))?
}

/// For how many milliseconds the service is paused, as `status` says it; `None`: it is not.
fn left(scene: &Scene) -> Result<Option<u64>> {
    let status = scene.json(&["status", "shop"])?;
    ensure!(status["hold"].is_null() || status["hold"]["paused"] == true, "{status}");
    Ok(status["hold"]["milliseconds"].as_u64())
}

fn dies(scene: &mut Scene) -> Result<()> {
    scene.balancer.process().signal(Signal::KILL)?;
    scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die").map(drop)
}

fn a_pause_holds_until_it_is_resumed(hook: Hook) -> Result<()> {
    Stage::new(hook, "pauses").explicit().versions(&VERSIONS).play(|scene| {
        let mut slow = scene.connection()?;
        slow.send(&balancer_tests::client::Request::get("/slow?ms=700"))?;
        std::thread::sleep(Duration::from_millis(100));
        let said = scene.cli(&["pause", "shop", "--max-hold", "20s", "--reason", "migration"])?;
        ensure!(said.contains("undo:    balancer resume shop"), "{said}");
        let visitors: Vec<_> = (0..8).map(|_| visitor(scene)).collect();
        // What is in flight ends, and nothing begins.
        ensure!(slow.receive("GET")?.version() == "001");
        scene.idle("001")?;
        std::thread::sleep(Duration::from_millis(500));
        ensure!(visitors.iter().all(|visitor| !visitor.is_finished()), "somebody was answered");
        let text = scene.cli(&["status", "shop"])?;
        ensure!(text.contains("held: requests wait until balancer resume shop"), "{text}");
        ensure!(left(scene)?.is_some_and(|left| left < 20_000));
        let refused = scene.balancer.try_cli(&["flip", "shop", "002", "--mode", "exclusive"])?;
        ensure!(refused.status.code() == Some(3), "{refused:?}");
        // The migration: another version, and only then the requests.
        scene.cli(&["flip", "shop", "002", "--mode", "forced"])?;
        let resumed = Instant::now();
        scene.cli(&["resume", "shop"])?;
        for visitor in visitors {
            let (version, waited) = answer(visitor)?;
            ensure!(version == "002" && waited > Duration::from_millis(500), "{version} after {waited:?}");
        }
        ensure!(resumed.elapsed() < Duration::from_secs(5), "only {:?} after it was resumed", resumed.elapsed());
        ensure!(scene.counter("request_released")? > 0, "nobody was released at once");
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("pause") && history.contains("resume") && history.contains("migration"), "{history}");
        scene.all_idle()
    })
}

fn a_pause_ends_by_itself(hook: Hook) -> Result<()> {
    Stage::new(hook, "pauseends").explicit().versions(&VERSIONS).play(|scene| {
        scene.cli(&["pause", "shop", "--max-hold", "1s"])?;
        let (version, waited) = answer(visitor(scene))?;
        ensure!(version == "001" && waited > Duration::from_millis(500), "{version} after {waited:?}");
        wait_until("the end is written down", Duration::from_secs(3), || Ok(left(scene)?.is_none()))?;
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("the time of the pause is up"), "{history}");
        let refused = scene.balancer.try_cli(&["resume", "shop"])?;
        ensure!(refused.status.code() == Some(3), "{refused:?}");
        Ok(())
    })
}

fn a_pause_outlives_its_daemon_and_the_next_one_resumes_it(hook: Hook) -> Result<()> {
    Stage::new(hook, "pausekilled").explicit().versions(&VERSIONS).play(|scene| {
        scene.cli(&["pause", "shop", "--max-hold", "60s"])?;
        let visitors = [visitor(scene), visitor(scene)];
        dies(scene)?;
        std::thread::sleep(Duration::from_millis(500));
        scene.restart()?;
        ensure!(visitors.iter().all(|visitor| !visitor.is_finished()), "it let them go");
        ensure!(left(scene)?.is_some_and(|left| (20_000..60_000).contains(&left)), "{:?}", left(scene)?);
        scene.cli(&["resume", "shop"])?;
        for visitor in visitors {
            ensure!(answer(visitor)?.0 == "001");
        }
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}

fn a_pause_ends_without_its_daemon(hook: Hook) -> Result<()> {
    Stage::new(hook, "pausealone").explicit().versions(&VERSIONS).play(|scene| {
        scene.cli(&["pause", "shop", "--max-hold", "2s"])?;
        let visitor = visitor(scene);
        dies(scene)?;
        let (version, waited) = answer(visitor)?;
        ensure!(version == "001" && waited > Duration::from_secs(1), "{version} after {waited:?}");
        scene.restart()?;
        wait_until("the end is written down", Duration::from_secs(3), || Ok(left(scene)?.is_none()))?;
        begins_on(&mut scene.browser(), "001").map(drop)
    })
}
