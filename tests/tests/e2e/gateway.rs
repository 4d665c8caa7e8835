//! `return = "gateway"`: backends route to the clients through the director, and see the clients' own addresses.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Expect, Load, Request};
use balancer_tests::lab::Hook;

use crate::bodies::upload_and_download;
use crate::dying::{TWO_BACKENDS, host, moves_over};
use crate::mixed::{mix, three_sessions};
use crate::programs;
use crate::stage::Stage;
use crate::story_2;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    backends_see_the_clients,
    versions_side_by_side,
    one_connection_for_three_sessions,
    bodies_of_both_directions,
    a_backend_dies,
    flips_under_load_break_nothing,
    an_operator_sees_how_it_is,
}

/// N22.
fn backends_see_the_clients(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwpeers").clients(3).gateway().versions(&TWO_BACKENDS).play(|scene| {
        for client in 0..3 {
            scene.come_from(client)?;
            let mut connection = scene.connection()?;
            let own = connection.stream().local_addr()?.ip().to_string();
            for _ in 0..3 {
                let response = connection.request(&Request::get("/whoami"))?;
                let (seen, _) = response.peer().rsplit_once(':').context("an address and a port")?;
                ensure!(seen == own, "the backend saw {seen} instead of {own}");
            }
        }
        scene.all_idle()
    })
}

fn versions_side_by_side(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwstory2").hosts(3).gateway().play(|scene| {
        let (anna, bert, carl) = (scene.browser(), scene.browser(), scene.browser());
        story_2::story(scene, anna, bert, carl)?;
        scene.all_idle()
    })
}

fn one_connection_for_three_sessions(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwmixed").hosts(3).gateway().play(|scene| {
        let sessions = three_sessions(scene)?;
        mix(&mut scene.connection()?, sessions, 500, 11)?;
        ensure!(scene.counter("leg_parked")? == 0, "a leg with a client's address is that client's");
        scene.all_idle()
    })
}

/// N22.
fn bodies_of_both_directions(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwbodies").gateway().play(|scene| {
        upload_and_download(&mut scene.connection()?, 5, 1 << 20, 10 << 20)?;
        scene.all_idle()
    })
}

fn a_backend_dies(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwdies").gateway().versions(&TWO_BACKENDS).play(|scene| {
        let mut anna = scene.browser();
        let mut annas = begins_on(&mut anna, "001")?;
        goes_on(&mut anna, &mut annas)?;
        scene.kill(host(&annas));
        moves_over(&mut anna, &mut annas)
    })
}

fn flips_under_load_break_nothing(hook: Hook) -> Result<()> {
    let versions: [(&str, &[usize]); 2] = [("001", &[1]), ("002", &[2])];
    Stage::new(hook, "gwflips").gateway().explicit().versions(&versions).play(|scene| {
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

/// N3.
fn an_operator_sees_how_it_is(hook: Hook) -> Result<()> {
    Stage::new(hook, "gwdoctor").gateway().play(|scene| {
        begins_on(&mut scene.browser(), "001")?;
        let status = scene.json(&["status", "shop"])?;
        ensure!(status["return"] == "gateway" && status["pool"] == "off", "{status}");
        ensure!(status["versions"][0]["backends"][0]["legs_idle"] == 0, "a leg was pooled: {status}");
        let mut doctor = scene.lab.director().command(programs::balancer()?);
        let output = doctor.arg("doctor").arg("--config").arg(scene.lab.dir().join("balancer.toml")).output()?;
        let said = String::from_utf8(output.stdout)?;
        // What cannot be seen from here is said, and what can is looked at.
        ensure!(said.contains("whether its backends route to clients through this host cannot be seen here"), "{said}");
        ensure!(said.contains("b1 does not filter reverse paths"), "{said}");
        Ok(())
    })
}
