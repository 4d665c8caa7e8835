//! Load by clients that ask once on a connection that could be kept, and then close it themselves: what wrk does not do.
//!
//! The director gives such a request a leg that was there before; a client that connects directly gets a connection of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::variant::Variant;
use super::wrk::{CONNECTIONS, Sample, busy};
use crate::client::{Connection, Request};
use crate::short;

/// Puts load on a variant.
pub(super) fn run(variant: &Variant<'_>, time: Duration) -> Result<Sample> {
    let node = variant.lab.client();
    short::use_ports_again(node)?;
    let (start, before) = (Instant::now(), busy()?);
    let threads = std::thread::scope(|scope| {
        // From many addresses, or the client would spend its time on the search for a port that has rested for long enough.
        let sources = (0..super::SOURCES).map(|index| variant.lab.addresses().client_nth(index)).cycle();
        let targets = variant.targets.iter().cycle().take(CONNECTIONS).zip(sources);
        let work = |((to, cookies), from): (&(SocketAddr, String), Ipv4Addr)| {
            let (to, request) = (*to, Request::get("/").header("Cookie", cookies));
            scope.spawn(move || {
                node.enter()?;
                let mut latencies = Vec::new();
                while start.elapsed() < time {
                    let began = Instant::now();
                    let response = Connection::here_from(from, to)?.request(&request)?;
                    ensure!(response.status == 200 && !response.closes(), "not a kept-alive 200: {response:?}");
                    latencies.push(began.elapsed());
                }
                anyhow::Ok(latencies)
            })
        };
        let threads: Vec<_> = targets.map(work).collect();
        let join =
            |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().map_err(|_| anyhow!("a client panicked"))?;
        threads.into_iter().map(join).collect::<Result<Vec<Vec<Duration>>>>()
    })?;
    let (seconds, busy) = (start.elapsed().as_secs_f64(), busy()?.saturating_sub(before));
    let mut latencies = threads.concat();
    latencies.sort_unstable();
    let percentile =
        |part: usize| latencies.get(latencies.len() * part / 100).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6);
    // A request that fails ends the benchmark.
    let errors = 0;
    Ok(Sample { requests: latencies.len() as u64, seconds, errors, p50: percentile(50), p99: percentile(99), busy })
}
