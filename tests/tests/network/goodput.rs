//! 200 MB each way over a link of 1 % loss and 2 ms, on eight connections whose requests belong to three versions.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use balancer_tests::client::{Connection, Whoami};
use balancer_tests::lab::relay::Link;
use balancer_tests::lab::{Hook, RelayPlace};
use balancer_tests::scene::Scene;

use crate::kernels::{backend_uses, client_uses, congestion_controls};
use crate::transfer::{Load, sessions, stage};

under_both_hooks! {
    a_tenth_of_it,
}

/// Rounds of both, in turn: the machine is not as fast at one moment as at another.
const ROUNDS: usize = 2;

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
#[ignore = "a measurement: `cargo test --release -p balancer-tests --test network -- --ignored --nocapture`"]
fn as_fast_as_without_a_director() -> Result<()> {
    let mut shares = Vec::new();
    for hook in [Hook::Tc, Hook::Xdp] {
        for name in congestion_controls()? {
            shares.push((hook, name, share(hook, name)?));
        }
    }
    ensure!(shares.iter().all(|(_, _, share)| *share > 0.8), "goodput of that without a director: {shares:?}");
    Ok(())
}

/// Goodput through the director, with re-binding, in that of the same link without it.
fn share(hook: Hook, name: &str) -> Result<f64> {
    let mut share = 0.0;
    stage(hook, "goodput", RelayPlace::Client).play(|scene| {
        client_uses(scene, name)?;
        (1..=scene.lab.backends().len()).try_for_each(|index| backend_uses(scene, index, name))?;
        let sessions = sessions(scene)?;
        let relay = scene.lab.relay()?;
        let load = Load { connections: 8, requests: 5, bytes: 5_000_000 };
        let mut times = [Duration::ZERO; 3];
        for round in 0..ROUNDS {
            let link = Link { seed: round as u64, ..Link::lossy(1.0, 2) };
            relay.become_link(link);
            let mixed = load.run(scene, &sessions)?;
            relay.become_link(link);
            let staying = by_session(load, &sessions, |_| scene.lab.service(), scene)?;
            relay.become_link(link);
            let routed = by_session(load, &sessions, |host| scene.lab.application(host), scene)?;
            let [a, b, c] = [mixed, staying, routed].map(|took| rate(load, took));
            println!("{hook:?}, {name}: through the director {a}, without re-binding {b}; only routed {c}");
            times = [times[0] + mixed, times[1] + staying, times[2] + routed];
        }
        let of = |time: Duration| times[2].as_secs_f64() / time.as_secs_f64();
        share = of(times[0]);
        let megabytes = load.total() / 1_000_000;
        println!("{hook:?}, {name}: {megabytes} MB each way, {ROUNDS} times, at {share:.3} of the goodput without a director, {:.3} without re-binding", of(times[1]));
        println!("{:?}", relay.tally()?);
        scene.all_idle()
    })?;
    Ok(share)
}

/// The load with one session on each connection, through the director or to the applications, which the director's kernel routes.
fn by_session(load: Load, sessions: &[Whoami], to: impl Fn(usize) -> SocketAddr, scene: &Scene) -> Result<Duration> {
    let began = Instant::now();
    std::thread::scope(|scope| {
        let mut threads = Vec::new();
        for (index, session) in sessions.iter().enumerate() {
            let seeds = (0..load.connections).filter(|seed| seed % sessions.len() as u64 == index as u64);
            let open = |seed| Ok((seed, Connection::open(scene.lab.client(), to(index + 1))?));
            let connections = seeds.map(open).collect::<Result<Vec<_>>>()?;
            threads.push(scope.spawn(move || load.over(connections, std::slice::from_ref(session))));
        }
        threads.into_iter().try_for_each(|thread| {
            let (_, diverted) = thread.join().expect("the thread lives")?;
            ensure!(diverted == 0, "{diverted} answers were of other versions than the sessions are");
            Ok(())
        })
    })?;
    Ok(began.elapsed())
}

fn rate(load: Load, took: Duration) -> String {
    // Up and down.
    let megabits = load.total() as f64 * 16.0 / 1e6 / took.as_secs_f64();
    format!("{megabits:.0} Mbit/s ({took:.2?})")
}
