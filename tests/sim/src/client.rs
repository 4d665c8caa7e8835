//! A client: browsers' tabs that share cookie jars, each with one connection at a time, behind smoltcp.

use std::collections::{BTreeMap, VecDeque};

use rand::RngExt as _;
use smoltcp::socket::tcp::State;

use crate::director::{VIP, VIP_PORT};
use crate::host::{Connection, Host, LATE};
use crate::http::{self, COOKIE, Head};
use crate::oracle::Record;
use crate::world::Shared;

/// The first port of connections.
const FIRST_PORT: u16 = 40_000;

/// Microseconds that a browser waits for a server that is known to have died.
const EXCUSED_PATIENCE: u64 = 30_000_000;

/// Microseconds after which a port is used again.
const COOLING: u64 = 300_000;
/// Microseconds that a connection without a tab may take to end.
const LINGER: u64 = 200_000_000;

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

/// A tab: one connection at a time, and the requests on it.
#[derive(Default)]
pub(crate) struct Tab {
    pub(crate) port: Option<u16>,
    /// When the tab wants to be looked after.
    pub(crate) timer: Option<u64>,
    /// Nothing is begun before.
    rest: u64,
    /// Nothing is read before.
    pause: u64,
    left: u32,
    /// Requests under way, and whose jar they use.
    outstanding: VecDeque<(usize, usize)>,
    /// The last request was sent before the answer to the one before it. Not two in a row: each costs a retransmission, and
    /// smoltcp's timer only ever doubles while there is nothing but retransmissions.
    pipelined: bool,
    writes: VecDeque<(u64, Vec<u8>)>,
    read: Vec<u8>,
    /// The last response, or request, said that it is the last one.
    last: bool,
    /// A response said so.
    answered_last: bool,
    /// The client has closed its direction.
    half_closed: bool,
    /// A request was not framed: nothing is decided on the connection any more, and its end is passed on.
    unframed: bool,
}

impl Client {
    pub(crate) fn new(host: Host, tabs: usize, requests: u32, jars: usize) -> Self {
        let tab = || Tab { left: requests, ..Tab::default() };
        Self {
            host,
            connections: BTreeMap::new(),
            tabs: (0..tabs).map(|_| tab()).collect(),
            jars: (0..jars).map(|_| Jar::default()).collect(),
            port: 0,
            used: BTreeMap::new(),
        }
    }

