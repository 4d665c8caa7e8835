//! A share of new sessions on another version (D17).

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Connection, Expect, Load, Request, Whoami};
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::scene::{Scene, wait_until};
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    d17_a_canary_gets_a_share_of_new_sessions_and_both_sides_stick,
    d17_a_canary_that_fails_is_given_up_and_its_sessions_move,
    d17_canaries_come_and_go_under_load_without_an_error,
    d17_a_canary_goes_on_without_and_behind_its_daemon,
}

/// Enough that each side has somebody: less than one in 10¹¹ runs has not.
const CLIENTS: u8 = 40;

/// New sessions from each of the client's addresses, wherever they begin.
fn crowd(scene: &Scene) -> Result<Vec<(Browser, Whoami)>> {
    let newcomer = |index| {
        scene.come_from(index)?;
        let mut browser = scene.browser();
        let answer = browser.whoami()?;
        ensure!(answer.new, "{answer:?}");
        Ok((browser, answer))
    };
    (0..CLIENTS).map(newcomer).collect()
}

fn on(crowd: &[(Browser, Whoami)], version: &str) -> usize {
    crowd.iter().filter(|(_, answer)| answer.version == version).count()
}

fn d17_a_canary_gets_a_share_of_new_sessions_and_both_sides_stick(hook: Hook) -> Result<()> {
    Stage::new(hook, "canary").clients(CLIENTS).versions(&[("001", &[1])]).play(|scene| {
        scene.start(2, "002")?;
        let second = scene.lab.application(2).to_string();
        scene.cli(&["version", "add", "shop", "002", "--backend", &second, "--stage"])?;
        scene.healthy("002")?;
        ensure!(on(&crowd(scene)?, "001") == usize::from(CLIENTS), "somebody reached a staged version");

        scene.cli(&["flip", "shop", "002", "--mode", "percent", "--percent", "50"])?;
        let mut first = crowd(scene)?;
        let again = crowd(scene)?;
        ensure!(on(&first, "001") > 0 && on(&first, "002") > 0, "{} on the canary", on(&first, "002"));
        let same = first.iter().zip(&again).all(|((_, one), (_, other))| one.version == other.version);
        ensure!(same, "an address changed sides");
        // A larger share moves nobody away from the canary, and no session.
        scene.cli(&["flip", "shop", "002", "--mode", "percent", "--percent", "75"])?;
        let more = crowd(scene)?;
        let kept = first.iter().zip(&more).all(|((_, one), (_, other))| one.version == "001" || other.version == "002");
        ensure!(kept, "somebody left the canary because it grew");
        for (browser, session) in &mut first {
            goes_on(browser, session)?;
        }
        let status = scene.json(&["status", "shop"])?;
        let canary = &status["canary"];
        let measured = canary["measured_percent"].as_f64().context("nothing is measured")?;
        let all = 3 * usize::from(CLIENTS);
        let expected = (on(&first, "002") + on(&again, "002") + on(&more, "002")) as f64 * 100.0 / all as f64;
        ensure!(canary["new_sessions"] == all && (measured - expected).abs() < 0.01, "{canary}, not {expected}");

        // Given up, its sessions move; or it is promoted, and nobody moves.
        let state = scene.cli(&["abort", "shop"])?;
        ensure!(state.contains("undo:    balancer flip shop 002 --mode percent --percent 75"), "{state}");
        for (browser, session) in &mut first {
            if session.version == "001" { goes_on(browser, session)? } else { *session = begins_on(browser, "001")? }
        }
        scene.cli(&["flip", "shop", "002", "--mode", "percent", "--percent", "50"])?;
        let mut second = crowd(scene)?;
        scene.cli(&["promote", "shop"])?;
        for (browser, session) in first.iter_mut().chain(&mut second) {
            goes_on(browser, session)?;
        }
        ensure!(on(&crowd(scene)?, "002") == usize::from(CLIENTS), "new sessions do not all get it");
        scene.cli(&["rollback", "shop", "--sessions", "keep"])?;
        ensure!(scene.active()? == "001");
        Ok(())
    })
}

/// A lab with a staged 002 beside the active 001.
fn staged(hook: Hook, name: &str, story: impl FnOnce(&mut Scene) -> Result<()>) -> Result<()> {
    Stage::new(hook, name).clients(CLIENTS).versions(&[("001", &[1])]).play(|scene| {
        scene.start(2, "002")?;
        let second = scene.lab.application(2).to_string();
        scene.cli(&["version", "add", "shop", "002", "--backend", &second, "--stage"])?;
        scene.healthy("002")?;
        story(scene)
    })
}

