//! Backends that say nothing any more: a request for one is answered by another, within a time that can be named.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use balancer_tests::client::Whoami;
use balancer_tests::lab::Hook;
use rustix::process::Signal;

use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    a_firewall_drops,
    the_link_is_down,
    silent_on_an_open_leg,
}

/// Linux clients send again after 0.2, 0.6, 1.4 and 3 s, or twice as late on a slow machine: the fourth time, somebody else gets the
/// request of a session. Where the neighbour is gone as well, the kernel looks for it for 3 s, and a client on the same host waits for
/// as long.
const PATIENCE: Duration = Duration::from_secs(9);

/// On an open leg only the health checks tell a dead host from lost acknowledgements: 3 s, and the client's next two attempts.
const UNTIL_FOUND_OUT: Duration = Duration::from_secs(9);

/// N16.
fn a_firewall_drops(hook: Hook) -> Result<()> {
    silent(hook, "drops", |scene, host| {
        let rules = "add table ip t; add chain ip t in { type filter hook input priority 0; }; \
                     add rule ip t in tcp dport 8080 drop";
        scene.lab.backend(host).output("nft", &[rules]).map(drop)
    })
}

fn the_link_is_down(hook: Hook) -> Result<()> {
    silent(hook, "linkdown", |scene, host| {
        scene.lab.backend(host).output("ip", &["link", "set", "eth0", "down"]).map(drop)
    })
}

fn silent(hook: Hook, label: &str, silence: impl Fn(&Scene, usize) -> Result<()>) -> Result<()> {
    Stage::new(hook, label).versions(&[("001", &[1, 2])]).play(|scene| {
        let mut anna = scene.browser();
        let begun = begins_on(&mut anna, "001")?;
        anna.disconnect();
        // No health check helps: the data path finds out on its own.
        scene.balancer.process().signal(Signal::STOP)?;
        silence(scene, if begun.backend == "b1" { 1 } else { 2 })?;

        let (mut annas, took) = elsewhere(&begun, || anna.whoami())?;
        ensure!(took < PATIENCE, "the answer took {took:?}");
        goes_on(&mut anna, &mut annas)?;
        // What is known to be silent is passed over at once.
        let mut bert = scene.browser();
        let (_, took) = elsewhere(&begun, || bert.whoami())?;
        ensure!(took < Duration::from_millis(150), "the next one waited as well: {took:?}");
        scene.balancer.process().signal(Signal::CONT)?;
        // The checks find out, too: from then on it is passed over for as long as it takes.
        std::thread::sleep(Duration::from_secs(5));
        let (_, took) = elsewhere(&begun, || scene.browser().whoami())?;
        ensure!(took < Duration::from_millis(150), "5 s later it took {took:?}");
        goes_on(&mut anna, &mut annas)
    })
}

/// The leg is there when the backend falls silent.
fn silent_on_an_open_leg(hook: Hook) -> Result<()> {
    Stage::new(hook, "openleg").versions(&[("001", &[1, 2])]).play(|scene| {
        let mut anna = scene.browser();
        let begun = begins_on(&mut anna, "001")?;
        let host = if begun.backend == "b1" { 1 } else { 2 };
        scene.lab.backend(host).output("ip", &["link", "set", "eth0", "down"])?;
        let (mut annas, took) = elsewhere(&begun, || anna.whoami())?;
        ensure!(took < UNTIL_FOUND_OUT, "the answer took {took:?}");
        goes_on(&mut anna, &mut annas)
    })
}

/// The answer of another backend, and how long it took.
fn elsewhere(silent: &Whoami, mut ask: impl FnMut() -> Result<Whoami>) -> Result<(Whoami, Duration)> {
    let began = Instant::now();
    let answer = ask()?;
    ensure!(answer.new && answer.backend != silent.backend, "{answer:?} although {} is silent", silent.backend);
    Ok((answer, began.elapsed()))
}
