//! Many short connections over few legs, whose backends close them all the time: no failed request, no byte in a wrong response. And many
//! more than there are ports.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::Hook;
use balancer_tests::scene::{Kind, Scene};
use balancer_tests::short::{Short, use_ports_again};
use balancer_tests::stage::Stage;

under_both_hooks! {
    short_connections_share_few_legs,
    ports_come_free_with_their_connections,
}

/// At the same time, each with one connection.
const CLIENTS: usize = 16;
/// Clients of one address share a backend of each version. So there are at most as many legs as clients, and idle ones of two backends.
const LEGS: u64 = 64;
const IDLE: u32 = 24;
/// How long everybody works at a time.
const WORK: Duration = Duration::from_millis(400);
/// Room for those that were open a moment ago, too.
const FLOWS: u32 = 131_072;
const VERSIONS: [(&str, &[usize]); 2] = [("001", &[1, 2]), ("002", &[3, 4])];

/// As in the full run, for some seconds.
/// N15.
fn short_connections_share_few_legs(hook: Hook) -> Result<()> {
    play(hook, 40_000)
}

/// 1,000,000 connections, of which 100,000 change their backend: `cargo test --release --test clients -- --ignored a_million`.
#[test]
#[ignore = "it takes some minutes"]
fn a_million_short_connections() -> Result<()> {
    play(Hook::Tc, 1_000_000)
}

/// The backends close a connection after a second without a request. So everybody works for a while, rests for a second, and comes back
/// at the very moment in which the legs are closed.
fn play(hook: Hook, connections: u64) -> Result<()> {
    let stage = Stage::new(hook, "short").explicit().hosts(4).versions(&VERSIONS).kind(Kind::Impatient);
    stage.flows(FLOWS, "15m").pool_legs(IDLE).play(|scene| {
        use_ports_again(scene.lab.client())?;
        let clients = sessions(scene)?;
        let rhythm = Some((WORK, Duration::from_secs(1)));
        let short = Short { to: scene.lab.service(), connections, twice: 10, rhythm };
        let start = Instant::now();
        let (tally, most) = std::thread::scope(|scope| {
            let load = scope.spawn(|| short.run(scene.lab.client(), clients));
            let mut most = 0;
            while !load.is_finished() {
                most = most.max(legs(scene)?);
                std::thread::sleep(Duration::from_millis(100));
            }
            anyhow::Ok((load.join().expect("the thread lives")?, most))
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let counters = ["leg_up", "request_pooled_leg", "request_rebound"].map(|name| Ok((name, scene.counter(name)?)));
        let counters = counters.into_iter().collect::<Result<Vec<_>>>()?;
        println!("{tally:?} in {seconds:.1} s, at most {most} legs at a time; {counters:?}");
        ensure!(
            tally.connections == connections && tally.moves == connections / 10,
            "not everything was done: {tally:?}"
        );
        ensure!(most <= LEGS, "{most} legs at a time");
        let pooled = scene.counter("request_pooled_leg")?;
        ensure!(pooled > connections / 2, "only {pooled} requests went out on a leg from the pool");
        scene.all_idle()
    })
}

/// N17: of a director that has room for 64 flows and as many legs, one after the other; each other one is closed by the backend. None
/// waits for what another has left behind.
fn ports_come_free_with_their_connections(hook: Hook) -> Result<()> {
    const CONNECTIONS: u64 = 2_000;
    Stage::new(hook, "ports").flows(64, "15m").play(|scene| {
        let to = scene.lab.service();
        scene.lab.client().run(|| {
            for number in 0..CONNECTIONS {
                let mut connection = Connection::here(to)?;
                let closes = number % 2 == 0;
                let wish = if closes { "close" } else { "keep-alive" };
                let response = connection.request(&Request::get("/whoami").header("Connection", wish))?;
                ensure!(response.status == 200, "connection {number}: {}", response.status);
                if closes {
                    connection.expect_close().with_context(|| format!("connection {number}"))?;
                }
            }
            Ok(())
        })?;
        ensure!(scene.counter("flow_begun")? == CONNECTIONS, "not everything was done");
        for full in ["drop_flows_full", "drop_legs_full"] {
            ensure!(scene.counter(full)? == 0, "{full}: {}", scene.counter(full)?);
        }
        Ok(())
    })
}

/// For each client, a session of each version.
fn sessions(scene: &Scene) -> Result<Vec<[Whoami; 2]>> {
    let begin = |label: &str| -> Result<Vec<Whoami>> {
        scene.cli(&["flip", "shop", label])?;
        (0..CLIENTS).map(|_| scene.browser().whoami()).collect()
    };
    let (first, second) = (begin("001")?, begin("002")?);
    Ok(first.into_iter().zip(second).map(|(first, second)| [first, second]).collect())
}

/// How many legs there are, in use or not.
fn legs(scene: &Scene) -> Result<u64> {
    let status = scene.json(&["status", "shop"])?;
    let versions = status["versions"].as_array().into_iter().flatten();
    let backends = versions.flat_map(|version| version["backends"].as_array().into_iter().flatten());
    let count = |backend: &serde_json::Value| Some(backend["legs_busy"].as_u64()? + backend["legs_idle"].as_u64()?);
    backends.map(|backend| count(backend).context("no legs in the status")).sum()
}
