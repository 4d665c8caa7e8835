//! A relay in the middle of one of the lab's links, which makes a bad one of it: netem is not in every kernel, and does not
//! repeat itself.
//!
//! ```text
//! client eth0 ── near relay far ── client0 director
//! ```
//!
//! It forwards whole frames between two interfaces of a namespace of its own, each direction on a thread, and does to each segment
//! what a seed decides ([`Link`]). Hosts do not know that it is there, unless one sends a packet that is too big for it.

mod direction;
mod fate;
mod frame;
mod port;
mod queue;

use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};

use super::node::Node;
use direction::Direction;
pub use fate::Link;
use port::Port;

/// The relay's interfaces: towards the host, and towards the director.
pub(super) const NEAR: &str = "near";
pub(super) const FAR: &str = "far";

/// A relay at work. Dropping it ends it, and then nothing passes its link.
#[derive(Debug)]
pub struct Relay {
    ports: [Arc<Port>; 2],
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<()>>>,
}

/// What the relay did so far, in segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub forwarded: u64,
    pub lost: u64,
    pub doubled: u64,
    pub held: u64,
    pub damaged: u64,
    /// Frames that its MTU did not let pass.
    pub too_big: u64,
    /// Frames that were lost because the relay or the kernel had no room for them: the machine was too slow, not the link bad.
    pub overrun: u64,
}

#[derive(Debug)]
struct Shared {
    link: Mutex<Link>,
    /// Changes with the link, so that the threads need not lock anything to know.
    version: AtomicU64,
    over: AtomicBool,
    totals: Totals,
}

#[derive(Debug, Default)]
struct Totals {
    forwarded: AtomicU64,
    lost: AtomicU64,
    doubled: AtomicU64,
    held: AtomicU64,
    damaged: AtomicU64,
    too_big: AtomicU64,
    refused: AtomicU64,
    overrun: AtomicU64,
}

impl Shared {
    fn link(&self) -> (u64, Link) {
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        (self.version.load(Relaxed), *link)
    }
}

impl Relay {
    /// Starts a relay that is a wire, between the two interfaces of `node`, which are up.
    pub(super) fn start(node: &Node, router: Ipv4Addr) -> Result<Self> {
        let ports = node.run(|| Ok([Arc::new(Port::open(NEAR)?), Arc::new(Port::open(FAR)?)]))?;
        let shared = Arc::new(Shared {
            link: Mutex::new(Link::PERFECT),
            version: AtomicU64::new(0),
            over: AtomicBool::new(false),
            totals: Totals::default(),
        });
        let mut relay = Self { ports, shared, threads: Vec::new() };
        for (number, from) in (0..).zip([0, 1]) {
            let [from, to] = [from, 1 - from].map(|at| Arc::clone(&relay.ports[at]));
            let direction = Direction { from, to, number, router, shared: Arc::clone(&relay.shared) };
            let thread = std::thread::Builder::new().name(format!("relay {number}"));
            relay.threads.push(thread.spawn(move || direction.work()).context("start a relay's thread")?);
        }
        Ok(relay)
    }

    /// Makes this link of it from now on; what is on its way arrives as it was to. The seed begins anew.
    pub fn become_link(&self, link: Link) {
        let mut present = self.shared.link.lock().unwrap_or_else(PoisonError::into_inner);
        *present = link;
        self.shared.version.fetch_add(1, Relaxed);
    }

    /// What it did so far. An error if it does nothing any more.
    pub fn tally(&self) -> Result<Tally> {
        let totals = &self.shared.totals;
        for port in &self.ports {
            totals.overrun.fetch_add(port.overrun()?, Relaxed);
        }
        if self.threads.iter().any(JoinHandle::is_finished) {
            return Err(anyhow!("the relay ended"));
        }
        Ok(Tally {
            forwarded: totals.forwarded.load(Relaxed),
            lost: totals.lost.load(Relaxed),
            doubled: totals.doubled.load(Relaxed),
            held: totals.held.load(Relaxed),
            damaged: totals.damaged.load(Relaxed),
            too_big: totals.too_big.load(Relaxed),
            overrun: totals.overrun.load(Relaxed) + totals.refused.load(Relaxed),
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            match thread.join() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => eprintln!("the relay ended early: {error:#}"),
                Err(_) => eprintln!("a thread of the relay panicked"),
            }
        }
    }
}
