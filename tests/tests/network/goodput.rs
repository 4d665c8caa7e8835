//! 200 MB each way over a link of 1 % loss and 2 ms, on eight connections whose requests belong to three versions.

use std::time::Duration;

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Whoami};
use balancer_tests::lab::relay::Link;
use balancer_tests::lab::{Hook, RelayPlace};
use balancer_tests::scene::Scene;

use crate::transfer::{Load, sessions, stage};

under_both_hooks! {
    a_tenth_of_it,
}

/// Rounds of both, in turn: the machine is not as fast at one moment as at another.
const ROUNDS: usize = 4;

fn a_tenth_of_it(hook: Hook) -> Result<()> {
    stage(hook, "bulk", RelayPlace::Client).play(|scene| {
        let sessions = sessions(scene)?;
        scene.lab.relay()?.become_link(Link::lossy(1.0, 2));
        let load = Load { connections: 8, requests: 10, bytes: 250_000 };
        let took = load.run(scene, &sessions)?;
        println!("{}, {:?}", rate(load, took), scene.lab.relay()?.tally()?);
        scene.all_idle()
    })
}

/// A figure, not a truth: a machine that others use too may say anything.
#[test]
#[ignore = "a measurement of some minutes: `cargo test --release -p balancer-tests --test network -- --ignored --nocapture tc`"]
fn as_fast_as_without_a_director_tc() -> Result<()> {
    compare(Hook::Tc)
}

#[test]
#[ignore = "a measurement of some minutes: `cargo test --release -p balancer-tests --test network -- --ignored --nocapture xdp`"]
fn as_fast_as_without_a_director_xdp() -> Result<()> {
    compare(Hook::Xdp)
}

fn compare(hook: Hook) -> Result<()> {
    stage(hook, "goodput", RelayPlace::Client).play(|scene| {
        let sessions = sessions(scene)?;
        let relay = scene.lab.relay()?;
        let mut times = [Duration::ZERO; 2];
        let load = Load { connections: 8, requests: 25, bytes: 1_000_000 / ROUNDS };
        for round in 0..ROUNDS {
            relay.become_link(Link { seed: round as u64, ..Link::lossy(1.0, 2) });
            let through = load.run(scene, &sessions)?;
            relay.become_link(Link { seed: round as u64, ..Link::lossy(1.0, 2) });
            let past = routed(scene, load, &sessions)?;
            println!("round {round}: through the director {}, routed {}", rate(load, through), rate(load, past));
            times[0] += through;
            times[1] += past;
        }
        let share = times[1].as_secs_f64() / times[0].as_secs_f64();
        let megabytes = load.total() * ROUNDS as u64 / 1_000_000;
        println!("{megabytes} MB each way; goodput through the director is {share:.3} of that without; {:?}", relay.tally()?);
        scene.all_idle()?;
        ensure!(share > 0.8, "goodput through the director is only {share:.3} of that without");
        Ok(())
    })
}

/// The same load over the same link, from the client to the applications, which the director's kernel routes. A connection has one
/// backend then.
fn routed(scene: &Scene, load: Load, sessions: &[Whoami]) -> Result<Duration> {
    let groups: Vec<Vec<u64>> = (0..3).map(|group| (0..load.connections).filter(|seed| seed % 3 == group).collect()).collect();
    let began = std::time::Instant::now();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..)
            .zip(groups.iter().zip(sessions))
            .map(|(host, (seeds, session))| {
                scope.spawn(move || {
                    let open = |seed: &u64| Ok((*seed, Connection::open(scene.lab.client(), scene.lab.application(host))?));
                    load.over(seeds.iter().map(open).collect::<Result<_>>()?, std::slice::from_ref(session))
                })
            })
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("the thread lives").map(drop))
    })?;
    Ok(began.elapsed())
}

fn rate(load: Load, took: Duration) -> String {
    // Up and down.
    let megabits = load.total() as f64 * 16.0 / 1e6 / took.as_secs_f64();
    format!("{megabits:.0} Mbit/s ({took:.2?})")
}
