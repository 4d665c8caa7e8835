//! A client: browsers' tabs that share cookie jars, each with one connection at a time, behind smoltcp.

mod ask;
mod linger;
mod read;
mod tab;

pub(crate) use tab::Tab;

use std::collections::BTreeMap;

use smoltcp::socket::tcp::State;

use crate::director::{VIP, VIP_PORT};
use crate::host::{Connection, Host, LATE};
use crate::world::Shared;

/// The first port of connections.
const FIRST_PORT: u16 = 40_000;
/// Microseconds after which a port is used again.
const COOLING: u64 = 300_000;

/// A client's host and its tabs.
pub(crate) struct Client {
    pub(crate) host: Host,
    pub(crate) connections: BTreeMap<u16, Connection>,
    pub(crate) tabs: Vec<Tab>,
    jars: Vec<Jar>,
    port: u16,
    /// When ports were used last.
    used: BTreeMap<u16, u64>,
}

/// The cookies of one user.
#[derive(Default)]
struct Jar {
    id: Option<String>,
    /// The tab that uses it now, and how many of its requests do. Whoever wants it meanwhile waits: two requests of one
    /// session on two connections would leave open which of them the director saw first.
    user: usize,
    uses: u32,
}

impl Client {
    pub(crate) fn new(host: Host, tabs: usize, requests: u32, jars: usize) -> Self {
        Self {
            host,
            connections: BTreeMap::new(),
            tabs: (0..tabs).map(|_| Tab::new(requests)).collect(),
            jars: (0..jars).map(|_| Jar::default()).collect(),
            port: 0,
            used: BTreeMap::new(),
        }
    }

    /// Whether every tab has had its requests, and every connection has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.connections.is_empty() && self.tabs.iter().all(|tab| tab.left == 0 && tab.port.is_none())
    }

    /// The tab of a connection.
    pub(crate) fn tab_of(&self, port: u16) -> Option<usize> {
        self.tabs.iter().position(|tab| tab.port == Some(port))
    }

    /// Lets a connection send; answers when it has to be looked after. Ended ones go.
    pub(crate) fn output(&mut self, now: u64, port: u16) -> Option<u64> {
        let connection = self.connections.get_mut(&port)?;
        self.host.output(now, connection);
        let next = self.host.next(now, connection);
        if connection.socket().state() == State::Closed && self.tab_of(port).is_none() {
            self.connections.remove(&port);
            self.used.insert(port, now);
            return None;
        }
        next
    }

    /// A tab looks after its connection; answers when it wants to do so again.
    pub(crate) fn step(&mut self, shared: &mut Shared, index: usize) -> Result<Option<u64>, String> {
        let mut tab = std::mem::take(&mut self.tabs[index]);
        let result = self.process(shared, &mut tab, index);
        let wishes = [
            tab.due(),
            tab.port.map(|_| tab.rest),
            (tab.left != 0 && tab.port.is_none()).then_some(tab.rest.max(shared.now + 100)),
            Some(tab.pause),
        ];
        self.tabs[index] = tab;
        result?;
        Ok(wishes.into_iter().flatten().filter(|at| *at > shared.now).min())
    }

    fn process(&mut self, shared: &mut Shared, tab: &mut Tab, index: usize) -> Result<(), String> {
        if let Some(port) = tab.port
            && let Some(mut connection) = self.connections.remove(&port)
        {
            let result = self.read(shared, tab, &mut connection);
            self.connections.insert(port, connection);
            result?;
        }
        if shared.now >= tab.rest && tab.is_idle() {
            self.begin(shared, tab, index);
        }
        if let Some(connection) = tab.port.and_then(|port| self.connections.get_mut(&port)) {
            tab.write(shared, connection);
        }
        Ok(())
    }

    fn connect(&mut self, shared: &mut Shared, tab: &mut Tab) -> bool {
        for _ in 0..shared.plan.ports {
            let port = FIRST_PORT + self.port;
            self.port = (self.port + 1) % shared.plan.ports;
            // Not while something may be under way that belongs to the connection before.
            let cool = self.used.get(&port).is_none_or(|used| shared.now > used + COOLING);
            if cool && !self.connections.contains_key(&port) {
                shared.oracle.connects((self.host.address, port));
                let mut connection = self.host.connect(port, (VIP, VIP_PORT));
                connection.wary_until = self.used.get(&port).map_or(0, |ended| ended + LATE);
                self.connections.insert(port, connection);
                *tab = Tab { port: Some(port), timer: tab.timer, ..Tab::new(tab.left) };
                return true;
            }
        }
        false
    }
}
