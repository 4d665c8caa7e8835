//! What an operator made survives a restart of the daemon and a reboot of the machine.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::Hook;
use rustix::process::Signal;
use serde_json::Value;

use crate::detach::pins;
use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    versions_flips_and_history_survive,
}

fn versions_flips_and_history_survive(hook: Hook) -> Result<()> {
    Stage::new(hook, "survives").hosts(3).play(|scene| {
        scene.add("002", &[2])?;
        scene.add("003", &[3])?;
        scene.cli(&["flip", "shop", "002"])?;
        let before = made(scene)?;
        ensure!(before.1.as_array().is_some_and(|changes| changes.len() >= 3), "the history is short: {}", before.1);

        // The daemon alone.
        kill(scene)?;
        scene.restart()?;
        ensure!(made(scene)? == before, "{:?} after a restart, not {before:?}", made(scene)?);

        // The machine: nothing is in the kernel any more.
        scene.cli(&["detach"])?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("the daemon did not end")?;
        ensure!(!pins(scene.lab).exists());
        scene.restart()?;
        ensure!(made(scene)? == before, "{:?} after a reboot, not {before:?}", made(scene)?);
        begins_on(&mut scene.browser(), "002")?;

        // The way back is still known, and what is above stays held.
        scene.cli(&["rollback", "shop"])?;
        let (versions, _) = made(scene)?;
        let active: Vec<_> = versions.as_array().into_iter().flatten().filter(|pair| pair[1] == "active").collect();
        ensure!(active == [&serde_json::json!([BACK_TO, "active"])], "not rolled back: {versions}");
        only_whole_files(scene)
    })
}

/// What was active before the flip.
const BACK_TO: &str = "003";

/// Labels and states, and the history.
fn made(scene: &Scene) -> Result<(Value, Value)> {
    let status = scene.json(&["status", "shop"])?;
    let versions = status["versions"].as_array().context("no versions")?;
    let pairs = versions.iter().map(|version| serde_json::json!([version["label"], version["state"]]));
    Ok((pairs.collect(), scene.json(&["history"])?["changes"].clone()))
}

fn kill(scene: &mut Scene) -> Result<()> {
    scene.balancer.process().signal(Signal::KILL)?;
    scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die").map(drop)
}

/// Whatever was written under another name first has got its own.
fn only_whole_files(scene: &Scene) -> Result<()> {
    for entry in fs::read_dir(scene.lab.dir().join("state"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        ensure!(!name.starts_with('.') && !name.contains("tmp"), "{name} was left behind");
    }
    Ok(())
}