    /// Whether every tab has had its requests, and every connection has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.connections.is_empty() && self.tabs.iter().all(|tab| tab.left == 0 && tab.port.is_none())
    }

    /// Whether a tab ends its connection, because what it waits for may never come.
    pub(crate) fn gives_up(&mut self, shared: &Shared, tab: usize) -> bool {
        let tab = &self.tabs[tab];
        let hopeless = tab.outstanding.front().is_some_and(|(number, _)| {
            let record = &shared.oracle.records[*number];
            record.excuse.is_some() && shared.now > record.sent + EXCUSED_PATIENCE
        });
        let connection = tab.port.and_then(|port| self.connections.get_mut(&port));
        connection.filter(|_| hopeless).map(|connection| connection.socket().abort()).is_some()
    }

    /// Ends a connection that nobody has had for long: its peer may have died, and smoltcp waits for ever in FIN-WAIT-2.
    /// Answers its port, or that its FIN should have been answered.
    pub(crate) fn linger(&mut self, shared: &Shared) -> Result<Option<u16>, String> {
        let late = |since: &mut Option<u64>| shared.now > since.get_or_insert(shared.now).saturating_add(LINGER);
        let tabs: Vec<u16> = self.tabs.iter().filter_map(|tab| tab.port).collect();
        for (port, connection) in self.connections.iter_mut().filter(|(port, _)| !tabs.contains(port)) {
            if late(&mut connection.orphaned) {
                let state = connection.socket().state();
                // After three equal acknowledgements smoltcp forgets a FIN that was lost, so only clean links tell.
                if state != State::FinWait2 && shared.plan.deaths == 0 && shared.plan.clean() {
                    return Err(format!("port {port} is in {state:?} since {} s", LINGER / 1_000_000));
                }
                connection.socket().abort();
                connection.orphaned = None;
                return Ok(Some(*port));
            }
        }
        Ok(None)
    }

    /// Ends connections that smoltcp has forgotten. Answers their ports.
    pub(crate) fn revive(&mut self, shared: &mut Shared) -> Vec<u16> {
        let mut ended = Vec::new();
        for (port, connection) in &mut self.connections {
            if self.host.has_forgotten(shared.now, connection) {
                shared.oracle.excuse((self.host.address, *port), "smoltcp forgot it");
                connection.socket().abort();
                ended.push(*port);
            }
        }
        ended
    }

    /// What is not done, in words.
    pub(crate) fn leftovers(&mut self) -> String {
        let tabs: Vec<_> = self.tabs.iter().map(|tab| (tab.port, tab.left, tab.outstanding.len(), tab.rest)).collect();
        let connections: Vec<_> = self.connections.iter_mut().map(|(port, c)| (*port, c.socket().state())).collect();
        format!("{tabs:?} {connections:?}")
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
            tab.writes.front().map(|(due, _)| *due),
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
        let more = tab.outstanding.len() == 1 && !tab.pipelined;
        if shared.now >= tab.rest
            && (tab.outstanding.is_empty() || more && shared.random.random_bool(shared.plan.pipelining))
        {
            self.begin(shared, tab, index);
        }
        if let Some(connection) = tab.port.and_then(|port| self.connections.get_mut(&port)) {
            write(shared.now, tab, connection);
        }
        Ok(())
    }

    /// Reads what came, and notices how the connection is.
    fn read(&mut self, shared: &mut Shared, tab: &mut Tab, connection: &mut Connection) -> Result<(), String> {
        let socket = connection.socket();
        if shared.now >= tab.pause || socket.state() == State::Closed {
            while socket.can_recv() {
                let read = &mut tab.read;
                let _ = socket.recv(|bytes| {
                    read.extend_from_slice(bytes);
                    (bytes.len(), ())
                });
            }
            // A full window that opens again stalls smoltcp if something was lost meanwhile, or cut off by a window that was
            // rounded to its scale.
            if shared.plan.clean() && self.host.stack.receive < 65_536 && shared.random.random_bool(0.01) {
                tab.pause = shared.now + shared.random.random_range(1_000..300_000);
            }
        }
        let state = connection.socket().state();
        let ended = !connection.socket().may_recv() && !matches!(state, State::SynSent | State::SynReceived);
        while !tab.read.is_empty() && self.response(shared, tab, ended && state != State::Closed)? {}
        let reset = state == State::Closed;
        // Behind a response that says so nothing comes any more, whether the end of the connection can be seen or not.
        if !reset && !ended && !tab.answered_last {
            return Ok(());
        }
        if !tab.outstanding.is_empty() {
            let how = if reset { "the connection was reset" } else { "the connection was closed" };
            let from = tab.outstanding.front().map(|(number, _)| shared.oracle.records[*number].from);
            let excused = tab.outstanding.iter().any(|(number, _)| shared.oracle.records[*number].excuse.is_some());
            // Whoever pipelines has to be ready for a server that closes meanwhile (RFC 9112, section 9.3.2).
            let mishaps = shared.plan.keep_alive != 0 || shared.plan.closing > 0.0 || shared.plan.deaths != 0;
            let pipelined = tab.outstanding.len() > 1 && mishaps;
            if let Some(from) = from
                && (excused || pipelined || tab.unframed || tab.last)
            {
                shared.oracle.excuse(from, "its connection ended");
            }
            for (number, jar) in std::mem::take(&mut tab.outstanding) {
                self.jars[jar].uses -= 1;
                shared.oracle.fails(number, shared.now, how)?;
            }
        } else if !tab.last
            && !tab.half_closed
            && !tab.unframed
            && !shared.oracle.is_excused((self.host.address, tab.port.unwrap_or(0)))
        {
            return Err(format!("an idle connection of port {:?} ended, reset: {reset}", tab.port));
        }
        connection.socket().close();
        leave(shared, tab);
        Ok(())
    }

    /// Takes a response from what was read; whether there was a whole one. `ended`: nothing more comes.
    fn response(&mut self, shared: &mut Shared, tab: &mut Tab, ended: bool) -> Result<bool, String> {
        let Some(head) = http::response(&tab.read)? else { return Ok(false) };
        if head.status < 200 {
            tab.read.drain(..head.len);
            return Ok(true);
        }
        let Some(&(number, jar)) = tab.outstanding.front() else {
            return Err(format!("a response to nothing: {head:?}"));
        };
        let record = &shared.oracle.records[number];
        let bodyless = record.is_head || head.status == 204 || head.status == 304;
        let (body, whole) = if bodyless {
            (Vec::new(), head.len)
        } else if head.is_chunked() {
            let Some(read) = http::dechunked(&tab.read, head.len) else { return Ok(false) };
            read
        } else {
            let end = head.number::<usize>("Content-Length").map(|length| head.len + length);
            let Some(end) = end.or(ended.then_some(tab.read.len())) else { return Ok(false) };
            let Some(body) = tab.read.get(head.len..end) else { return Ok(false) };
            (body.to_vec(), end)
        };
        let seed = record.answer.as_ref().map_or(0, |answer| answer.seed);
        let expected = http::body(seed, body.len(), http::RESPONSE_BAIT);
        shared.oracle.ends(number, &head, &body, &expected)?;
        tab.read.drain(..whole);
        tab.outstanding.pop_front();
        tab.last |= head.closes();
        tab.answered_last |= head.closes();
        let jar = &mut self.jars[jar];
        jar.uses -= 1;
        remember(jar, &head);
        if tab.outstanding.is_empty() {
            let think = if shared.random.random_bool(0.5) { 0 } else { shared.random.random_range(0..500_000) };
            tab.rest = shared.now + think;
        }
        Ok(true)
    }

    /// Begins something: a connection, a request, or the end of either.
    fn begin(&mut self, shared: &mut Shared, tab: &mut Tab, index: usize) {
        let fresh = tab.port.is_none();
        if fresh {
            if tab.left == 0 || !self.connect(shared, tab) {
                tab.rest = shared.now + 50_000;
                return;
            }
            if shared.random.random_bool(0.2) {
                // An idle pre-connect.
                tab.rest = shared.now + shared.random.random_range(0..1_000_000);
                return;
            }
        }
        let Some(port) = tab.port else { return };
        let Some(connection) = self.connections.get_mut(&port) else { return };
        if tab.outstanding.is_empty() && !fresh {
            let random = &mut shared.random;
            if tab.left == 0 || tab.last || random.random_bool(shared.plan.closing) {
                if random.random_bool(0.2) {
                    connection.socket().abort()
                } else {
                    connection.socket().close()
                }
                leave(shared, tab);
                return;
            }
        }
        // What follows a body in chunks, which is not followed yet, is not told from it.
        let waits = tab.unframed && !tab.outstanding.is_empty();
        if tab.left == 0 || tab.last || tab.half_closed || waits {
            return;
        }
        let free: Vec<usize> =
            (0..self.jars.len()).filter(|jar| self.jars[*jar].uses == 0 || self.jars[*jar].user == index).collect();
        if free.is_empty() {
            tab.rest = shared.now + 20_000;
            return;
        }
        let jar = free[shared.random.random_range(0..free.len())];
        if shared.random.random_bool(0.05) {
            self.jars[jar].id = None;
        }
        self.jars[jar].user = index;
        self.jars[jar].uses += 1;
        self.ask(shared, tab, jar, port);
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
                *tab = Tab { port: Some(port), timer: tab.timer, left: tab.left, ..Tab::default() };
                return true;
            }
        }
        false
    }

    /// Makes a request and plans when it is written.
    fn ask(&mut self, shared: &mut Shared, tab: &mut Tab, jar: usize, port: u16) {
        let number = shared.oracle.records.len();
        let random = &mut shared.random;
        let plan = &shared.plan;
        let method = ["GET", "GET", "GET", "HEAD", "POST", "POST"][random.random_range(0..6)];
        let length = match random.random_range(0..6) {
            _ if method != "POST" => 0,
            0 => 0,
            1 if random.random_bool(plan.big_bodies) => random.random_range(10_000..100_000),
            1 | 2 => random.random_range(1_000..5_000),
            _ => random.random_range(1..600),
        };
        let bait = self.jars.iter().find_map(|jar| jar.id.as_ref()).map_or(String::new(), |id| {
            format!("GET /bait HTTP/1.1\r\nHost: a\r\nX-Request: 0\r\nCookie: {COOKIE}={id}\r\n\r\n")
        });
        let body = http::body(random.random(), length, &bait);
        let (path, cookie) = present(random, self.jars[jar].id.as_deref());
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: shop.example\r\n");
        text.push_str(&http::padding(random, plan.long_heads));
        text.push_str(&cookie);
        text.push_str(&format!("X-Request: {number}\r\n"));
        let chunked = method == "POST" && plan.unframed && random.random_bool(0.2);
        if chunked {
            text.push_str("Transfer-Encoding: chunked\r\n");
        } else if method == "POST" {
            text.push_str(&format!("Content-Length: {length}\r\n"));
        }
        let closes = random.random_bool(plan.closing / 4.0);
        if closes {
            text.push_str("Connection: close\r\n");
        }
        text.push_str("\r\n");
        let head = text.into_bytes();
        let parsed = http::request(&head).ok().flatten().expect("our own request can be read");
        let sent = if chunked { http::chunked(random, &body) } else { body.clone() };
        let mut due = shared.now;
        if random.random_bool(plan.pieces) {
            for piece in http::pieces(random, &head) {
                tab.writes.push_back((due, piece));
                due += random.random_range(0..80_000);
            }
            tab.writes.push_back((due, sent));
        } else {
            tab.writes.push_back((due, [&head[..], &sent[..]].concat()));
        }
        // A client may close its direction behind its last request, and still wants the answer.
        tab.half_closed = tab.left == 1 && random.random_bool(0.3);
        tab.last = closes;
        tab.unframed |= chunked;
        tab.left -= 1;
        tab.pipelined = !tab.outstanding.is_empty();
        tab.outstanding.push_back((number, jar));
        shared.said.push(format!("### {number} {} {path} jar {jar}", address(&self.host, port)));
        shared.oracle.records.push(Record {
            ids: http::ids(&parsed),
            head,
            body_len: body.len(),
            body_hash: http::hash(&body),
            is_chunked: chunked,
            is_head: method == "HEAD",
            from: (self.host.address, port),
            sent: shared.now,
            arrived: None,
            born: None,
            answer: None,
            over: false,
            excuse: None,
        });
    }
}

