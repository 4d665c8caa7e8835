//! Shares of new sessions, and what becomes of those of a backend that was restarted.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Whoami};
use balancer_tests::lab::Hook;
use serde_json::Value;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    without_weight_a_backend_keeps_its_sessions_and_gets_no_more,
    c16_a_restarted_backend_forgets_where_it_is_told_to,
    a_restarted_backend_keeps_its_sessions_and_starts_slowly,
}

/// Enough that each of two backends has some by all likelihood: less than one in 10¹¹ runs would find none.
const CLIENTS: u8 = 40;

/// New sessions from each of the client's addresses.
fn crowd(scene: &Scene) -> Result<Vec<(Browser, Whoami)>> {
    let newcomer = |index| {
        scene.come_from(index)?;
        let mut browser = scene.browser();
        let answer = begins_on(&mut browser, "001")?;
        Ok((browser, answer))
    };
    (0..CLIENTS).map(newcomer).collect()
}

/// How many of them each backend has.
fn shares(crowd: &[(Browser, Whoami)]) -> BTreeMap<String, usize> {
    crowd.iter().fold(BTreeMap::new(), |mut shares, (_, answer)| {
        *shares.entry(answer.backend.clone()).or_default() += 1;
        shares
    })
}

fn without_weight_a_backend_keeps_its_sessions_and_gets_no_more(hook: Hook) -> Result<()> {
    Stage::new(hook, "weights").clients(CLIENTS).versions(&[("001", &[1, 2])]).play(|scene| {
        let mut before = crowd(scene)?;
        ensure!(shares(&before).len() == 2, "{:?}", shares(&before));
        let second = scene.lab.application(2).to_string();
        let said = scene.cli(&["backend", "weight", "shop", "001", &second, "0"])?;
        ensure!(said.contains(&format!("undo:    balancer backend weight shop 001 {second} 100")), "{said}");
        let after = crowd(scene)?;
        ensure!(shares(&after).keys().eq(["b1"]), "{:?}", shares(&after));
        for (browser, session) in &mut before {
            goes_on(browser, session)?;
        }
        scene.cli(&["backend", "weight", "shop", "001", &second, "1000"])?;
        let more = crowd(scene)?;
        let shares = shares(&more);
        ensure!(
            shares.get("b2").is_some_and(|b2| *b2 > usize::from(CLIENTS) / 2),
            "with ten times the weight: {shares:?}"
        );
        Ok(())
    })
}

/// The first backend, as `status` has it.
fn first(scene: &Scene) -> Result<Value> {
    Ok(scene.json(&["status", "shop"])?["versions"][0]["backends"][0].clone())
}

/// Restarts the first backend, so slowly that the health checks notice.
fn restart(scene: &mut Scene) -> Result<()> {
    scene.kill(1);
    wait_until("it is down", Duration::from_secs(10), || Ok(first(scene)?["condition"] == "down"))?;
    scene.start(1, "001")?;
    wait_until("it is up", Duration::from_secs(10), || Ok(first(scene)?["condition"] == "up"))
}

fn c16_a_restarted_backend_forgets_where_it_is_told_to(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "forgets").versions(&[("001", &[1]), ("002", &[2])]).explicit();
    stage.service_lines("on_backend_restart = \"forget\"\n").play(|scene| {
        let mut anna = scene.browser();
        begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        restart(scene)?;
        // Her session was in the memory of what was restarted: she is a new user now, and gets what new users get.
        begins_on(&mut anna, "002").map(drop)
    })
}

fn a_restarted_backend_keeps_its_sessions_and_starts_slowly(hook: Hook) -> Result<()> {
    let stage = Stage::new(hook, "keeps").versions(&[("001", &[1]), ("002", &[2])]).explicit();
    stage.health_lines("slow_start = \"6s\"\n").play(|scene| {
        let mut anna = scene.browser();
        begins_on(&mut anna, "001")?;
        scene.cli(&["flip", "shop", "002"])?;
        restart(scene)?;
        let share = first(scene)?["weight_now"].as_u64().context("no weight")?;
        ensure!(share < 100, "it has all of its share at once: {share}");
        // The demo has its sessions in memory, so it is another one; but where it was.
        begins_on(&mut anna, "001")?;
        wait_until("it has its share", Duration::from_secs(10), || Ok(first(scene)?["weight_now"] == 100))
    })
}
