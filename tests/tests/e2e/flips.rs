//! Flips under load: twenty of each mode, beside browsers that stay connected, browsers that do not, and wrk.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::{Browser, Expect, Load, Running};
use balancer_tests::lab::Hook;
use serde_json::Value;

use crate::scene::Scene;
use crate::stage::Stage;
use crate::wrk::Wrk;

under_both_hooks! {
    new_sessions_flips_move_nobody,
    forced_flips_move_everybody_at_the_next_request,
    versions_come_and_go_without_an_error,
}

const FLIPS: usize = 20;
const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1, 2]), ("002", &[3, 4])];

/// Browsers that keep session and connection, and others that change both often.
fn browse(scene: &Scene, expect: Expect) -> [Running; 2] {
    let pause = Duration::from_millis(1);
    let staying = Load { expect, pause, ..scene.load(8) };
    let changing = Load { expect, pause, clear_after: Some(5), disconnect_after: Some(3), ..scene.load(8) };
    [staying.start(scene.lab.client()), changing.start(scene.lab.client())]
}

/// D7, D8: 0 version changes, 0 errors; and each flip takes effect for whoever begins.
fn new_sessions_flips_move_nobody(hook: Hook) -> Result<()> {
    Stage::new(hook, "flipnew").explicit().hosts(4).versions(&VERSIONS).play(|scene| {
        let (wrk, load) = (Wrk::start(scene.lab)?, browse(scene, Expect::Stays));
        let mut witnesses: Vec<(Browser, &str)> = Vec::new();
        for label in ["002", "001"].into_iter().cycle().take(FLIPS) {
            // Born just before the flip, comes back just after it.
            let mut before = scene.browser();
            let born = before.whoami()?;
            scene.cli(&["flip", "shop", label])?;
            ensure!(before.whoami()?.version == born.version, "a session born before the flip moved");
            let mut after = scene.browser();
            ensure!(after.whoami()?.version == label, "a session born after the flip is not on {label}");
            witnesses.push((after, label));
            for (browser, label) in &mut witnesses {
                let answer = browser.whoami()?;
                ensure!(answer.version == *label && answer.known, "not on {label} any more: {answer:?}");
            }
        }
        finish(scene, wrk, load, |moved| moved == 0)
    })
}

/// D9: the next request of every session goes to the new version, also on connections that are open.
fn forced_flips_move_everybody_at_the_next_request(hook: Hook) -> Result<()> {
    Stage::new(hook, "flipforced").explicit().hosts(4).versions(&VERSIONS).play(|scene| {
        let (wrk, load) = (Wrk::start(scene.lab)?, browse(scene, Expect::Moves));
        let mut witnesses: Vec<Browser> = (0..6).map(|_| scene.browser()).collect();
        for witness in &mut witnesses {
            ensure!(witness.whoami()?.version == "001", "001 is the first");
        }
        for label in ["002", "001"].into_iter().cycle().take(FLIPS) {
            scene.cli(&["flip", "shop", label, "--mode", "forced"])?;
            for witness in &mut witnesses {
                let moved = witness.whoami()?;
                ensure!(moved.version == label && moved.new, "not moved to {label}: {moved:?}");
                let next = witness.whoami()?;
                ensure!(next.session == moved.session && next.hits == 2, "{next:?} after {moved:?}");
            }
        }
        ensure!(witnesses.iter().all(|witness| witness.connections() == 1), "a witness had to connect again");
        finish(scene, wrk, load, |moved| moved > 0)
    })
}

/// Story 2's kind of flip: the highest version comes, which moves nobody, and goes, which is an error for nobody.
fn versions_come_and_go_without_an_error(hook: Hook) -> Result<()> {
    Stage::new(hook, "comeandgo").hosts(3).versions(&[("001", &[1, 2])]).play(|scene| {
        let (wrk, load) = (Wrk::start(scene.lab)?, browse(scene, Expect::Stays));
        scene.add("002", &[3])?;
        let both = |versions: &Value| versions.as_array().is_some_and(|versions| versions.len() == 2);
        ensure!(both(&scene.json(&["version", "ls", "shop"])?));
        finish(scene, wrk, load, |moved| moved == 0)?;

        let (wrk, load) = (Wrk::start(scene.lab)?, browse(scene, Expect::Moves));
        let backend = scene.lab.application(3).to_string();
        for _ in 0..5 {
            scene.cli(&["version", "rm", "shop", "002"])?;
            ensure!(scene.browser().whoami()?.version == "001", "002 is gone");
            scene.cli(&["version", "add", "shop", "002", "--backend", &backend])?;
            scene.healthy("002")?;
            ensure!(scene.browser().whoami()?.version == "002", "002 is back");
        }
        finish(scene, wrk, load, |moved| moved > 0)
    })
}

/// Nobody saw an error, and nothing is in flight any more.
fn finish(scene: &Scene, wrk: Wrk, load: [Running; 2], moved: impl Fn(u64) -> bool) -> Result<()> {
    for load in load {
        let tally = load.finish()?;
        tally.expect_clean()?;
        ensure!(moved(tally.moved), "{} sessions moved: {tally:?}", tally.moved);
    }
    wrk.finish()?;
    scene.all_idle()
}