/// As in the trace.
fn address(host: &Host, port: u16) -> String {
    let [_, a, _, b] = host.address;
    format!("{a}.{b}:{port}")
}

/// How a session id is presented: in a cookie, among others, in the path, or not at all.
fn present(random: &mut crate::plan::Random, id: Option<&str>) -> (String, String) {
    let Some(id) = id else {
        let made_up = random.random_bool(0.2).then(|| http::new_id(random));
        return ("/".into(), made_up.map_or(String::new(), |id| format!("Cookie: {COOKIE}={id}\r\n")));
    };
    match random.random_range(0..10) {
        0 => (format!("/page;jsessionid={id}"), String::new()),
        1 => ("/".into(), format!("Cookie: {COOKIE}={}; {COOKIE}={id}\r\n", http::new_id(random))),
        2 => ("/".into(), format!("Cookie: {COOKIE}={}\r\nCookie: a=b; {COOKIE}={id}\r\n", http::new_id(random))),
        _ => ("/a/page?b=c".into(), format!("Cookie: theme=dark; {COOKIE}={id}; X{COOKIE}=no\r\n")),
    }
}

/// Keeps what a response's Set-Cookie says.
fn remember(jar: &mut Jar, head: &Head) {
    let Some(cookie) = head.field("Set-Cookie") else { return };
    let value = cookie.split(';').next().and_then(|pair| pair.split_once('=')).map_or("", |(_, value)| value);
    jar.id = (!value.is_empty()).then(|| value.to_owned());
}

/// The tab is done with its connection, which ends on its own.
fn leave(shared: &mut Shared, tab: &mut Tab) {
    let left = tab.left;
    let rest = shared.now + shared.random.random_range(0..300_000);
    *tab = Tab { left, rest, timer: tab.timer, ..Tab::default() };
}

/// Writes what is due.
fn write(now: u64, tab: &mut Tab, connection: &mut Connection) {
    let socket = connection.socket();
    while let Some((due, bytes)) = tab.writes.front_mut() {
        if *due > now || !socket.can_send() {
            return;
        }
        let sent = socket.send_slice(bytes).unwrap_or(0);
        bytes.drain(..sent);
        if !bytes.is_empty() {
            return;
        }
        tab.writes.pop_front();
    }
    if tab.half_closed && !tab.outstanding.is_empty() {
        socket.close();
    }
}
