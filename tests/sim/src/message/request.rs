//! Requests, of every kind that HTTP/1.x knows, and what is none but comes to the same port.

use rand::RngExt as _;

use super::chunks::Chunks;
use super::{CLIENT_HELLO, COOKIE, PREFACE, SETTINGS, body, cuts, new_id, padding};
use crate::pattern;
use crate::plan::{Plan, Random};
use crate::tally::{Feature, Features};

/// Microseconds that a client waits for a 100 at most (RFC 9110, section 10.1.1).
const CONTINUE_PATIENCE: u64 = 1_500_000;

/// What a client waits for before it writes a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// So many microseconds behind the piece before.
    For(u64),
    /// A 100, or a final answer, or that the time is up.
    Continue(u64),
    /// That the connection has become a tunnel.
    Switch,
    /// That the tunnel has brought all that it will.
    Down,
}

/// A part of a request that is written at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    pub(crate) len: usize,
    pub(crate) wait: Wait,
}

/// A request as its client plans it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// Every byte of it; behind the message what goes up the tunnel that it opens, if it does.
    pub(crate) wire: Vec<u8>,
    /// Where its head ends, and where the message does.
    pub(crate) head: usize,
    pub(crate) whole: usize,
    pub(crate) pieces: Vec<Piece>,
    /// Session ids, in the order in which they count (C21, C22).
    pub(crate) ids: Vec<String>,
    pub(crate) features: Features,
    pub(crate) is_head: bool,
    /// It may be worked on twice (RFC 9110, section 9.2.1).
    pub(crate) is_safe: bool,
    /// HTTP/1.0.
    pub(crate) is_old: bool,
    /// The connection ends behind the answer.
    pub(crate) closes: bool,
    /// It asks for a tunnel: 101, or the answer to CONNECT, or no HTTP at all.
    pub(crate) tunnels: bool,
    /// Nobody who reads HTTP/1.x can read it.
    pub(crate) is_opaque: bool,
    /// The backend begins the tunnel's talk.
    pub(crate) backend_first: bool,
}

impl Request {
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }
}

/// Where in a connection a request stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) number: usize,
    /// The session that it belongs to.
    pub(crate) id: Option<&'a str>,
    /// A session whose id is tempting.
    pub(crate) other: Option<&'a str>,
    /// Nothing has been said on the connection yet.
    pub(crate) first: bool,
    /// More requests follow before it is answered.
    pub(crate) followed: bool,
}

