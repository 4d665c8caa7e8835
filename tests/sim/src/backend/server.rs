//! The process's side of a connection: reads requests one after the other, and answers them.

use std::collections::{BTreeSet, VecDeque};

use rand::RngExt as _;
use smoltcp::socket::tcp::{Socket, State};

use crate::host::Connection;
use crate::message::{Reply, Style, UNASKED, Who, excerpt, identify, new_id, reply};
use crate::oracle::From;
use crate::packet::View;
use crate::tally::Feature;
use crate::world::Shared;

/// What the process knows of a connection.
#[derive(Default)]
pub(crate) struct Server {
    /// What was read and is not understood yet.
    inbox: Vec<u8>,
    /// Bytes that were read, ever.
    total: u32,
    /// What is to be written.
    writes: VecDeque<Write>,
    /// The request that is being read, or whose tunnel is open.
    current: Option<Current>,
    /// The last request that began, its attempt, and how many bytes had been written before.
    recent: Option<(usize, usize, u32)>,
    /// Bytes that were written, ever.
    written: u32,
    /// The client that has authenticated the connection, or was asked to: nobody else may use it.
    bound: Option<From>,
    /// The client of the last request.
    client: Option<From>,
    idle_since: u64,
    /// Nothing is read before.
    pause: u64,
    /// The connection ends behind what is being written.
    last: bool,
    /// The rest of the request is not read.
    deaf: bool,
    closed: bool,
}

/// A request that is being read.
struct Current {
    number: usize,
    attempt: usize,
    /// Bytes of it that have come.
    read: usize,
    /// The answer as far as it has been made.
    reply: Reply,
}

/// Bytes to be written: when, and not before how much of the request has come.
struct Write {
    due: u64,
    needs: usize,
    bytes: Vec<u8>,
}

/// The sessions in a process's memory.
type Sessions = BTreeSet<String>;

impl Server {
    pub(super) fn new(now: u64) -> Self {
        Self { idle_since: now, ..Self::default() }
    }

    /// Whether a request is being read, worked on or answered, or the connection's end has not been heard.
    pub(super) fn is_busy(&self, connection: &mut Connection) -> bool {
        let socket = connection.socket();
        let unsaid = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
        unsaid
            || !self.inbox.is_empty()
            || !self.writes.is_empty()
            || self.current.is_some()
            || socket.send_queue() != 0
            || socket.recv_queue() != 0
    }

    /// The request and the attempt that a segment of this connection answers: the last one, if it is not older than that.
    pub(crate) fn answers(&self, connection: &Connection, view: &View) -> Option<(usize, usize)> {
        let (number, attempt, before) = self.recent?;
        (connection.monitor.offset(view)? >= i64::from(before)).then_some((number, attempt))
    }

    /// Whether a segment brings what nobody will read.
    pub(super) fn is_deaf_to(&self, connection: &Connection, view: &View) -> bool {
        self.closed && view.len != 0 && connection.monitor.is_news(view, self.total)
    }

    /// The connection dies, and with it the request on it.
    pub(super) fn dies(&mut self, shared: &mut Shared) {
        if let Some((number, attempt, _)) = self.recent {
            shared.oracle.died(number, attempt);
        }
    }

    /// When it wants to be looked after, if nothing comes.
    pub(super) fn wishes(&self, shared: &Shared) -> [u64; 3] {
        let keep_alive = shared.plan.keep_alive * 1000;
        let idle = if keep_alive != 0 && !self.closed { self.idle_since + keep_alive } else { 0 };
        [self.writes.front().map_or(0, |write| write.due), idle, self.pause]
    }

    /// Reads, works, writes and closes, as far as it can.
    pub(super) fn process(
        &mut self,
        shared: &mut Shared,
        index: usize,
        sessions: &mut Sessions,
        connection: &mut Connection,
    ) -> Result<(), String> {
        if matches!(connection.socket().state(), State::Listen | State::SynReceived) {
            // Nobody accepts what is not established.
            self.idle_since = shared.now;
            return Ok(());
        }
        if self.closed {
            return Ok(());
        }
        self.receive(shared, connection);
        loop {
            self.requests(shared, index, sessions)?;
            if !self.write(shared.now, connection) {
                break;
            }
        }
        self.close(shared, index, connection)
    }

    fn receive(&mut self, shared: &mut Shared, connection: &mut Connection) {
        let now = shared.now;
        let socket = connection.socket();
        while socket.can_recv() && !self.deaf && now >= self.pause {
            let Self { inbox, total, .. } = self;
            let _ = socket.recv(|bytes| {
                inbox.extend_from_slice(bytes);
                *total = total.wrapping_add(bytes.len() as u32);
                (bytes.len(), ())
            });
            self.idle_since = now;
            if shared.plan.clean() && shared.random.random_bool(shared.plan.stalls / 4.0) {
                self.pause = now + shared.random.random_range(1_000..300_000);
            }
        }
    }

