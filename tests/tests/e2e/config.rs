//! The config of a running director: compared, reloaded by command and by signal, refused, and written down.

use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::balancer::Balancer;
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::metrics::{METRICS, PLACE, loopback, scrape};
use crate::programs;
use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    reloads_under_load_disturb_nobody,
    a_broken_file_changes_nothing,
    what_would_move_somebody_has_to_be_insisted_on,
    what_is_exported_begins_again,
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Puts something else into the daemon's file.
fn edit(scene: &mut Scene, from: &str, to: &str) -> Result<()> {
    ensure!(scene.config.contains(from), "no {from} in {}", scene.config);
    scene.config = scene.config.replacen(from, to, 1);
    scene.lab.write_config(&scene.config).map(drop)
}

/// Has the daemon read its file, and waits until it says so.
fn hang_up(scene: &mut Scene, says: &str) -> Result<()> {
    scene.balancer.process().signal(Signal::HUP)?;
    wait_until(says, PATIENCE, || Ok(scene.balancer.process().log().contains(says)))
}

/// It ends with `code` and says this; what runs is as before.
fn refused(scene: &Scene, arguments: &[&str], code: i32, says: &[&str]) -> Result<()> {
    let seen = || Ok::<_, anyhow::Error>((scene.cli(&["config", "export"])?, scene.json(&["history"])?));
    let before = seen()?;
    let Output { status, stderr, .. } = scene.balancer.try_cli(arguments)?;
    let text = String::from_utf8_lossy(&stderr);
    ensure!(status.code() == Some(code), "{arguments:?}: {status}: {text}");
    says.iter().try_for_each(|part| {
        ensure!(text.contains(part), "{arguments:?} does not say `{part}`: {text}");
        Ok(())
    })?;
    ensure!(seen()? == before, "{arguments:?} changed something");
    Ok(())
}

/// D22: a reload disturbs nobody.
fn reloads_under_load_disturb_nobody(hook: Hook) -> Result<()> {
    Stage::new(hook, "reload").explicit().versions(&[("001", &[1]), ("002", &[2])]).play(|scene| {
        loopback(scene)?;
        let load = scene.load(4).start(scene.lab.client());
        edit(scene, "idle = \"30m\"", "idle = \"10m\"")?;
        edit(scene, "interval = \"1s\"", "interval = \"200ms\"")?;
        let diff = scene.cli(&["config", "diff"])?;
        ensure!(diff.contains("shop: idle 30m -> 10m") && diff.contains("health.interval 1s -> 200ms"), "{diff}");
        let dry = scene.cli(&["config", "reload", "--dry-run"])?;
        ensure!(dry.contains("will:    shop: idle 30m -> 10m") && !dry.contains("done:"), "{dry}");
        let done = scene.cli(&["config", "reload", "--reason", "shorter"])?;
        ensure!(done.contains("done:") && done.contains("shop: idle 30m -> 10m"), "{done}");
        ensure!(scene.cli(&["config", "diff"])?.starts_with("no difference"));

        // By signal, with a place for metrics.
        edit(scene, "idle = \"10m\"", "idle = \"20m\"")?;
        edit(scene, "\n[[service]]", &format!("\n{METRICS}[[service]]"))?;
        hang_up(scene, "shop: idle 10m -> 20m (SIGHUP)")?;
        wait_until("metrics are served", PATIENCE, || Ok(scrape(scene, PLACE).is_ok()))?;
        ensure!(scrape(scene, PLACE)?["balancer_config_reloads_total{result=\"done\"}"] == 2.0);
        edit(scene, "127.0.0.1:9114", "127.0.0.1:9115")?;
        scene.cli(&["config", "reload"])?;
        wait_until("they are elsewhere", PATIENCE, || Ok(scrape(scene, "127.0.0.1:9115").is_ok()))?;
        ensure!(scrape(scene, PLACE).is_err(), "they are still here");
        load.finish()?.expect_clean()?;

        // The faster checks are at work: at one a second, two bad ones would take longer.
        scene.kill(2);
        wait_until("it is seen to be down", Duration::from_millis(900), || {
            Ok(scene.json(&["status", "shop"])?["versions"][1]["backends"][0]["condition"] == "down")
        })?;
        let history = scene.cli(&["history", "--limit", "10"])?;
        ensure!(history.contains("config reload") && history.contains("idle 30m -> 10m"), "{history}");
        let audit = std::fs::read_to_string(scene.lab.dir().join("state/audit.log"))?;
        let line = audit.lines().find(|line| line.contains("config reload")).context("no line")?;
        ensure!(line.contains("\"reason\":\"shorter\"") && line.contains("idle 30m -> 10m"), "{line}");
        Ok(())
    })
}

