//! The world: peers, links and the director, driven by one queue of events in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use balancer_ebpf::layout::{
    FLOW_CLOSING, Globals, Key, Listener, ListenerKey, MAX_SOURCES, OFFER_SACK, OFFER_SCALE, OFFER_TIMESTAMPS,
};
use balancer_ebpf::net::{Egress, Hop};
use rand::RngExt as _;

use super::backend::{self, Backend, Health, Peer};
use super::client::Client;
use super::daemon::{self, Daemon};
use super::director::{BACK, Director, FRONT, SOURCE, VIP, VIP_PORT, roles};
use super::edge::{Mutation, SimMaps};
use super::host::Host;
use super::oracle::Oracle;
use super::packet::View;
use super::plan::{Link, Plan, Random};
use super::trace::Trace;

/// Microseconds in which every request is over. smoltcp's timers double up to a minute; a rough network and a backend
/// that is away take several of them.
const PATIENCE: u64 = 1_200_000_000;
/// The same where clients pipeline: a segment that has to wait takes the acknowledgement that it carries with it, so that
/// both ends wait for their timers in turn.
const PIPELINE_PATIENCE: u64 = 2_400_000_000;
/// Events of one world; a hundredth of it is usual.
const MOST_EVENTS: u64 = 400_000;
/// Seconds of silence after which the director may collect a flow.
const IDLE: u32 = 600;
/// The director's link-layer addresses.
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];

/// What every part of the world may use.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) random: Random,
    /// Microseconds since the world began.
    pub(super) now: u64,
    pub(super) oracle: Oracle,
    /// Lines for the trace.
    pub(super) said: Vec<String>,
}

enum Event {
    /// A frame reaches the director by an interface.
    Arrives(u32, Vec<u8>),
    ToClient(usize, Vec<u8>),
    ToBackend(usize, Vec<u8>),
    Tab(usize, usize),
    ClientTimer(usize, u16),
    BackendTimer(usize, Peer),
    Operator,
    Dies(usize),
    Revives(usize),
    Noticed(usize, bool),
    Watch,
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// All of it.
pub(super) struct World {
    pub(super) shared: Shared,
    pub(super) director: Director,
    pub(super) trace: Trace,
    clients: Vec<Client>,
    backends: Vec<Backend>,
    daemon: Daemon,
    queue: BinaryHeap<Reverse<Scheduled>>,
    order: u64,
    /// That reached the director.
    pub(super) packets: u64,
}

impl World {
    pub(super) fn new(seed: u64, mutation: Mutation, trace: Trace) -> Self {
        let (plan, mut random) = Plan::of(seed);
        let mut routes = Vec::new();
        let mut host = |index: usize, side: u8, stack, random: &mut Random| {
            let address = [10, side, 0, index as u8 + 1];
            let mac = [2, side, 0, 0, 0, index as u8 + 1];
            let gateway = MACS[usize::from(side) - 1];
            let mut macs = [0; 12];
            macs[..6].copy_from_slice(&mac);
            macs[6..].copy_from_slice(&gateway);
            let egress = Egress { interface: if side == 1 { FRONT } else { BACK }, flags: 0 };
            routes.push((address, Hop { egress, macs }));
            Host::new(address, mac, gateway, stack, random.random())
        };
        let clients: Vec<Client> = (0..plan.clients.len())
            .map(|i| Client::new(host(i, 1, plan.clients[i], &mut random), plan.tabs, plan.requests, plan.jars))
            .collect();
        let backends: Vec<Backend> =
            (0..plan.backends.len()).map(|i| Backend::new(i, host(i, 2, plan.backends[i], &mut random))).collect();
        // One more, who comes when all is over.
        let sweeper = host(99, 1, plan.clients[0], &mut random);
        let mut maps = maps(&plan, &mut random);
        maps.backends = backends.iter().map(|b| Daemon::backend(b.host.address, backend::PORT)).collect();
        let director = Director::new(maps, routes, plan.xdp, plan.partial, mutation);
        let daemon = Daemon::new(&mut random, backends.len());
        let oracle = Oracle::new(backends.len());
        let mut world = Self {
            shared: Shared { plan, random, now: 0, oracle, said: Vec::new() },
            director,
            trace,
            clients,
            backends,
            daemon,
            queue: BinaryHeap::new(),
            order: 0,
            packets: 0,
        };
        world.clients.push(Client::new(sweeper, 0, 0, 0));
        world.daemon.write(0, &mut world.director.maps, &mut world.shared.oracle);
        world.begin();
        world
    }

