//! Over IPv6: the same stories, of which each shows a part of the data path that is the family's, or of what an operator types
//! and reads.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Connection, Expect, Load, Request};
use balancer_tests::lab::{Family, Hook};
use balancer_tests::stage::Stage;
use rustix::process::Signal;

use crate::bodies::upload_and_download;
use crate::dying::{TWO_BACKENDS, host, moves_over};
use crate::mixed::{mix, three_sessions};
use crate::story_2;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    versions_side_by_side,
    one_connection_for_three_sessions,
    bodies_of_both_directions,
    flips_under_load_break_nothing,
    a_backend_dies,
    a_restarted_daemon_is_not_noticed,
    a_held_request_is_released,
    backends_see_the_clients,
    an_operator_types_and_reads_addresses,
}

fn stage<'a>(hook: Hook, label: &'a str) -> Stage<'a> {
    Stage::new(hook, label).family(Family::V6)
}

fn versions_side_by_side(hook: Hook) -> Result<()> {
    stage(hook, "sixstory2").hosts(3).play(|scene| {
        let (anna, bert, carl) = (scene.browser(), scene.browser(), scene.browser());
        story_2::story(scene, anna, bert, carl)?;
        scene.all_idle()
    })
}

/// Re-bound and by way of the pool: its legs are other flows' later.
fn one_connection_for_three_sessions(hook: Hook) -> Result<()> {
    stage(hook, "sixmixed").hosts(3).play(|scene| {
        let sessions = three_sessions(scene)?;
        mix(&mut scene.connection()?, sessions, 1000, 11)?;
        ensure!(scene.counter("leg_parked")? > 100, "legs were not pooled");
        scene.all_idle()
    })
}

/// N1: of 64 KB each with a partial checksum, under TC.
fn bodies_of_both_directions(hook: Hook) -> Result<()> {
    stage(hook, "sixbodies").play(|scene| {
        upload_and_download(&mut scene.connection()?, 5, 1 << 20, 10 << 20)?;
        scene.all_idle()
    })
}

fn flips_under_load_break_nothing(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
    stage(hook, "sixflips").explicit().versions(&versions).play(|scene| {
        let load = Load { expect: Expect::Moves, disconnect_after: Some(50), ..scene.load(6) };
        let load = load.start(scene.lab.client());
        for label in ["002", "001", "002"] {
            std::thread::sleep(Duration::from_millis(300));
            scene.cli(&["flip", "shop", label, "--mode", "forced"])?;
        }
        load.finish()?.expect_clean()?;
        scene.all_idle()?;
        begins_on(&mut scene.browser(), "002").map(drop)
    })
}

fn a_backend_dies(hook: Hook) -> Result<()> {
    stage(hook, "sixdies").versions(&TWO_BACKENDS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        goes_on(&mut anna, &mut annas)?;
        scene.kill(host(&annas));
        moves_over(&mut anna, &mut annas)
    })
}

/// D14.
fn a_restarted_daemon_is_not_noticed(hook: Hook) -> Result<()> {
    stage(hook, "sixrestart").hosts(2).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        scene.add("002", &[2])?;
        for signal in [Signal::TERM, Signal::KILL] {
            scene.balancer.process().signal(signal)?;
            scene.balancer.process().wait(Duration::from_secs(5))?.context("it does not end")?;
            goes_on(&mut anna, &mut annas)?;
            begins_on(&mut scene.browser(), "002")?;
            scene.restart()?;
            goes_on(&mut anna, &mut annas)?;
            begins_on(&mut scene.browser(), "002")?;
        }
        scene.all_idle()
    })
}

/// D10: what comes in again is a packet of IPv6.
fn a_held_request_is_released(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
    stage(hook, "sixheld").explicit().versions(&versions).play(|scene| {
        let (node, to) = (scene.lab.client().clone(), scene.lab.service());
        let slow = std::thread::spawn({
            let node = node.clone();
            move || Connection::open(&node, to)?.get("/slow?ms=1500", None)
        });
        std::thread::sleep(Duration::from_millis(300));
        let held = std::thread::spawn(move || -> Result<_> {
            let mut connection = Connection::open(&node, to)?;
            std::thread::sleep(Duration::from_millis(500));
            let began = Instant::now();
            Ok((connection.get("/", None)?, began.elapsed()))
        });
        scene.cli(&["flip", "shop", "002", "--mode", "exclusive"])?;
        let slow = slow.join().expect("the thread lives")?;
        let (held, took) = held.join().expect("the thread lives")?;
        ensure!(slow.version() == "001" && held.version() == "002", "{} and {}", slow.version(), held.version());
        ensure!(took > Duration::from_millis(300), "it was not held: {took:?}");
        ensure!(scene.counter("request_released")? > 0, "its own retransmission brought it");
        scene.all_idle()
    })
}

/// N22.
fn backends_see_the_clients(hook: Hook) -> Result<()> {
    stage(hook, "sixpeers").clients(3).gateway().versions(&TWO_BACKENDS).play(|scene| {
        for client in 0..3 {
            scene.come_from(client)?;
            let mut connection = scene.connection()?;
            let own = connection.stream().local_addr()?.ip();
            for _ in 0..3 {
                let response = connection.request(&Request::get("/whoami"))?;
                let seen: std::net::SocketAddr = response.peer().parse().context("an address and a port")?;
                ensure!(seen.ip() == own, "the backend saw {seen} instead of {own}");
            }
        }
        scene.all_idle()
    })
}

fn an_operator_types_and_reads_addresses(hook: Hook) -> Result<()> {
    stage(hook, "sixcli").hosts(2).play(|scene| {
        let [one, two] = [1, 2].map(|index| scene.lab.application(index).to_string());
        scene.start(2, "002")?;
        scene.cli(&["version", "add", "shop", "002", "--backend", &two])?;
        scene.healthy("002")?;
        let status = scene.cli(&["status", "shop"])?;
        ensure!(status.contains(&one) && status.contains(&two), "{status}");
        let json = scene.json(&["status", "shop"])?;
        ensure!(json["listen"] == scene.lab.service().to_string(), "{json}");
        // A connection does not change its address family.
        let refused = scene.cli(&["version", "add", "shop", "003", "--backend", "10.60.1.2:8080"]);
        let refused = refused.err().context("a backend of IPv4 was taken")?.to_string();
        ensure!(refused.contains("listens on IPv6"), "{refused}");
        let client = scene.lab.address_of(scene.lab.client()).to_string();
        let session = begins_on(&mut scene.browser(), "002")?;
        let said = scene.json(&["explain", "shop", "--cookie", &session.session, "--source", &client])?;
        ensure!(said["version"] == "002" && said["backend"] == two, "{said}");
        // A pin by a network of IPv6 beats what is newest, for its clients.
        let network = format!("{client}/128");
        scene.cli(&["pin", "add", "shop", "--to", "001", "--source", &network])?;
        begins_on(&mut scene.browser(), "001")?;
        let exported = scene.cli(&["config", "export"])?;
        ensure!(exported.contains(&format!("listen = \"{}\"", scene.lab.service())), "{exported}");
        ensure!(exported.contains(&format!("\"{two}\"")), "{exported}");
        Ok(())
    })
}