    /// Writes what is due; whether it has written something to its end.
    fn write(&mut self, now: u64, connection: &mut Connection) -> bool {
        let socket = connection.socket();
        let have = self.current.as_ref().map_or(usize::MAX, |current| current.read);
        while let Some(front) = self.writes.front_mut() {
            if front.due > now || front.needs > have || !socket.can_send() {
                return false;
            }
            let sent = socket.send_slice(&front.bytes).unwrap_or(0);
            front.bytes.drain(..sent);
            self.written = self.written.wrapping_add(sent as u32);
            self.idle_since = now;
            if !front.bytes.is_empty() {
                return false;
            }
            self.writes.pop_front();
            if self.writes.is_empty() {
                return true;
            }
        }
        false
    }

    /// Closes what has been answered for the last time, what is idle, and what the other side has given up.
    fn close(&mut self, shared: &mut Shared, index: usize, connection: &mut Connection) -> Result<(), String> {
        let socket = connection.socket();
        let ended = !socket.may_recv();
        let quiet = socket.send_queue() == 0 && socket.recv_queue() == 0 && self.inbox.is_empty();
        let keep_alive = shared.plan.keep_alive * 1000;
        let idle = keep_alive != 0 && shared.now >= self.idle_since + keep_alive && quiet && self.current.is_none();
        let answered = self.last && (self.current.is_none() || self.deaf);
        if self.writes.is_empty() && (answered || ended || idle) {
            if !self.inbox.is_empty() && self.current.is_none() && !self.last {
                // The connection has ended within a head: that is all that it may be.
                let known = |record: &crate::oracle::Record| record.request.wire.starts_with(&self.inbox);
                if !shared.oracle.records.iter().any(known) {
                    return Err(format!("backend {index} reads what nobody sent: {:?}", excerpt(&self.inbox)));
                }
            }
            if idle && !answered && !ended {
                self.tire(shared, socket);
            }
            socket.close();
            self.closed = true;
        }
        Ok(())
    }

    /// The connection has been idle for long. Some servers just reset it, some say why they close it.
    fn tire(&self, shared: &mut Shared, socket: &mut Socket<'_>) {
        if shared.random.random_bool(shared.plan.resets) {
            socket.abort();
        } else if let Some(client) = self.client
            && shared.random.random_bool(shared.plan.speaks)
        {
            let _ = socket.send_slice(UNASKED);
            shared.oracle.speaks_unasked(client);
        }
    }

    /// Reads requests, one after the other: the next when the last has been answered.
    fn requests(&mut self, shared: &mut Shared, index: usize, sessions: &mut Sessions) -> Result<(), String> {
        loop {
            if self.current.is_none() && (self.last || !self.writes.is_empty() || self.inbox.is_empty()) {
                return Ok(());
            }
            if self.current.is_none() {
                let named = identify(&self.inbox).map_err(|why| format!("backend {index} reads {why}"))?;
                let Some((number, head)) = named else { return Ok(()) };
                let attempt = shared.oracle.arrived(number, index)?;
                self.recent = Some((number, attempt, self.written));
                self.current = Some(Current { number, attempt, read: 0, reply: Reply::default() });
                self.take(shared, index, head)?;
                self.serves(shared, index, number)?;
                self.head_read(shared, index, sessions);
            }
            self.take(shared, index, usize::MAX)?;
            let Some(current) = &self.current else { return Ok(()) };
            let request = &shared.oracle.records[current.number].request;
            if current.read >= request.whole && !current.reply.is_final {
                self.answer(shared, index, sessions, Style::Usual);
            }
            let Some(current) = &self.current else { return Ok(()) };
            let request = &shared.oracle.records[current.number].request;
            let end = if current.reply.switches { request.wire.len() } else { request.whole };
            if current.read < end || !current.reply.is_final {
                return Ok(());
            }
            self.current = None;
        }
    }

    /// Takes at most `most` bytes for what they have to be: more of the present request.
    fn take(&mut self, shared: &Shared, index: usize, most: usize) -> Result<(), String> {
        let Some(current) = &mut self.current else { return Ok(()) };
        let request = &shared.oracle.records[current.number].request;
        let end = if current.reply.switches { request.wire.len() } else { request.whole };
        let rest = &request.wire[current.read.min(end)..end];
        let len = most.min(rest.len()).min(self.inbox.len());
        if self.inbox[..len] != rest[..len] {
            let (number, read) = (current.number, current.read);
            let text = excerpt(&self.inbox);
            return Err(format!("backend {index} reads {text:?} as byte {read} of request {number}"));
        }
        current.read += len;
        self.inbox.drain(..len);
        Ok(())
    }

