//! `return = "gateway"`: backends route to the clients through the director, and see the clients' own addresses.

use anyhow::{Context, Result, ensure};
use balancer_tests::client::Request;
use balancer_tests::lab::Hook;

use crate::bodies::upload_and_download;
use crate::dying::{TWO_BACKENDS, host, moves_over};
use crate::mixed::{mix, three_sessions};
use crate::stage::Stage;
use crate::story_2;
use crate::users::{begins_on, goes_on};

under_both_hooks! {
    backends_see_the_clients,
    versions_side_by_side,
    one_connection_for_three_sessions,
    bodies_of_both_directions,
    a_backend_dies,
}

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
