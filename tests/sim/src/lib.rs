//! The simulation: the core of the balancer between smoltcp's TCP at both ends, over a network that loses, reorders,
//! duplicates and delays, in virtual time. One number, the seed, determines all of it.
//!
//! | file | what |
//! |---|---|
//! | `plan` | what a seed means |
//! | `edge` | what the core runs on: maps, frames, a CPU |
//! | `director` | the core in its hooks, and what may be said of it packet by packet |
//! | `host`, `monitor` | an end: smoltcp, and what an end may expect of the other |
//! | `client`, `backend` | applications: browsers with cookie jars, servers with sessions in memory |
//! | `message` | what they say to each other: every kind of request and answer |
//! | `tally` | which kinds there were, and how they ended |
//! | `daemon` | flips, versions, health |
//! | `oracle` | which backend a request should have reached, which errors are excusable |
//! | `world`, `events` | what happens, and when |
//! | `pattern` | bytes that a seed determines; the demo application sends them too |
//! | `trace`, `report` | what a person sees |

mod backend;
mod client;
mod daemon;
mod director;
pub mod edge;
mod events;
mod host;
mod message;
mod monitor;
mod oracle;
mod packet;
pub mod pattern;
mod plan;
mod report;
mod tally;
mod trace;
mod wire;
mod world;

pub use director::{audit, work};
pub use edge::Mutation;
pub use report::Report;
pub use tally::{Feature, Tally};

use trace::Trace;
use world::World;

/// What came of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    /// Why it failed, in one line.
    pub violation: Option<String>,
    /// Of every packet and verdict.
    pub hash: u64,
    pub packets: u64,
    pub requests: u64,
    /// The core's counters.
    pub counters: Vec<u64>,
    /// How requests of every kind ended.
    pub tally: Tally,
}

/// Simulates one seed, and prints a packet trace if `print` says so.
pub fn simulate(seed: u64, mutation: Mutation, print: bool) -> Outcome {
    let mut world = World::new(seed, mutation, Trace::new(print));
    let violation = world.run().err().map(|why| format!("at {} ms: {why}", world.shared.now / 1000));
    Outcome {
        seed,
        violation,
        hash: world.trace.hash(),
        packets: world.packets,
        requests: world.shared.oracle.records.len() as u64,
        tally: world.shared.oracle.tally(),
        counters: world.director.maps.counters.iter().map(std::cell::Cell::get).collect(),
    }
}