fn d17_a_canary_that_fails_is_given_up_and_its_sessions_move(hook: Hook) -> Result<()> {
    staged(hook, "canaryfails", |scene| {
        // Errors that both have are not the canary's; and without a limit it stays whatever it does.
        let asks = |scene: &Scene, bad: &str| -> Result<()> {
            for index in 0..CLIENTS {
                scene.come_from(index)?;
                let mut connection = Connection::open(scene.lab.client(), scene.lab.service())?;
                let response = connection.request(&Request::get(&format!("/fails?on={bad}")))?;
                ensure!((response.status == 500) == (response.version() == bad), "{response:?}");
            }
            Ok(())
        };
        let begins = ["flip", "shop", "002", "--mode", "percent", "--percent", "50", "--min-requests", "10"];
        scene.cli(&[&begins[..], &["--abort-over", "never"]].concat())?;
        asks(scene, "002")?;
        std::thread::sleep(Duration::from_millis(2500));
        let status = scene.json(&["status", "shop"])?;
        let failed = status["canary"]["outcomes"]["errors"].as_u64().context("nothing is counted")?;
        ensure!(failed > 0 && status["canary"]["outcomes"]["answers"] == failed, "{status}");
        ensure!(status["canary"]["active_outcomes"]["answers"] == u64::from(CLIENTS) - failed, "{status}");
        ensure!(status["canary"]["active_outcomes"]["errors"] == 0, "{status}");

        // Somebody is on it when the limit comes.
        let mut on_canary = None;
        for index in 0..CLIENTS {
            scene.come_from(index)?;
            let mut browser = scene.browser();
            if browser.whoami()?.version == "002" {
                on_canary = Some(browser);
                break;
            }
        }
        let mut browser = on_canary.context("nobody is on the canary")?;
        scene.cli(&[&begins[..], &["--abort-over", "5%"]].concat())?;
        wait_until("the canary is given up", Duration::from_secs(10), || {
            Ok(scene.json(&["status", "shop"])?["canary"].is_null())
        })?;
        begins_on(&mut browser, "001")?;
        let status = scene.json(&["status", "shop"])?;
        let why = status["aborted"]["why"].as_str().context("it does not say why")?;
        ensure!(why.contains("of 5xx") && status["aborted"]["version"] == "002", "{status}");
        let text = scene.cli(&["status", "shop"])?;
        ensure!(text.contains("aborted: 002 was given up as a canary"), "{text}");
        let history = scene.cli(&["history", "shop"])?;
        ensure!(history.contains("abort") && history.contains("canary"), "{history}");
        let events = scene.cli(&["events", "shop"])?;
        ensure!(events.contains("it is given up as a canary"), "{events}");
        // It is back when somebody wants it back, with a clean slate.
        scene.cli(&[&begins[..], &["--abort-over", "5%"]].concat())?;
        ensure!(scene.json(&["status", "shop"])?["aborted"].is_null(), "it is still said");
        std::thread::sleep(Duration::from_millis(1500));
        ensure!(!scene.json(&["status", "shop"])?["canary"].is_null(), "given up for what was before");
        Ok(())
    })
}

fn d17_canaries_come_and_go_under_load_without_an_error(hook: Hook) -> Result<()> {
    staged(hook, "canaryload", |scene| {
        let pause = Duration::from_millis(5);
        let flip = |scene: &Scene, percent: &str| {
            scene.cli(&["flip", "shop", "002", "--mode", "percent", "--percent", percent]).map(drop)
        };
        // People of all addresses come and go, meanwhile.
        let passes = |scene: &Scene| (0..CLIENTS).step_by(3).try_for_each(|index| scene.come_from(index));
        let stays = Load { clear_after: Some(6), disconnect_after: Some(4), pause, ..scene.load(6) };
        // Nobody changes sides while a canary runs, nor when it is promoted, nor when it is given up and keeps its own.
        let running = stays.clone().start(scene.lab.client());
        for _ in 0..3 {
            flip(scene, "30")?;
            passes(scene)?;
            flip(scene, "60")?;
            passes(scene)?;
            scene.cli(&["abort", "shop", "--sessions", "keep"])?;
            passes(scene)?;
            flip(scene, "40")?;
            passes(scene)?;
            scene.cli(&["promote", "shop"])?;
            passes(scene)?;
            scene.cli(&["rollback", "shop", "--sessions", "keep"])?;
        }
        let tally = running.finish()?;
        ensure!(tally.errors == 0 && tally.wrong == 0 && tally.responses > 100, "{tally:#?}");
        // Where its sessions move, that is all that happens to them.
        let running = Load { expect: Expect::Moves, ..stays }.start(scene.lab.client());
        for _ in 0..3 {
            flip(scene, "60")?;
            passes(scene)?;
            scene.cli(&["abort", "shop"])?;
            passes(scene)?;
        }
        let tally = running.finish()?;
        ensure!(tally.errors == 0 && tally.wrong == 0 && tally.responses > 100, "{tally:#?}");
        scene.all_idle()
    })
}

/// Killed in the middle of a canary: the share goes on, and the next daemon knows of it, and still gives it up if it fails.
fn d17_a_canary_goes_on_without_and_behind_its_daemon(hook: Hook) -> Result<()> {
    staged(hook, "canarykilled", |scene| {
        let begins = ["flip", "shop", "002", "--mode", "percent", "--percent", "50", "--min-requests", "10"];
        scene.cli(&[&begins[..], &["--abort-over", "5%"]].concat())?;
        let mut before = crowd(scene)?;
        scene.balancer.process().signal(Signal::KILL)?;
        scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not die")?;
        for (index, (browser, session)) in (0..).zip(&mut before) {
            scene.come_from(index)?;
            goes_on(browser, session)?;
        }
        let without = crowd(scene)?;
        let same = before.iter().zip(&without).all(|((_, one), (_, other))| one.version == other.version);
        ensure!(same, "an address changed sides without the daemon");
        for index in 0..CLIENTS {
            scene.come_from(index)?;
            Connection::open(scene.lab.client(), scene.lab.service())?.request(&Request::get("/fails?on=002"))?;
        }
        scene.restart()?;
        wait_until("the canary is given up", Duration::from_secs(10), || {
            let status = scene.json(&["status", "shop"])?;
            Ok(status["canary"].is_null() && status["aborted"]["version"] == "002")
        })
    })
}
