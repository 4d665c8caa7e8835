//! A backend: an application with sessions in its memory, behind smoltcp.

mod server;

use std::collections::{BTreeMap, BTreeSet};

use smoltcp::socket::tcp::State;

use crate::host::{Connection, Host, LATE};
use crate::packet::{View, distance};
use crate::world::Shared;
use server::Server;

/// The port that all backends serve on.
pub(crate) const PORT: u16 = 8080;

/// How a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Alive,
    /// The process is gone: its host refuses.
    Refuses,
    /// The host is gone: nothing answers.
    Silent,
}

/// A backend's host and process.
pub(crate) struct Backend {
    pub(crate) index: usize,
    pub(crate) host: Host,
    pub(crate) health: Health,
    pub(crate) connections: BTreeMap<Peer, (Connection, Server)>,
    /// When peers were last heard.
    used: BTreeMap<Peer, u64>,
    /// The process's memory.
    sessions: BTreeSet<String>,
}

/// The other end of a connection.
pub(crate) type Peer = ([u8; 4], u16);

impl Backend {
    pub(crate) fn new(index: usize, host: Host) -> Self {
        Self {
            index,
            host,
            health: Health::Alive,
            connections: BTreeMap::new(),
            used: BTreeMap::new(),
            sessions: BTreeSet::new(),
        }
    }

    /// A frame arrives.
    pub(crate) fn receive(&mut self, shared: &mut Shared, frame: &[u8], view: &View) -> Result<Option<Peer>, String> {
        if self.health == Health::Silent {
            return Ok(None);
        }
        let peer = (view.source, view.source_port);
        let fresh = view.syn && view.ack.is_none();
        if fresh && self.connections.get_mut(&peer).is_some_and(|(old, _)| may_reuse(old, view)) {
            self.connections.remove(&peer);
        }
        if fresh
            && let Some((old, _)) = self.connections.get(&peer)
            && !old.monitor.knows(view)
            && let Some(numbers) = old.monitor.next()
        {
            self.host.challenge(view, numbers);
            return Ok(None);
        }
        if fresh && !self.connections.contains_key(&peer) && self.health == Health::Alive {
            let server = Server::new(shared.now);
            let mut connection = self.host.listen(PORT);
            connection.wary_until = self.used.get(&peer).map_or(0, |used| used + LATE);
            self.connections.insert(peer, (connection, server));
        }
        let late = |(connection, server): &(Connection, Server)| server.is_deaf_to(connection, view);
        if self.connections.get(&peer).is_some_and(late) {
            // Whoever has closed a socket reads no more: the kernel answers data with a RST that acknowledges nothing.
            if let Some((_, mut server)) = self.connections.remove(&peer) {
                server.dies(shared);
            }
        }
        if let Some((old, _)) = self.connections.get_mut(&peer)
            && let Some(numbers) = old.monitor.next()
            && view.rst
            && view.seq != numbers.1
        {
            // Not exactly what is expected: a late one, perhaps of an older connection (RFC 5961, section 3.2). smoltcp believes
            // whatever lies in its window.
            if old.socket().state() != State::SynReceived {
                self.host.challenge(view, numbers);
            }
            return Ok(None);
        }
        let Some((connection, _)) = self.connections.get_mut(&peer) else {
            self.used.insert(peer, shared.now);
            self.host.input(shared.now, None, frame);
            return Ok(None);
        };
        let clock = self.host.clock(shared.now);
        let heard = connection.monitor.receives(view, self.host.stack.mtu, clock);
        if shared.now >= connection.wary_until {
            self.used.insert(peer, shared.now);
            heard.map_err(|why| format!("backend {} gets {view}: {why}", self.index))?;
        }
        self.host.input(shared.now, Some(connection), frame);
        Ok(Some(peer))
    }

    /// The process looks after a connection; answers when it wants to do so again.
    pub(crate) fn step(&mut self, shared: &mut Shared, peer: Peer) -> Result<Option<u64>, String> {
        let Some((mut connection, mut server)) = self.connections.remove(&peer) else { return Ok(None) };
        server.process(shared, self.index, &mut self.sessions, &mut connection)?;
        self.host.output(shared.now, &mut connection);
        let state = connection.socket().state();
        let next = self.host.next(shared.now, &connection);
        let wish = server.wishes(shared).into_iter().filter(|at| *at > shared.now).chain(next).min();
        if !matches!(state, State::Closed | State::Listen) {
            self.connections.insert(peer, (connection, server));
        }
        Ok(wish)
    }

    /// Ends connections that smoltcp has forgotten. Answers their peers.
    pub(crate) fn revive(&mut self, shared: &mut Shared) -> Vec<Peer> {
        let mut ended = Vec::new();
        for (peer, (connection, server)) in &mut self.connections {
            if self.host.has_forgotten(shared.now, connection) {
                server.dies(shared);
                connection.socket().abort();
                ended.push(*peer);
            }
        }
        ended
    }

    /// The process dies. Answers the connections that it was busy on.
    pub(crate) fn die(&mut self, shared: &mut Shared, health: Health) -> Vec<Peer> {
        self.health = health;
        self.sessions.clear();
        let mut busy = Vec::new();
        for (peer, (mut connection, mut server)) in std::mem::take(&mut self.connections) {
            if server.is_busy(&mut connection) {
                server.dies(shared);
                busy.push(peer);
            }
            if health == Health::Refuses {
                connection.socket().abort();
                self.host.output(shared.now, &mut connection);
            }
        }
        busy
    }
}

/// Whether a SYN may take the place of an old connection: one in TIME-WAIT, if its numbers are behind the SYN's (RFC 6191;
/// what Linux does). What is open answers for itself.
fn may_reuse(old: &mut Connection, view: &View) -> bool {
    let state = old.socket().state();
    let behind = old.monitor.told().is_none_or(|ack| distance(view.seq, ack) > 0);
    matches!(state, State::Closed | State::Listen) || (state == State::TimeWait && behind)
}
