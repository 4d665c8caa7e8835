//! The world: peers, links and the director, driven by one queue of events in virtual time.

mod begin;
mod end;
mod traffic;
mod watch;

use rand::RngExt as _;

use crate::backend::{Backend, Health};
use crate::client::Client;
use crate::daemon::Daemon;
use crate::director::Director;
use crate::director::audit;
use crate::events::{Event, Queue};
use crate::oracle::Oracle;
use crate::plan::{Plan, Random};
use crate::trace::Trace;

/// Events of one world; a hundredth of it is usual.
const MOST_EVENTS: u64 = 400_000;
/// Seconds of silence after which the director may collect a flow.
const IDLE: u32 = 600;

/// What every part of the world may use.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) random: Random,
    /// Microseconds since the world began.
    pub(crate) now: u64,
    pub(crate) oracle: Oracle,
    /// Lines for the trace.
    pub(crate) said: Vec<String>,
}

/// All of it.
pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) director: Director,
    pub(crate) trace: Trace,
    clients: Vec<Client>,
    backends: Vec<Backend>,
    daemon: Daemon,
    queue: Queue,
    /// That reached the director.
    pub(crate) packets: u64,
}

impl World {
    /// Lets the world run to its end. An error is a violation.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut events = 0u64;
        while let Some((at, event)) = self.queue.next() {
            self.shared.now = at;
            self.director.maps.now.set(self.shared.plan.boot + at * 1000);
            let happened = self.happens(event);
            for line in std::mem::take(&mut self.shared.said) {
                self.trace.note(at, &line);
            }
            happened?;
            events += 1;
            if events > MOST_EVENTS {
                return Err("it does not end: two stacks may be acknowledging each other for ever".into());
            }
            if events.is_multiple_of(16) {
                audit(&self.director.maps)?;
            }
        }
        audit(&self.director.maps)?;
        self.sweep()
    }

    fn happens(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrives(interface, frame) => self.direct(interface, frame),
            Event::ToClient(index, frame) => self.reach_client(index, &frame),
            Event::ToBackend(index, frame) => self.reach_backend(index, &frame),
            Event::Tab(index, tab) => {
                let state = &mut self.clients[index].tabs[tab];
                if state.timer.is_some_and(|at| at <= self.shared.now) {
                    state.timer = None;
                    return self.step(index, Some(tab), None);
                }
                Ok(())
            }
            Event::ClientTimer(index, port) => {
                let Some(connection) = self.clients[index].connections.get_mut(&port) else { return Ok(()) };
                if connection.timer.is_some_and(|at| at <= self.shared.now) {
                    connection.timer = None;
                    let tab = self.clients[index].tab_of(port);
                    return self.step(index, tab, Some(port));
                }
                Ok(())
            }
            Event::BackendTimer(index, peer) => {
                let Some((connection, _)) = self.backends[index].connections.get_mut(&peer) else { return Ok(()) };
                if connection.timer.is_some_and(|at| at <= self.shared.now) {
                    connection.timer = None;
                    return self.serve(index, Some(peer));
                }
                Ok(())
            }
            Event::Operator => {
                if let Some(what) = self.daemon.operate(&mut self.shared.random) {
                    self.trace.note(self.shared.now, &format!("{what}: {}", self.daemon));
                    self.daemon.write(self.shared.now, &mut self.director.maps, &mut self.shared.oracle);
                }
                Ok(())
            }
            Event::Dies(index) => self.dies(index),
            Event::Revives(index) => {
                self.trace.note(self.shared.now, &format!("backend {index} is back"));
                self.backends[index].health = Health::Alive;
                let at = self.shared.now + self.shared.random.random_range(10_000..3_000_000);
                self.queue.at(at, Event::Noticed(index, true));
                Ok(())
            }
            Event::Noticed(index, up) => {
                if up == (self.backends[index].health == Health::Alive) {
                    self.trace.note(self.shared.now, &format!("backend {index} is known to be up: {up}"));
                    self.daemon.noticed(&mut self.director.maps, index, up);
                    self.daemon.write(self.shared.now, &mut self.director.maps, &mut self.shared.oracle);
                    if up {
                        self.shared.oracle.relief(index, self.shared.now, "is dead");
                    }
                }
                Ok(())
            }
            Event::Watch => self.watch(),
        }
    }

    /// A backend's process or host dies, to come back later.
    fn dies(&mut self, index: usize) -> Result<(), String> {
        let now = self.shared.now;
        if self.backends[index].health != Health::Alive {
            return Ok(());
        }
        let health = if self.shared.random.random_bool(0.6) { Health::Refuses } else { Health::Silent };
        self.trace.note(now, &format!("backend {index} dies: {health:?}"));
        self.shared.oracle.trouble(index, now, u64::MAX, "is dead");
        for (_, port) in self.backends[index].die(&mut self.shared, health) {
            if let Some(client) = self.director.client_of(port) {
                self.shared.oracle.excuse(client, "the backend died");
            }
        }
        self.transmit_from_backend(index);
        let noticed = now + self.shared.random.random_range(100_000..3_000_000);
        let back = now + self.shared.random.random_range(500_000..9_000_000);
        if noticed < back {
            self.queue.at(noticed, Event::Noticed(index, false));
        }
        self.queue.at(back, Event::Revives(index));
        Ok(())
    }
}
