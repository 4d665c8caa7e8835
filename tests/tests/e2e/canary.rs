//! A share of new sessions on another version (D17).

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Whoami};
use balancer_tests::lab::Hook;

use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    d17_a_canary_gets_a_share_of_new_sessions_and_both_sides_stick,
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