/// Makes a request.
pub(crate) fn request(random: &mut Random, plan: &Plan, place: &Place<'_>) -> Request {
    let mut request = Request::default();
    if !place.followed && random.random_bool(plan.tunnels) {
        return tunnel(random, plan, place);
    }
    let method = ["GET", "GET", "GET", "HEAD", "OPTIONS", "POST", "POST", "PUT"][random.random_range(0..8)];
    request.is_safe = !matches!(method, "POST" | "PUT");
    request.is_head = method == "HEAD";
    request.features.add_if(request.is_head, Feature::Head);
    request.features.add_if(method == "OPTIONS", Feature::Options);
    request.is_old = !place.followed && random.random_bool(plan.old);
    let chunked = !request.is_safe && !request.is_old && random.random_bool(plan.chunks);
    let length = match random.random_range(0..6) {
        // Rarely used, and allowed: a GET with a body.
        _ if request.is_safe && !random.random_bool(0.02) => 0,
        0 => 0,
        1 if random.random_bool(plan.big_bodies) => random.random_range(10_000..100_000),
        1 | 2 => random.random_range(1_000..5_000),
        _ => random.random_range(1..600),
    };
    let bait = place.other.map_or(String::new(), |id| {
        format!("0\r\n\r\nGET /bait HTTP/1.1\r\nHost: a\r\nX-Request: 0\r\nCookie: {COOKIE}={id}\r\n\r\n")
    });
    let content = body(random, length, &bait);
    let mut text = head(random, plan, place, method, &mut request);
    let expects = !request.is_safe && !request.is_old && !place.followed && random.random_bool(plan.expects);
    let mut message = content.clone();
    if chunked {
        let chunks = Chunks::draw(random);
        let content = if chunks.tiny { &content[..length.min(6_000)] } else { &content[..] };
        request.features.add(Feature::Chunks);
        request.features.add_if(chunks.extensions, Feature::ChunkExtensions);
        request.features.add_if(chunks.trailers, Feature::Trailers);
        request.features.add_if(chunks.tiny && length > 400, Feature::TinyChunks);
        text.push_str("Transfer-Encoding: chunked\r\n");
        message = chunks.write(random, content);
    } else if !request.is_safe || length != 0 {
        request.features.add(Feature::Body);
        text.push_str(&format!("Content-Length: {length}\r\n"));
    } else {
        request.features.add(Feature::Plain);
    }
    if expects {
        text.push_str("Expect: 100-continue\r\n");
    }
    if random.random_bool(plan.binds) {
        request.features.add(Feature::Binds);
        let scheme = ["NTLM", "Negotiate"][random.random_range(0..2)];
        text.push_str(&format!("Authorization: {scheme} YIIJvwYGKwYBBQUCoIIJszCC\r\n"));
    }
    connection(random, plan, &mut request, &mut text);
    text.push_str("\r\n");
    request.head = text.len();
    request.wire = text.into_bytes();
    request.wire.extend_from_slice(&message);
    request.whole = request.wire.len();
    write_head(random, plan, &mut request);
    let wait = if expects && random.random_bool(0.6) {
        request.features.add(Feature::ExpectWaits);
        Some(Wait::Continue(random.random_range(CONTINUE_PATIENCE / 4..CONTINUE_PATIENCE)))
    } else {
        request.features.add_if(expects, Feature::ExpectGoesOn);
        None
    };
    write_body(random, plan, &mut request, wait);
    request
}

/// The head up to the fields that frame the body.
fn head(random: &mut Random, plan: &Plan, place: &Place<'_>, method: &str, request: &mut Request) -> String {
    let (path, cookie) = present(random, place.id, &mut request.ids);
    let version = if request.is_old { "1.0" } else { "1.1" };
    let padding = padding(random, plan.long_heads);
    request.features.add_if(padding.len() > 1400, Feature::LongHead);
    let number = place.number;
    let path = if method == "CONNECT" { "shop.example:443" } else { &path };
    if method == "CONNECT" && cookie.is_empty() {
        // An authority has no parameters.
        request.ids.clear();
    }
    // The cookie last, where a scan gets to at the end.
    format!("{method} {path} HTTP/{version}\r\nHost: shop.example\r\n{padding}X-Request: {number}\r\n{cookie}")
}

/// How a session id is presented: in a cookie, among others, in the path, or not at all.
fn present(random: &mut Random, id: Option<&str>, ids: &mut Vec<String>) -> (String, String) {
    let unknown = new_id(random);
    let Some(id) = id else {
        if !random.random_bool(0.2) {
            return ("/".into(), String::new());
        }
        let cookie = format!("Cookie: {COOKIE}={unknown}\r\n");
        ids.push(unknown);
        return ("/".into(), cookie);
    };
    let (path, cookie) = match random.random_range(0..10) {
        0 => (format!("/page;jsessionid={id}"), String::new()),
        1 => ("/".into(), format!("Cookie: {COOKIE}={unknown}; {COOKIE}={id}\r\n")),
        2 => ("/".into(), format!("Cookie: {COOKIE}={unknown}\r\nCookie: a=b; {COOKIE}={id}\r\n")),
        _ => ("/a/page?b=c".into(), format!("Cookie: theme=dark; {COOKIE}={id}; X{COOKIE}=no\r\n")),
    };
    if cookie.contains(&unknown) {
        ids.push(unknown);
    }
    ids.push(id.to_owned());
    (path, cookie)
}

