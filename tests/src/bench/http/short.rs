//! Load by clients that ask once on a connection that could be kept, and then close it themselves: what wrk does not do.
//!
//! The director gives such a request a leg that was there before; a client that connects directly gets a connection of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::super::busy::Busy;
use super::super::contender::{Contender, SOURCES};
use super::super::statistics::percentile;
use super::super::wrk::Sample;
use super::loads::{Load, Pools, Sessions};
use crate::client::{Connection, Request};

/// Puts load on a contender, from a thread for each connection.
pub(super) fn run(contender: &Contender<'_>, pools: &Pools, load: Load, time: Duration) -> Result<Sample> {
    let node = contender.lab.client();
    let (start, before) = (Instant::now(), Busy::now()?);
    let visits = std::thread::scope(|scope| {
        // From many addresses, or the client would spend its time on the search for a port that has rested for long enough.
        let sources = (0..SOURCES).map(|index| contender.lab.addresses().client_nth(index)).cycle();
        let work = |(index, from): (usize, Ipv4Addr)| {
            let backend = index % pools.0.len();
            let (to, sessions) = (contender.address(backend + 1), &pools.0[backend]);
            let sessions = if load.sessions == Sessions::One { &sessions[..1] } else { &sessions[..] };
            let visits = move || {
                node.enter()?;
                let mut visits = Visits::default();
                let mut turn = index;
                while start.elapsed() < time {
                    turn = (turn + load.connections) % sessions.len();
                    visits.add(visit(from, to, &sessions[turn]));
                }
                anyhow::Ok(visits)
            };
            // Hundreds of them need no megabytes each.
            std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, visits)
        };
        let threads = (0..load.connections).zip(sources).map(work).collect::<std::io::Result<Vec<_>>>()?;
        let mut all = Visits::default();
        for thread in threads {
            let visits = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            all.microseconds.extend(visits.microseconds);
            all.errors += visits.errors;
            all.first_error = all.first_error.or(visits.first_error);
        }
        anyhow::Ok(all)
    })?;
    let (seconds, after) = (start.elapsed().as_secs_f64(), Busy::now()?);
    let (busy, others) = (after.own_since(before), after.others_since(before));
    let requests = visits.microseconds.len() as u64;
    if let Some(error) = visits.first_error {
        eprintln!("\n{}: {} errors, of which the first: {error}", contender.way.name(), visits.errors);
    }
    let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percent| percentile(visits.microseconds.iter().copied(), percent));
    Ok(Sample { requests, seconds, errors: visits.errors, p50, p99, p999, busy, others })
}

#[derive(Default)]
struct Visits {
    microseconds: Vec<f64>,
    errors: u64,
    first_error: Option<String>,
}

impl Visits {
    fn add(&mut self, visit: Result<Duration>) {
        match visit {
            Ok(time) => self.microseconds.push(time.as_secs_f64() * 1e6),
            Err(error) => {
                self.errors += 1;
                self.first_error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }
}

/// Connects, asks, and closes.
fn visit(from: Ipv4Addr, to: SocketAddr, cookies: &str) -> Result<Duration> {
    let began = Instant::now();
    let response = Connection::here_from(from, to)?.request(&Request::get("/").header("Cookie", cookies))?;
    ensure!(response.status == 200 && !response.closes(), "not a kept-alive 200: {response:?}");
    Ok(began.elapsed())
}
