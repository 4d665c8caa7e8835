//! Patterns up and down, on connections whose requests belong to sessions of several versions.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_sim::pattern;
use balancer_tests::client::{Connection, Request, Whoami};
use balancer_tests::lab::{Hook, RelayPlace};
use balancer_tests::scene::Scene;
use balancer_tests::stage::Stage;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Three versions, each with a host of its own.
pub(crate) const VERSIONS: [(&str, &[usize]); 3] = [("001", &[1]), ("002", &[2]), ("003", &[3])];

/// A stage with a relay. A health check that was lost is asked again in time: what is tested is that requests go through, not how
/// fast a backend is given up.
pub(crate) fn stage(hook: Hook, label: &str, place: RelayPlace) -> Stage<'_> {
    Stage::new(hook, label).hosts(3).explicit().versions(&VERSIONS).relay(place).health_timeout("10s")
}

/// A session on each version.
pub(crate) fn sessions(scene: &Scene) -> Result<Vec<Whoami>> {
    let begin = |(label, _): &(&str, &[usize])| {
        scene.cli(&["flip", "shop", label])?;
        let answer = scene.browser().whoami()?;
        ensure!(answer.version == *label && answer.new, "{answer:?} is no new session of {label}");
        Ok(answer)
    };
    VERSIONS.iter().map(begin).collect()
}

/// Bytes of the small page that follows each body.
const SMALL: usize = 5000;

/// What goes over each connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Connections at the same time.
    pub(crate) connections: u64,
    /// Requests on each, every one of them of any session.
    pub(crate) requests: u64,
    /// Bytes of each body, up and down.
    pub(crate) bytes: usize,
}

impl Load {
    /// Bytes of bodies in each direction.
    pub(crate) fn total(self) -> u64 {
        self.connections * self.requests * self.bytes as u64
    }

    /// Runs it; how long that took. Every answer is its own session's, and its bytes are the right ones.
    pub(crate) fn run(self, scene: &Scene, sessions: &[Whoami]) -> Result<Duration> {
        let (took, diverted) = self.run_diverted(scene, sessions)?;
        ensure!(diverted == 0, "{diverted} answers were of other versions than the sessions are");
        Ok(took)
    }

    /// The same where an answer may be another version's, by a decision of the director's: how many were.
    pub(crate) fn run_diverted(self, scene: &Scene, sessions: &[Whoami]) -> Result<(Duration, u64)> {
        let connections = (0..self.connections).map(|seed| Ok((seed, scene.connection()?)));
        self.over(connections.collect::<Result<_>>()?, sessions)
    }

    /// The same over connections that are open already.
    pub(crate) fn over(self, connections: Vec<(u64, Connection)>, sessions: &[Whoami]) -> Result<(Duration, u64)> {
        let began = Instant::now();
        let diverted = std::thread::scope(|scope| {
            let work = |(seed, mut connection)| {
                scope.spawn(move || {
                    mix(&mut connection, sessions, self, seed)
                        .with_context(|| format!("connection {seed} after {:?}", began.elapsed()))
                })
            };
            let threads: Vec<_> = connections.into_iter().map(work).collect();
            threads.into_iter().map(|thread| thread.join().expect("the thread lives")).sum::<Result<u64>>()
        })?;
        Ok((began.elapsed(), diverted))
    }
}

fn mix(connection: &mut Connection, sessions: &[Whoami], load: Load, seed: u64) -> Result<u64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let port = connection.local_port()?;
    let mut changed = Vec::new();
    let mut diverted = 0;
    for number in 0..load.requests {
        let session = &sessions[random.random_range(0..sessions.len())];
        let body = pattern::bytes(seed * 1000 + number, load.bytes);
        // What goes up comes down again.
        let request = Request::post("/echo", body.clone()).session(&session.session);
        let answer =
            connection.request(&request).with_context(|| format!("request {number} of {}", session.version))?;
        ensure!(answer.status == 200, "status {} for request {number}", answer.status);
        diverted += u64::from(answer.version() != session.version);
        ensure!(answer.body == body, "{} of {} bytes, or others", answer.body.len(), body.len());
        // A GET may wait in the pool's way, and be done twice: other code than a POST's.
        let target = format!("/bytes?n={}&seed={}", SMALL, number);
        let answer = connection.get(&target, Some(&session.session)).with_context(|| format!("GET {number}"))?;
        diverted += u64::from(answer.version() != session.version);
        ensure!(answer.status == 200 && answer.body == pattern::bytes(number, SMALL), "GET {number}");
        changed.push(&session.version);
    }
    ensure!(connection.local_port()? == port);
    ensure!(
        load.requests < 8 || sessions.len() == 1 || changed.windows(2).any(|pair| pair[0] != pair[1]),
        "the requests of seed {seed} are all of one version"
    );
    Ok(diverted)
}