/// What a head says of the connection.
fn connection(random: &mut Random, plan: &Plan, request: &mut Request, text: &mut String) {
    if request.is_old {
        let keeps = random.random_bool(0.6);
        request.features.add(if keeps { Feature::OldKeepAlive } else { Feature::Old });
        request.closes = !keeps;
        if keeps {
            text.push_str("Connection: keep-alive\r\n");
        }
    } else if random.random_bool(plan.closing / 4.0) {
        request.closes = true;
        text.push_str("Connection: close\r\n");
    }
}

/// A head is written at once, in pieces or byte by byte.
fn write_head(random: &mut Random, plan: &Plan, request: &mut Request) {
    let gap = random.random_range(1..80_000);
    if random.random_bool(plan.pieces / 8.0) && request.head < 400 {
        request.features.add(Feature::Dribbled);
        let gap = gap / 10;
        request.pieces = (0..request.head).map(|_| Piece { len: 1, wait: Wait::For(gap) }).collect();
    } else if random.random_bool(plan.pieces) {
        let wait = |random: &mut Random| Wait::For(random.random_range(0..gap));
        request.pieces = cuts(random, request.head).into_iter().map(|len| Piece { len, wait: wait(random) }).collect();
    } else {
        request.pieces = vec![Piece { len: request.head, wait: Wait::For(0) }];
    }
}

/// A body goes with the end of its head, waits for something, or comes slowly.
fn write_body(random: &mut Random, plan: &Plan, request: &mut Request, wait: Option<Wait>) {
    let len = request.whole - request.head;
    let slow = len > 1 && random.random_bool(plan.pieces / 2.0);
    if len == 0 {
        return;
    }
    if slow {
        request.features.add(Feature::SlowUpload);
        let longest = if random.random_bool(0.1) { 3_000_000 } else { 60_000 };
        for (index, len) in cuts(random, len).into_iter().enumerate() {
            let pause = Wait::For(random.random_range(0..longest));
            request.pieces.push(Piece { len, wait: wait.filter(|_| index == 0).unwrap_or(pause) });
        }
    } else if let Some(wait) = wait {
        request.pieces.push(Piece { len, wait });
    } else if let Some(last) = request.pieces.last_mut() {
        last.len += len;
    }
}

/// A request that makes a tunnel of its connection, if the backend likes.
fn tunnel(random: &mut Random, plan: &Plan, place: &Place<'_>) -> Request {
    let mut request = Request { tunnels: true, backend_first: random.random_bool(0.5), ..Request::default() };
    let number = (place.number as u64).to_be_bytes();
    match random.random_range(0..6) {
        0 if place.first => {
            request.features.add(Feature::Tls);
            request.is_opaque = true;
            request.wire = [CLIENT_HELLO, &number, &pattern::bytes(random.random(), 242)].concat();
        }
        1 if place.first => {
            request.features.add(Feature::Http2);
            request.is_opaque = true;
            request.wire = [PREFACE, SETTINGS, &[0, 3, 0, 0], &number].concat();
        }
        2 | 3 => {
            request.features.add(Feature::Connect);
            let text = head(random, plan, place, "CONNECT", &mut request);
            request.wire = (text + "\r\n").into_bytes();
        }
        _ => {
            request.features.add(Feature::Upgrade);
            request.is_safe = true;
            let text = head(random, plan, place, "GET", &mut request);
            request.wire = (text + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n").into_bytes();
        }
    }
    request.head = request.wire.len();
    request.whole = request.head;
    write_head(random, plan, &mut request);
    if request.is_opaque {
        request.pieces = vec![Piece { len: request.head, wait: Wait::For(0) }];
    }
    let len = random.random_range(1..4_000);
    let bait = place.other.map_or(String::new(), |id| {
        format!("GET /bait HTTP/1.1\r\nHost: a\r\nX-Request: 0\r\nCookie: {COOKIE}={id}\r\n\r\n")
    });
    let up = body(random, len, &bait);
    let first = if request.backend_first { Wait::Down } else { Wait::Switch };
    for (index, len) in cuts(random, len).into_iter().enumerate() {
        let pause = Wait::For(random.random_range(0..60_000));
        request.pieces.push(Piece { len, wait: if index == 0 { first } else { pause } });
    }
    request.wire.extend_from_slice(&up);
    request
}