    /// Plans what will happen.
    fn begin(&mut self) {
        let random = &mut self.shared.random;
        let mut events = vec![(1_000_000, Event::Watch)];
        for (index, client) in self.clients.iter_mut().enumerate() {
            for (tab, state) in client.tabs.iter_mut().enumerate() {
                let at = random.random_range(0..400_000);
                state.timer = Some(at);
                events.push((at, Event::Tab(index, tab)));
            }
        }
        for _ in 0..self.shared.plan.flips {
            events.push((random.random_range(10_000..6_000_000), Event::Operator));
        }
        for _ in 0..self.shared.plan.deaths {
            let backend = random.random_range(0..self.backends.len());
            events.push((random.random_range(10_000..6_000_000), Event::Dies(backend)));
        }
        for (at, event) in events {
            self.at(at, event);
        }
    }

    fn at(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.queue.push(Reverse(Scheduled { at, order: self.order, event }));
    }

    /// Lets the world run to its end. An error is a violation.
    pub(super) fn run(&mut self) -> Result<(), String> {
        let mut events = 0u64;
        while let Some(Reverse(next)) = self.queue.pop() {
            self.shared.now = next.at;
            self.director.maps.now.set(self.shared.plan.boot + next.at * 1000);
            let happened = self.happens(next.event);
            for line in std::mem::take(&mut self.shared.said) {
                self.trace.note(next.at, &line);
            }
            happened?;
            events += 1;
            if events > MOST_EVENTS {
                return Err("it does not end: two stacks may be acknowledging each other for ever".into());
            }
            if events.is_multiple_of(16) {
                self.director.audit()?;
            }
        }
        self.director.audit()?;
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
                self.at(at, Event::Noticed(index, true));
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
        for (_, port) in self.backends[index].die(now, health) {
            if let Some(client) = self.director.client_of(port) {
                self.shared.oracle.excuse(client, "the backend died");
            }
        }
        self.transmit_from_backend(index);
        let noticed = now + self.shared.random.random_range(100_000..3_000_000);
        let back = now + self.shared.random.random_range(500_000..9_000_000);
        if noticed < back {
            self.at(noticed, Event::Noticed(index, false));
        }
        self.at(back, Event::Revives(index));
        Ok(())
    }

    /// The director gets a packet.
    fn direct(&mut self, interface: u32, frame: Vec<u8>) -> Result<(), String> {
        let view = View::of(&frame).map_err(|why| format!("a peer sent {why}"))?;
        self.packets += 1;
        let now = self.shared.now;
        self.trace.arrives(now, &frame, &view);
        let handled = self.director.receive(now, interface, frame, &view, &mut self.shared.oracle);
        let handled = handled.map_err(|why| format!("{why}, for {view}"))?;
        self.trace.verdict(handled.verdict);
        for (client, seq, len) in handled.cuts {
            if let Some(host) = self.clients.iter_mut().find(|c| c.host.address == client.0)
                && let Some(connection) = host.connections.get_mut(&client.1)
            {
                connection.monitor.cut(seq, len);
            }
        }
        for departure in handled.departures {
            self.trace.leaves(&departure.frame, &departure.view);
            let number = usize::from(departure.view.destination[3]) - 1;
            if departure.egress == FRONT {
                let number = number.min(self.clients.len() - 1);
                self.travel(self.shared.plan.front, |frame| Event::ToClient(number, frame), departure.frame);
            } else {
                self.travel(self.shared.plan.back, |frame| Event::ToBackend(number, frame), departure.frame);
            }
        }
        Ok(())
    }

    /// Puts a frame on a link.
    fn travel(&mut self, link: Link, event: impl Fn(Vec<u8>) -> Event, frame: Vec<u8>) {
        let random = &mut self.shared.random;
        if link.loss > 0.0 && random.random_bool(link.loss) {
            return;
        }
        let mut when = || {
            let held_up = link.held_up > 0.0 && random.random_bool(link.held_up);
            self.shared.now + link.delay + if held_up { random.random_range(0..link.jitter) } else { 0 }
        };
        let (first, second) = (when(), when());
        if link.duplicates > 0.0 && self.shared.random.random_bool(link.duplicates) {
            self.at(second, event(frame.clone()));
        }
        self.at(first, event(frame));
    }