    /// A client's request has come: on a connection that may serve several, one after the other.
    fn serves(&mut self, shared: &mut Shared, index: usize, number: usize) -> Result<(), String> {
        let record = &mut shared.oracle.records[number];
        if let Some(bound) = self.bound.filter(|bound| *bound != record.from) {
            let from = record.from;
            return Err(format!("request {number} of {from:?} has come to backend {index} as the user of {bound:?}"));
        }
        record.request.features.add_if(self.client.is_some_and(|client| client != record.from), Feature::Reused);
        self.client = Some(record.from);
        if record.request.has(Feature::Binds) {
            self.bound = self.client;
        }
        Ok(())
    }

    /// A head has been read: perhaps there is something to be said before the body has come.
    fn head_read(&mut self, shared: &mut Shared, index: usize, sessions: &mut Sessions) {
        let Some(current) = &mut self.current else { return };
        let random = &mut shared.random;
        let request = &shared.oracle.records[current.number].request;
        let expects = request.has(Feature::ExpectWaits) || request.has(Feature::ExpectGoesOn);
        let early = request.whole > request.head && random.random_bool(shared.plan.early);
        let style = match random.random_range(0..10) {
            0..=5 if expects => {
                let due = shared.now + if random.random_bool(0.3) { random.random_range(0..600_000) } else { 0 };
                let bytes = current.reply.go_on();
                shared.oracle.says(current.number, current.attempt, &current.reply);
                self.writes.push_back(Write { due, needs: 0, bytes });
                return;
            }
            6 if expects => Style::EarlyCloses,
            7 if expects => Style::EarlyReadsOn,
            8 | 9 if expects => return,
            0..=4 if early => Style::EarlyCloses,
            _ if early => Style::EarlyReadsOn,
            _ => return,
        };
        self.answer(shared, index, sessions, style);
    }

    /// Makes the answer to the present request, and plans when it is written.
    fn answer(&mut self, shared: &mut Shared, index: usize, sessions: &mut Sessions, style: Style) {
        let Some(current) = &mut self.current else { return };
        let Shared { random, plan, oracle, now, said, .. } = shared;
        let request = &oracle.records[current.number].request;
        let (cookie, deletes) = if request.tunnels { (None, None) } else { session(random, sessions, &request.ids) };
        let who = Who { number: current.number, backend: index, attempt: current.attempt };
        let pieces = reply(random, plan, request, style, &who, cookie, &mut current.reply);
        let mut due = *now + if random.random_bool(0.3) { random.random_range(100..200_000) } else { 0 };
        if current.reply.switches && !request.backend_first {
            // The tunnel answers when the client has said something.
            let needs = random.random_range(request.whole + 1..=request.wire.len());
            let down = current.reply.wire.len() - current.reply.whole;
            let mut bytes = pieces.concat();
            let tunnel = bytes.split_off(bytes.len() - down);
            self.writes.push_back(Write { due, needs: 0, bytes });
            self.writes.push_back(Write { due, needs, bytes: tunnel });
        } else {
            for bytes in pieces {
                self.writes.push_back(Write { due, needs: 0, bytes });
                due += random.random_range(0..60_000);
            }
        }
        self.writes.retain(|write| !write.bytes.is_empty());
        if current.reply.features.has(Feature::AnswerBinds) {
            self.bound = self.client;
        }
        self.last = current.reply.closes || current.reply.until_close;
        self.deaf = style == Style::EarlyCloses;
        let early = style != Style::Usual;
        let (ids, cookie, closes) = (&request.ids, &current.reply.cookie, current.reply.closes);
        said.push(format!("--- {} at {index}, {style:?}, of {ids:?}: {cookie:?}, closes {closes}", current.number));
        oracle.answers(current.number, current.attempt, current.reply.clone(), deletes, early);
    }
}

/// What becomes of a session: its cookie, and the id that ends.
fn session(
    random: &mut crate::plan::Random,
    sessions: &mut Sessions,
    ids: &[String],
) -> (Option<Option<String>>, Option<String>) {
    let known = ids.iter().find(|id| sessions.contains(*id)).cloned();
    match known {
        Some(id) if random.random_bool(0.04) => {
            sessions.remove(&id);
            (Some(None), Some(id))
        }
        // Logging in renames a session (C35).
        Some(_) if !random.random_bool(0.05) => (None, None),
        old => {
            if let Some(old) = old {
                sessions.remove(&old);
            }
            let id = new_id(random);
            sessions.insert(id.clone());
            (Some(Some(id)), None)
        }
    }
}
