//! Short connections: each client asks once, on a connection that could be kept, and closes it; some ask twice, and the second time for a
//! session of another backend.
//!
//! Every byte of every answer is compared, so that one that was meant for somebody else is noticed.

use std::fs;
use std::net::SocketAddr;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use balancer_sim::pattern;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

use crate::client::{Connection, Whoami};
use crate::lab::node::Node;

/// Bodies up to so many bytes.
const BODY: usize = 3000;
/// Once in so many, the body is long.
const LONG: u64 = 200;
const LONG_BODY: usize = 100_000;
/// Once in so many, the session's own count of its requests is asked for.
const COUNTED: u64 = 8;

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Short {
    /// What clients connect to.
    pub to: SocketAddr,
    /// Connections in all.
    pub connections: u64,
    /// Each so-manieth asks twice.
    pub twice: u64,
    /// Everybody works for so long and then rests for so long, but for some milliseconds more or less.
    pub rhythm: Option<(Duration, Duration)>,
}

/// What became of it. A request that failed or was answered wrongly is no number but an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub connections: u64,
    pub requests: u64,
    /// Requests for another backend than the one before on their connection.
    pub moves: u64,
    pub slowest: Duration,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.requests += other.requests;
        self.moves += other.moves;
        self.slowest = self.slowest.max(other.slowest);
    }
}

impl Short {
    /// Does it inside `node` with a client for each pair of sessions, which are of different backends.
    pub fn run(&self, node: &Node, clients: Vec<[Whoami; 2]>) -> Result<Tally> {
        let (next, start) = (AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            let work = |(seed, sessions)| {
                let next = &next;
                scope.spawn(move || {
                    node.enter()?;
                    let random = Xoshiro256PlusPlus::seed_from_u64(seed);
                    let mut client = Client { work: self, sessions, random, tally: Tally::default() };
                    let done = client.work(next, start);
                    // Whoever fails ends the work of all.
                    done.inspect_err(|_| next.store(self.connections, Ordering::Relaxed))?;
                    anyhow::Ok(client.tally)
                })
            };
            let threads: Vec<_> = (0..).zip(clients).map(work).collect();
            let mut tally = Tally::default();
            for thread in threads {
                tally += thread.join().map_err(|_| anyhow!("a client's thread panicked"))??;
            }
            Ok(tally)
        })
    }
}

/// Has a host use the ports of its closed connections again after a second: more connections a minute than there are ports are not to
/// be had otherwise.
pub fn use_ports_again(node: &Node) -> Result<()> {
    node.run(|| {
        fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1").context("have ports used again")?;
        fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535").context("have more ports")
    })
}

struct Client<'a> {
    work: &'a Short,
    sessions: [Whoami; 2],
    random: Xoshiro256PlusPlus,
    tally: Tally,
}

impl Client<'_> {
    fn work(&mut self, next: &AtomicU64, start: Instant) -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= self.work.connections {
                return Ok(());
            }
            self.rest(start);
            let began = Instant::now();
            let mut connection = Connection::here(self.work.to)?;
            let first = self.random.random_range(0..2);
            self.ask(&mut connection, first).with_context(|| format!("connection {number}"))?;
            if number.is_multiple_of(self.work.twice) {
                self.ask(&mut connection, 1 - first).with_context(|| format!("connection {number}, again"))?;
                self.tally.moves += 1;
            }
            self.tally.connections += 1;
            self.tally.slowest = self.tally.slowest.max(began.elapsed());
        }
    }

    /// Sleeps until the next time of work, if this is one of rest.
    fn rest(&mut self, start: Instant) {
        let Some((work, rest)) = self.work.rhythm else { return };
        let into = start.elapsed().as_millis() % (work + rest).as_millis();
        if into >= work.as_millis() {
            let left = (work + rest).as_millis() - into;
            let jitter = self.random.random_range(0..20_000);
            std::thread::sleep(Duration::from_millis(left as u64).saturating_sub(Duration::from_millis(10)));
            std::thread::sleep(Duration::from_micros(jitter));
        }
    }

    fn ask(&mut self, connection: &mut Connection, index: usize) -> Result<()> {
        let Self { sessions, random, tally, .. } = self;
        let session = &mut sessions[index];
        tally.requests += 1;
        if random.random_range(0..COUNTED) == 0 {
            let answer: Whoami = connection.get("/whoami", Some(&session.session))?.json()?;
            let wanted = Whoami { known: true, new: false, hits: session.hits + 1, ..session.clone() };
            ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
            *session = answer;
            return Ok(());
        }
        let length = if random.random_range(0..LONG) == 0 { LONG_BODY } else { random.random_range(0..BODY) };
        let seed: u32 = random.random();
        let response = connection.get(&format!("/bytes?n={length}&seed={seed}"), Some(&session.session))?;
        ensure!(response.status == 200, "status {}", response.status);
        ensure!(response.backend() == session.backend, "{} answered for {session:?}", response.backend());
        ensure!(response.body == pattern::bytes(seed.into(), length), "another body than {length} bytes of {seed}");
        Ok(())
    }
}