    fn reach_client(&mut self, index: usize, frame: &[u8]) -> Result<(), String> {
        let view = View::of(frame).map_err(|why| format!("client {index} gets {why}"))?;
        let client = &mut self.clients[index];
        let port = view.destination_port;
        let mtu = client.host.stack.mtu;
        let clock = client.host.clock(self.shared.now);
        let connection = client.connections.get_mut(&port);
        let known = connection.is_some();
        if let Some(connection) = connection {
            let fits = connection.monitor.fits(&view);
            let heard = fits.and(connection.monitor.receives(&view, mtu, clock));
            if self.shared.now >= connection.wary_until {
                heard.map_err(|why| format!("client {index} gets {view}: {why}"))?;
            }
            client.host.input(self.shared.now, Some(connection), frame);
        } else {
            client.host.input(self.shared.now, None, frame);
        }
        let tab = client.tab_of(port);
        self.step(index, tab, known.then_some(port))
    }

    /// A client's tab and connection do what they can do now.
    fn step(&mut self, index: usize, tab: Option<usize>, port: Option<u16>) -> Result<(), String> {
        let client = &mut self.clients[index];
        let before = tab.and_then(|tab| client.tabs[tab].port);
        let mut after = None;
        if let Some(tab) = tab {
            let wish = client.step(&mut self.shared, tab).map_err(|why| format!("client {index}: {why}"))?;
            let state = &mut client.tabs[tab];
            after = state.port;
            if let Some(at) = wish
                && state.timer.is_none_or(|old| at < old)
            {
                state.timer = Some(at);
                self.at(at, Event::Tab(index, tab));
            }
        }
        let mut ports: Vec<u16> = [port, before, after].into_iter().flatten().collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let client = &mut self.clients[index];
            let wish = client.output(self.shared.now, port);
            if let Some(at) = wish
                && let Some(connection) = client.connections.get_mut(&port)
                && connection.timer.is_none_or(|old| at < old)
            {
                connection.timer = Some(at);
                self.at(at, Event::ClientTimer(index, port));
            }
        }
        self.transmit_from_client(index);
        Ok(())
    }

    fn transmit_from_client(&mut self, index: usize) {
        for frame in self.clients[index].host.take() {
            if let Ok(view) = View::of(&frame)
                && let Some(connection) = self.clients[index].connections.get_mut(&view.source_port)
            {
                connection.monitor.sends(&view);
            }
            self.travel(self.shared.plan.front, |frame| Event::Arrives(FRONT, frame), frame);
        }
    }

    fn reach_backend(&mut self, index: usize, frame: &[u8]) -> Result<(), String> {
        let view = View::of(frame).map_err(|why| format!("backend {index} gets {why}"))?;
        let peer = self.backends[index].receive(&mut self.shared, frame, &view)?;
        self.serve(index, peer)
    }

    /// A backend does what it can do now.
    fn serve(&mut self, index: usize, peer: Option<Peer>) -> Result<(), String> {
        let backend = &mut self.backends[index];
        if let Some(peer) = peer {
            let wish = backend.step(&mut self.shared, peer)?;
            if let Some(at) = wish
                && let Some((connection, _)) = backend.connections.get_mut(&peer)
                && connection.timer.is_none_or(|old| at < old)
            {
                connection.timer = Some(at);
                self.at(at, Event::BackendTimer(index, peer));
            }
        }
        self.transmit_from_backend(index);
        Ok(())
    }

    fn transmit_from_backend(&mut self, index: usize) {
        for frame in self.backends[index].host.take() {
            if let Ok(view) = View::of(&frame)
                && let Some((connection, _)) =
                    self.backends[index].connections.get_mut(&(view.destination, view.destination_port))
            {
                connection.monitor.sends(&view);
            }
            self.travel(self.shared.plan.back, |frame| Event::Arrives(BACK, frame), frame);
        }
    }

    /// Once a second: does everything go on?
    fn watch(&mut self) -> Result<(), String> {
        let now = self.shared.now;
        let patience = if self.shared.plan.pipelining > 0.0 { PIPELINE_PATIENCE } else { PATIENCE };
        for (number, record) in self.shared.oracle.records.iter().enumerate() {
            if !record.over && now - record.sent > patience {
                return Err(format!("request {number} of {:?} hangs since {} ms", record.from, record.sent / 1000));
            }
        }
        self.revive()?;
        // A browser gives up on a server that died before it had answered.
        for index in 0..self.clients.len() {
            for tab in 0..self.clients[index].tabs.len() {
                if self.clients[index].gives_up(&self.shared, tab) {
                    self.step(index, Some(tab), None)?;
                }
            }
        }
        for index in 0..self.clients.len() {
            let port = self.clients[index].linger(&self.shared).map_err(|why| format!("client {index}: {why}"))?;
            if port.is_some() {
                self.step(index, None, port)?;
            }
        }
        let done = self.clients.iter().all(Client::is_done);
        if !done && now < patience * 8 {
            self.at(now + 1_000_000, Event::Watch);
        } else if !done {
            let left: Vec<String> = self.clients.iter_mut().map(Client::leftovers).collect();
            return Err(format!("the clients do not come to an end: {}", left.join(" ")));
        }
        Ok(())
    }

