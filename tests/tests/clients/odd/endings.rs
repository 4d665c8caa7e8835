//! Connections that end otherwise than usual: clients that read nothing, clients that have said their last, and clients that have forgotten.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Expect, Load, Request};
use balancer_tests::lab::Hook;
use balancer_tests::scene::wait_until;

use super::{of, with_two_sessions};

under_both_hooks! {
    a_client_that_does_not_read_holds_nobody_up,
    a_half_closed_connection_gets_its_response,
    a_client_that_has_forgotten_its_connection_begins_anew,
}

const BIG: usize = 30 << 20;

/// Their windows are zero for seconds while others go on as if they were not there. Then they read, and nothing is missing; or leave.
fn a_client_that_does_not_read_holds_nobody_up(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "noread", |scene, sessions| {
        let load = Load { expect: Expect::Stays, pause: Duration::from_millis(2), ..scene.load(6) };
        let load = load.start(scene.lab.client());
        let mut silent = Vec::new();
        for number in 0..6 {
            let mut connection = scene.connection()?;
            let request = Request::get(&format!("/bytes?n={BIG}&seed={number}"));
            connection.send(&request.session(&sessions[number % 2].session))?;
            silent.push(connection);
        }
        std::thread::sleep(Duration::from_secs(2));
        let tally = load.finish()?;
        tally.expect_clean()?;
        ensure!(tally.slowest < Duration::from_secs(1), "others had to wait: {tally:?}");
        // Half of them leave without a word, which is a RST.
        silent.truncate(3);
        for (number, mut connection) in silent.into_iter().enumerate() {
            of(&sessions[number % 2], &connection.receive_pattern(number as u64)?)?;
            let other = &sessions[(number + 1) % 2];
            of(other, &connection.get("/nosession", Some(&other.session))?)?;
        }
        Ok(())
    })
}

/// `shutdown(SHUT_WR)` right behind the request: on a new connection, on one that has a leg, and on one whose leg is of another backend.
fn a_half_closed_connection_gets_its_response(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "half", |scene, sessions| {
        let requests = [
            Request::get("/nosession"),
            Request::get("/slow?ms=300"),
            Request::post("/echo", vec![b'x'; 100_000]),
            Request::get(&format!("/bytes?n={BIG}&seed=7")),
        ];
        for request in requests {
            for before in [&[][..], &[0], &[1], &[0, 1, 0]] {
                let mut connection = scene.connection()?;
                for index in before {
                    of(&sessions[*index], &connection.get("/nosession", Some(&sessions[*index].session))?)?;
                }
                connection.send(&request.clone().session(&sessions[0].session))?;
                connection.half_close()?;
                let response = connection.receive(request.method())?;
                of(&sessions[0], &response)?;
                connection.expect_close()?;
            }
        }
        Ok(())
    })
}

/// Its former connection lives in the director, idle or in the middle of a request, and its port is the same.
/// N23.
fn a_client_that_has_forgotten_its_connection_begins_anew(hook: Hook) -> Result<()> {
    with_two_sessions(hook, "forgot", |scene, sessions| {
        for target in [None, Some("/nosession"), Some("/slow?ms=60000")] {
            let [challenged, begun] = [scene.counter("syn_challenged")?, scene.counter("flow_begun")?];
            let mut former = scene.connection()?;
            if let Some(target) = target {
                former.send(&Request::get(target).session(&sessions[0].session))?;
            }
            if target == Some("/nosession") {
                of(&sessions[0], &former.receive("GET")?)?;
            }
            wait_until("the director knows it", Duration::from_secs(10), || Ok(scene.counter("flow_begun")? > begun))?;
            let from = former.forget()?;
            let mut present = Connection::open_at(scene.lab.client(), from, scene.lab.service())?;
            of(&sessions[1], &present.get("/nosession", Some(&sessions[1].session))?)?;
            ensure!(scene.counter("syn_challenged")? > challenged, "{target:?}: no SYN was challenged");
        }
        Ok(())
    })
}
