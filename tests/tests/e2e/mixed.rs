//! One TCP connection with requests for three sessions of three versions, in any order: each is answered by its own.

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Whoami};
use balancer_tests::lab::Hook;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::scene::Scene;
use crate::stage::Stage;
use crate::users::begins_on;

under_both_hooks! {
    a_thousand_requests_of_three_sessions,
    eight_connections_at_once,
}

const REQUESTS: u64 = 1000;

/// A session on each of three versions.
pub(crate) fn three_sessions(scene: &mut Scene) -> Result<[Whoami; 3]> {
    let first = begins_on(&mut scene.browser(), "001")?;
    scene.add("002", &[2])?;
    let second = begins_on(&mut scene.browser(), "002")?;
    scene.add("003", &[3])?;
    Ok([first, second, begins_on(&mut scene.browser(), "003")?])
}

/// Sends `count` requests for the sessions in a random order. Each answer counts one more in its own session.
pub(crate) fn mix(connection: &mut Connection, mut sessions: [Whoami; 3], count: u64, seed: u64) -> Result<()> {
    let port = connection.local_port()?;
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    for number in 0..count {
        let last = &mut sessions[random.random_range(0..3)];
        let answer: Whoami = connection.get("/whoami", Some(&last.session))?.json()?;
        let wanted = Whoami { known: true, new: false, hits: last.hits + 1, ..last.clone() };
        ensure!(answer == wanted, "request {number} of seed {seed}: {answer:?} instead of {wanted:?}");
        *last = answer;
    }
    ensure!(connection.local_port()? == port);
    Ok(())
}

/// C13, D2: one connection, and each request goes where its own session is.
fn a_thousand_requests_of_three_sessions(hook: Hook) -> Result<()> {
    Stage::new(hook, "mixed").hosts(3).play(|scene| {
        let sessions = three_sessions(scene)?;
        mix(&mut scene.connection()?, sessions, REQUESTS, 7)?;
        let rebound = scene.counter("request_rebound")? + scene.counter("request_pooled_leg")?;
        ensure!(rebound > REQUESTS / 2, "only {rebound} requests changed the backend on an open connection");
        scene.all_idle()
    })
}

/// D2: the same sessions on eight connections at once.
fn eight_connections_at_once(hook: Hook) -> Result<()> {
    Stage::new(hook, "mixedmany").hosts(3).play(|scene| {
        scene.add("002", &[2])?;
        scene.add("003", &[3])?;
        let users = (1..=8).map(|seed| Ok((seed, scene.connection()?, sessions_by_flips(scene)?)));
        let users = users.collect::<Result<Vec<_>>>()?;
        std::thread::scope(|scope| {
            let work = |(seed, mut connection, sessions)| {
                scope.spawn(move || mix(&mut connection, sessions, REQUESTS / 4, seed))
            };
            let threads: Vec<_> = users.into_iter().map(work).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("the thread lives"))
        })?;
        scene.all_idle()
    })
}

/// The same with versions that are there already.
fn sessions_by_flips(scene: &Scene) -> Result<[Whoami; 3]> {
    let begin = |label: &str| {
        scene.cli(&["flip", "shop", label])?;
        begins_on(&mut scene.browser(), label)
    };
    Ok([begin("001")?, begin("002")?, begin("003")?])
}