    /// Ends what smoltcp has forgotten.
    fn revive(&mut self) -> Result<(), String> {
        for index in 0..self.clients.len() {
            for port in self.clients[index].revive(&mut self.shared) {
                let tab = self.clients[index].tab_of(port);
                self.step(index, tab, Some(port))?;
            }
        }
        for index in 0..self.backends.len() {
            for peer in self.backends[index].revive(self.shared.now) {
                if let Some(client) = self.director.client_of(peer.1) {
                    self.shared.oracle.excuse(client, "smoltcp forgot its other half");
                }
                self.serve(index, Some(peer))?;
            }
        }
        Ok(())
    }

    /// When all is over: a stranger takes every slot, which collects what was in it. Nothing may be left of the rest.
    fn sweep(&mut self) -> Result<(), String> {
        self.shared.now += 2 * u64::from(IDLE) * 1_000_000;
        let now = self.shared.now;
        self.director.maps.now.set(self.shared.plan.boot + now * 1000);
        let last = self.clients.len() - 1;
        for slot in 0..self.shared.plan.slots as u16 {
            let host = &mut self.clients[last].host;
            let mut connection = host.connect(50_000 + slot, (VIP, VIP_PORT));
            host.output(now, &mut connection);
            for _ in 0..2 {
                let frames = self.clients[last].host.take();
                for frame in frames {
                    let view = View::of(&frame)?;
                    let handled = self.director.receive(now, FRONT, frame, &view, &mut self.shared.oracle)?;
                    for departure in handled.departures {
                        self.clients[last].host.input(now, Some(&mut connection), &departure.frame);
                    }
                }
                self.clients[last].host.output(now, &mut connection);
            }
        }
        let maps = &self.director.maps;
        if maps.keys.borrow().len() != maps.flows.len() {
            return Err(format!(
                "{} connections are in the table, {} slots are",
                maps.keys.borrow().len(),
                maps.flows.len()
            ));
        }
        if let Some(slot) = maps.flows.iter().position(|flow| flow.borrow().state == FLOW_CLOSING) {
            return Err(format!("slot {slot} cannot be collected"));
        }
        self.director.audit()?;
        if maps.traffic.iter().any(|traffic| traffic.flows.get() != 0 || traffic.in_flight.get() != 0) {
            return Err("flows or requests in flight are left".into());
        }
        if maps.stashes.iter().any(|stash| stash.borrow().owner.get() != 0) {
            return Err("a stash is left".into());
        }
        self.sessions()
    }

    /// No id is bound that no backend issued.
    fn sessions(&self) -> Result<(), String> {
        let maps = &self.director.maps;
        let key = maps.globals.session_key;
        let issued: std::collections::HashSet<u64> =
            self.shared.oracle.issued.iter().map(|id| balancer_ebpf::sip::hash_id(key, 0, id.as_bytes()).tag).collect();
        for entry in maps.buckets.iter().flat_map(|bucket| &bucket.entries) {
            if entry.tag.get() != 0 && !issued.contains(&entry.tag.get()) {
                return Err("an id is bound that no backend issued".into());
            }
        }
        Ok(())
    }
}

fn maps(plan: &Plan, random: &mut Random) -> SimMaps {
    let mut key = || Key { k0: random.random(), k1: random.random() };
    let mut sources = [[0; 4]; MAX_SOURCES];
    sources[0] = if plan.shared_address { VIP } else { SOURCE };
    let globals = Globals {
        session_key: key(),
        cookie_key: key(),
        isn_key: key(),
        flows: plan.slots,
        stashes: plan.stashes,
        bucket_mask: 127,
        source_count: 1,
        flow_idle_seconds: IDLE,
        zero: 0,
        sources,
    };
    let listener = Listener {
        service: 0,
        offers: OFFER_SACK | OFFER_SCALE | if plan.timestamps { OFFER_TIMESTAMPS } else { 0 },
        mss: plan.mss,
        scale: plan.scale,
    };
    let listener_key = ListenerKey { address: VIP, port: VIP_PORT.to_be_bytes(), zero: [0; 2] };
    SimMaps::new(globals, roles(plan.shared_address), (listener_key, listener), daemon::policy())
}