/// D22: a reload is made as a whole or not at all.
fn a_broken_file_changes_nothing(hook: Hook) -> Result<()> {
    Stage::new(hook, "broken").play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        edit(scene, "idle = \"30m\"", "idle = \"10m\"")?;
        for (from, to, says) in [
            ("sources =", "sauces =", "unknown key `sauces`"),
            ("listen = ", "listen ", "balancer.toml:"),
            ("idle = \"10m\"", "idle = \"soon\"", "`soon` is not a time"),
        ] {
            edit(scene, from, to)?;
            refused(scene, &["config", "reload"], 2, &["balancer.toml:", says, "fix: "])?;
            refused(scene, &["config", "diff"], 2, &[says])?;
            hang_up(scene, says)?;
            goes_on(&mut anna, &mut annas)?;
            edit(scene, to, from)?;
        }
        std::fs::remove_file(scene.lab.dir().join("balancer.toml"))?;
        refused(scene, &["config", "reload"], 2, &["cannot be read"])?;
        goes_on(&mut anna, &mut annas)?;
        scene.lab.write_config(&scene.config)?;
        scene.cli(&["config", "reload"]).map(drop)
    })
}

/// D22: nobody moves because of a file.
fn what_would_move_somebody_has_to_be_insisted_on(hook: Hook) -> Result<()> {
    Stage::new(hook, "insisted").explicit().versions(&[("001", &[1]), ("002", &[2])]).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        goes_on(&mut anna, &mut annas)?;
        edit(scene, "sessions = 65536", "sessions = 131072")?;
        refused(scene, &["config", "reload"], 3, &["sessions 65536 -> 131072", "balancer detach"])?;
        refused(scene, &["config", "reload", "--force"], 3, &["sessions 65536 -> 131072", "balancer detach"])?;
        edit(scene, "sessions = 131072", "sessions = 65536")?;
        edit(scene, "select = \"explicit\"", "select = \"highest\"")?;
        refused(
            scene,
            &["config", "reload"],
            3,
            &["new sessions would get 002 instead of 001", "balancer flip shop 002"],
        )?;
        edit(scene, "select = \"highest\"", "select = \"explicit\"")?;
        edit(scene, "cookie = \"JSESSIONID\"", "cookie = \"OTHER\"")?;
        refused(scene, &["config", "reload"], 3, &["cookie JSESSIONID -> OTHER", "1 sessions", "--force"])?;
        goes_on(&mut anna, &mut annas)?;
        scene.cli(&["config", "reload", "--force"])?;
        ensure!(scene.cli(&["config", "diff"])?.starts_with("no difference"));
        ensure!(scene.active()? == "001");
        anna.whoami().map(drop)
    })
}

fn what_is_exported_begins_again(hook: Hook) -> Result<()> {
    Stage::new(hook, "export").hosts(3).routed().versions(&[("001", &[1]), ("002", &[2])]).play(|scene| {
        scene.add("003", &[3])?;
        scene.cli(&["flip", "shop", "002"])?;
        scene.cli(&["backend", "weight", "shop", "001", &scene.lab.application(1).to_string(), "7"])?;
        let exported = scene.cli(&["config", "export"])?;
        let path = scene.lab.dir().join("exported.toml");
        std::fs::write(&path, &exported)?;
        let path = path.display().to_string();
        ensure!(scene.cli(&["config", "check", &path])?.contains("is a good config"));
        let diff = scene.cli(&["config", "diff", &path])?;
        ensure!(diff.starts_with("no difference"), "{diff}");

        scene.cli(&["detach"])?;
        scene.balancer.process().wait(Duration::from_secs(10))?.context("the daemon does not end")?;
        std::fs::remove_dir_all(scene.lab.dir().join("state"))?;
        scene.config.clone_from(&exported);
        scene.balancer = Balancer::start(scene.lab, programs::balancer()?, &exported)?;
        ["001", "002", "003"].iter().try_for_each(|label| scene.healthy(label))?;
        ensure!(scene.active()? == "002", "{} is active", scene.active()?);
        ensure!(scene.cli(&["config", "export"])? == exported, "{exported}");
        begins_on(&mut scene.browser(), "002").map(drop)
    })
}
