//! A backend: an application with sessions in its memory, behind smoltcp.

use std::collections::{BTreeMap, BTreeSet};

use rand::RngExt as _;
use smoltcp::socket::tcp::State;

use crate::host::{Connection, Host, LATE};
use crate::http::{self, COOKIE, Head};
use crate::oracle::Answer;
use crate::packet::{View, distance};
use crate::world::Shared;

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

/// What the process knows of a connection.
#[derive(Default)]
pub(crate) struct Server {
    read: Vec<u8>,
    /// Bytes that were read, ever.
    total: u32,
    /// What is to be written, and when.
    writes: Vec<(u64, Vec<u8>)>,
    /// The present request's number and head, once it has been read.
    asked: Option<(usize, Head)>,
    idle_since: u64,
    /// The connection ends behind what is being written.
    last: bool,
    closed: bool,
}

impl Server {
    /// Whether a request is being read, worked on or answered, or the connection's end has not been heard.
    pub(crate) fn is_busy(&self, connection: &mut Connection) -> bool {
        let socket = connection.socket();
        let unsaid = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
        unsaid
            || !self.read.is_empty()
            || !self.writes.is_empty()
            || self.asked.is_some()
            || socket.send_queue() != 0
            || socket.recv_queue() != 0
    }
}

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
            let server = Server { idle_since: shared.now, ..Server::default() };
            let mut connection = self.host.listen(PORT);
            connection.wary_until = self.used.get(&peer).map_or(0, |used| used + LATE);
            self.connections.insert(peer, (connection, server));
        }
        let late = |(connection, server): &(Connection, Server)| {
            server.closed && view.len != 0 && connection.monitor.is_news(view, server.total)
        };
        if self.connections.get(&peer).is_some_and(late) {
            // Whoever has closed a socket reads no more: the kernel answers data with a RST that acknowledges nothing.
            self.connections.remove(&peer);
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
        self.process(shared, &mut connection, &mut server)?;
        self.host.output(shared.now, &mut connection);
        let state = connection.socket().state();
        let next = self.host.next(shared.now, &connection);
        let written = server.writes.first().map(|(due, _)| *due);
        let keep_alive = shared.plan.keep_alive * 1000;
        let idle = (keep_alive != 0 && !server.closed).then_some(server.idle_since + keep_alive);
        let wish = [next, written.filter(|due| *due > shared.now), idle.filter(|at| *at > shared.now)];
        if !matches!(state, State::Closed | State::Listen) {
            self.connections.insert(peer, (connection, server));
        }
        Ok(wish.into_iter().flatten().min())
    }

    fn process(&mut self, shared: &mut Shared, connection: &mut Connection, server: &mut Server) -> Result<(), String> {
        let now = shared.now;
        let socket = connection.socket();
        if matches!(socket.state(), State::Listen | State::SynReceived) {
            // Nobody accepts what is not established.
            server.idle_since = now;
            return Ok(());
        }
        if server.closed {
            return Ok(());
        }
        while socket.can_recv() {
            let Server { read, total, .. } = server;
            let _ = socket.recv(|bytes| {
                read.extend_from_slice(bytes);
                *total = total.wrapping_add(bytes.len() as u32);
                (bytes.len(), ())
            });
            server.idle_since = now;
        }
        loop {
            self.requests(shared, server)?;
            if !write(now, server, connection) {
                break;
            }
        }
        let socket = connection.socket();
        let ended = !socket.may_recv();
        let keep_alive = shared.plan.keep_alive * 1000;
        let idle = keep_alive != 0 && now >= server.idle_since + keep_alive && server.read.is_empty();
        let done = server.writes.is_empty() && server.asked.is_none();
        if done && (server.last || ended || (idle && socket.send_queue() == 0 && socket.recv_queue() == 0)) {
            socket.close();
            server.closed = true;
        }
        Ok(())
    }

    /// Reads requests, one after the other: the next when the last has been answered.
    fn requests(&mut self, shared: &mut Shared, server: &mut Server) -> Result<(), String> {
        loop {
            if server.last || !server.writes.is_empty() {
                return Ok(());
            }
            if server.asked.is_none() {
                if server.read.is_empty() {
                    return Ok(());
                }
                let fail = |why: String| format!("backend {} reads {why}", self.index);
                let Some(head) = http::request(&server.read).map_err(fail)? else { return Ok(()) };
                let number = head.number::<usize>("X-Request").unwrap_or(usize::MAX);
                shared.oracle.arrived(number, self.index)?;
                let record = &shared.oracle.records[number];
                if server.read.get(..head.len) != Some(&record.head[..]) {
                    return Err(format!("the head of request {number} is damaged at backend {}", self.index));
                }
                server.asked = Some((number, head));
            }
            let Some((number, head)) = &server.asked else { return Ok(()) };
            let length = head.number::<usize>("Content-Length").unwrap_or(0);
            let (body, whole) = if head.is_chunked() {
                let Some(read) = http::dechunked(&server.read, head.len) else { return Ok(()) };
                read
            } else {
                let Some(body) = server.read.get(head.len..head.len + length) else { return Ok(()) };
                (body.to_vec(), head.len + length)
            };
            let record = &shared.oracle.records[*number];
            if http::hash(&body) != record.body_hash || body.len() != record.body_len {
                return Err(format!("the body of request {number} is damaged at backend {}", self.index));
            }
            let (number, head) = server.asked.take().expect("it is there");
            server.read.drain(..whole);
            self.answer(shared, server, number, &head)?;
        }
    }

    /// Makes the response to a request, and plans when it is written.
    fn answer(&mut self, shared: &mut Shared, server: &mut Server, number: usize, head: &Head) -> Result<(), String> {
        let random = &mut shared.random;
        let known = http::ids(head).into_iter().find(|id| self.sessions.contains(id));
        let record = &shared.oracle.records[number];
        let status: u16 = match random.random_range(0..20) {
            0 => 204,
            1 => 304,
            _ => 200,
        };
        let length = match random.random_range(0..10) {
            0 => 0,
            1..=5 => random.random_range(1..400),
            _ if random.random_bool(shared.plan.big_bodies) => random.random_range(20_000..200_000),
            _ => random.random_range(400..6_000),
        };
        let bodyless = record.is_head || status != 200;
        let mut cookie = String::new();
        let mut issued = None;
        let mut deletes = None;
        match &known {
            Some(id) if random.random_bool(0.04) => {
                cookie = format!("Set-Cookie: {COOKIE}=; Max-Age=0; Path=/\r\n");
                self.sessions.remove(id);
                deletes = Some(id.clone());
            }
            // Logging in renames a session (C35).
            Some(_) if !random.random_bool(0.05) => {}
            old => {
                if let Some(old) = old {
                    self.sessions.remove(old);
                }
                let id = http::new_id(random);
                cookie = format!("Set-Cookie: {COOKIE}={id}; Path=/; HttpOnly\r\n");
                self.sessions.insert(id.clone());
                issued = Some(id);
            }
        }
        let closes = head.closes() || random.random_bool(shared.plan.closing / 2.0);
        let chunked = !bodyless && random.random_bool(0.2);
        // Until the connection ends: the one kind of response that no framing tells the end of.
        let endless = !bodyless && !chunked && closes && random.random_bool(0.3);
        let answer = Answer {
            backend: self.index,
            status,
            len: if bodyless { 0 } else { length },
            seed: http::answer_seed(self.index, number, record.body_hash),
            deletes,
        };
        let mut text = String::new();
        if random.random_bool(0.03) {
            text.push_str("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        }
        text.push_str(&format!("HTTP/1.1 {status} OK\r\nX-Request: {number}\r\nX-Backend: {}\r\n", self.index));
        text.push_str(&http::padding(random, shared.plan.long_heads));
        text.push_str(&cookie);
        if closes {
            text.push_str("Connection: close\r\n");
        }
        if chunked {
            text.push_str("Transfer-Encoding: chunked\r\n\r\n");
        } else if status == 204 || endless {
            text.push_str("\r\n");
        } else {
            text.push_str(&format!("Content-Length: {length}\r\n\r\n"));
        }
        let split = text.len();
        let mut bytes = text.into_bytes();
        let body = http::body(answer.seed, answer.len, http::RESPONSE_BAIT);
        bytes.extend(if chunked { http::chunked(random, &body) } else { body });
        let mut due = shared.now;
        if random.random_bool(0.3) {
            due += random.random_range(100..200_000);
        }
        if random.random_bool(shared.plan.pieces) {
            let body = bytes.split_off(split);
            for piece in http::pieces(random, &bytes) {
                server.writes.push((due, piece));
                due += random.random_range(0..60_000);
            }
            bytes = body;
        }
        server.writes.push((due, bytes));
        server.writes.retain(|(_, bytes)| !bytes.is_empty());
        server.last = closes;
        shared.oracle.answers(number, answer, issued.as_deref())
    }

    /// Ends connections that smoltcp has forgotten. Answers their peers.
    pub(crate) fn revive(&mut self, now: u64) -> Vec<Peer> {
        let mut ended = Vec::new();
        for (peer, (connection, _)) in &mut self.connections {
            if self.host.has_forgotten(now, connection) {
                connection.socket().abort();
                ended.push(*peer);
            }
        }
        ended
    }

    /// The process dies. Answers the connections that it was busy on.
    pub(crate) fn die(&mut self, now: u64, health: Health) -> Vec<Peer> {
        self.health = health;
        self.sessions.clear();
        let mut busy = Vec::new();
        for (peer, (mut connection, server)) in std::mem::take(&mut self.connections) {
            if server.is_busy(&mut connection) {
                busy.push(peer);
            }
            if health == Health::Refuses {
                connection.socket().abort();
                self.host.output(now, &mut connection);
            }
        }
        busy
    }
}

/// Writes what is due; whether a response has been written to its end.
fn write(now: u64, server: &mut Server, connection: &mut Connection) -> bool {
    let socket = connection.socket();
    while let Some((due, bytes)) = server.writes.first_mut() {
        if *due > now || !socket.can_send() {
            return false;
        }
        let sent = socket.send_slice(bytes).unwrap_or(0);
        bytes.drain(..sent);
        server.idle_since = now;
        if !bytes.is_empty() {
            return false;
        }
        server.writes.remove(0);
        if server.writes.is_empty() {
            return true;
        }
    }
    false
}

/// Whether a SYN may take the place of an old connection: one in TIME-WAIT, if its numbers are behind the SYN's (RFC 6191;
/// what Linux does). What is open answers for itself.
fn may_reuse(old: &mut Connection, view: &View) -> bool {
    let state = old.socket().state();
    let behind = old.monitor.told().is_none_or(|ack| distance(view.seq, ack) > 0);
    matches!(state, State::Closed | State::Listen) || (state == State::TimeWait && behind)
}
