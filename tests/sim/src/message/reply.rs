//! Answers, of every kind that a server may give.

use rand::RngExt as _;

use super::chunks::Chunks;
use super::{Request, body, cuts, padding};
use crate::plan::{Plan, Random};
use crate::tally::{Feature, Features};

/// What a body may look like that tempts whoever guesses.
const BAIT: &str = "0\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=00000000000000000000000000000BAD; Path=/\r\n\
                    Content-Length: 0\r\n\r\n";

/// What kind of answer it is, by where the request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The request has been read whole.
    Usual,
    /// Its body has not, and will not be.
    EarlyCloses,
    /// Its body has not, and will be.
    EarlyReadsOn,
}

/// An answer, or what there is of it yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    /// Every byte, interim answers included, and what comes down the tunnel.
    pub(crate) wire: Vec<u8>,
    /// Where a 100 ends that came before.
    pub(crate) continued: Option<usize>,
    /// Where the final head ends.
    pub(crate) head: usize,
    /// Where the message ends; behind it is the tunnel.
    pub(crate) whole: usize,
    /// All of it has been made.
    pub(crate) is_final: bool,
    /// The connection ends behind it, and the answer says so, or the request has.
    pub(crate) closes: bool,
    /// It ends where the connection does.
    pub(crate) until_close: bool,
    /// The connection is a tunnel now.
    pub(crate) switches: bool,
    /// What the session's cookie becomes: an id, or nothing.
    pub(crate) cookie: Option<Option<String>>,
    pub(crate) features: Features,
}

/// Who answers what.
pub(crate) struct Who {
    pub(crate) number: usize,
    pub(crate) backend: usize,
    /// How many have tried before.
    pub(crate) attempt: usize,
}

impl Reply {
    /// Adds a `100 Continue`.
    pub(crate) fn go_on(&mut self) -> Vec<u8> {
        let text = b"HTTP/1.1 100 Continue\r\n\r\n";
        self.wire.extend_from_slice(text);
        self.features.add(Feature::Continue);
        self.continued = Some(self.wire.len());
        text.to_vec()
    }
}

/// Makes the final answer to a request, with what goes before it. Answers the pieces in which it is written.
pub(crate) fn reply(
    random: &mut Random,
    plan: &Plan,
    request: &Request,
    style: Style,
    who: &Who,
    cookie: Option<Option<String>>,
    reply: &mut Reply,
) -> Vec<Vec<u8>> {
    let begun = reply.wire.len();
    reply.cookie = cookie;
    if request.is_opaque {
        tunnel_opaque(who, reply);
    } else {
        interim(random, plan, request, reply);
        message(random, plan, request, style, who, reply);
    }
    reply.whole = reply.wire.len();
    if reply.switches {
        reply.closes = true;
        reply.features.add(if request.backend_first { Feature::SwitchedBackendFirst } else { Feature::Switched });
        let len = random.random_range(1..4_000);
        let down = body(random, len, BAIT);
        reply.wire.extend_from_slice(&down);
    }
    reply.is_final = true;
    let head = reply.head - begun;
    let bytes = &reply.wire[begun..];
    if !random.random_bool(plan.pieces) {
        return vec![bytes.to_vec()];
    }
    reply.features.add(Feature::AnswerPieces);
    let mut lengths = cuts(random, head);
    lengths.push(bytes.len() - head);
    let mut at = 0;
    lengths
        .into_iter()
        .map(|len| {
            at += len;
            bytes[at - len..at].to_vec()
        })
        .collect()
}

/// Interim answers (RFC 9110, section 15.2), which nobody sends to HTTP/1.0.
fn interim(random: &mut Random, plan: &Plan, request: &Request, reply: &mut Reply) {
    if request.is_old {
        return;
    }
    let mut count = 0;
    while random.random_bool(plan.interim) && count < 3 {
        let (text, feature) = match random.random_range(0..3) {
            0 => ("HTTP/1.1 100 Continue\r\n\r\n", Feature::Continue),
            1 => ("HTTP/1.1 102 Processing\r\n\r\n", Feature::Processing),
            _ => ("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n", Feature::EarlyHints),
        };
        reply.features.add(feature);
        reply.wire.extend_from_slice(text.as_bytes());
        count += 1;
    }
    reply.features.add_if(count > 1, Feature::Several1xx);
}

/// The final head and the body.
fn message(random: &mut Random, plan: &Plan, request: &Request, style: Style, who: &Who, reply: &mut Reply) {
    let asks = request.tunnels;
    reply.switches = asks && random.random_bool(0.8);
    reply.features.add_if(asks && !reply.switches, Feature::Refused);
    let connects = request.has(Feature::Connect);
    let status: u16 = match (reply.switches, style, random.random_range(0..30)) {
        (true, ..) if connects => 200,
        (true, ..) => 101,
        (_, Style::EarlyCloses | Style::EarlyReadsOn, _) => 413,
        _ if asks => 403,
        (.., 0) => 204,
        (.., 1) => 304,
        (.., 2) => 205,
        _ => 200,
    };
    reply.features.add_if(status == 204, Feature::NoContent);
    reply.features.add_if(status == 304, Feature::NotModified);
    reply.features.add_if(status == 205, Feature::ResetContent);
    let length = match random.random_range(0..10) {
        _ if status == 205 => 0,
        0 => 0,
        1..=5 => random.random_range(1..400),
        _ if random.random_bool(plan.big_bodies) => random.random_range(20_000..200_000),
        _ => random.random_range(400..6_000),
    };
    let bodyless = reply.switches || request.is_head || matches!(status, 204 | 304);
    reply.closes |= request.closes || style == Style::EarlyCloses || random.random_bool(plan.closing / 2.0);
    let chunked = !matches!(status, 101 | 204) && !reply.switches && !request.is_old && random.random_bool(0.25);
    let endless = !bodyless && !chunked && reply.closes && random.random_bool(0.3);
    let old = request.is_old && random.random_bool(0.5);
    // Whoever was asked to close need not say that it will (RFC 9112, section 9.6).
    let unsaid = request.closes && !endless && !request.is_old && random.random_bool(0.2);
    reply.until_close = endless;
    let (number, backend, attempt) = (who.number, who.backend, who.attempt);
    let mut text = format!("HTTP/1.{} {status} Some reason\r\n", u8::from(!old));
    text.push_str(&format!("X-Request: {number}\r\nX-Backend: {backend}\r\nX-Attempt: {attempt}\r\n"));
    let padding = padding(random, plan.long_heads);
    reply.features.add_if(padding.len() > 1400, Feature::AnswerLongHead);
    text.push_str(&padding);
    if reply.switches && !connects {
        text.push_str("Connection: Upgrade\r\nUpgrade: websocket\r\n");
    } else if reply.closes && !unsaid {
        text.push_str("Connection: close\r\n");
        reply.features.add(Feature::SaysClose);
    } else if request.is_old {
        text.push_str("Connection: keep-alive\r\n");
    }
    reply.features.add_if(old, Feature::OldAnswer);
    reply.features.add_if(style == Style::EarlyCloses, Feature::EarlyCloses);
    reply.features.add_if(style == Style::EarlyReadsOn, Feature::EarlyReadsOn);
    reply.features.add_if(reply.closes && unsaid, Feature::ClosesUnsaid);
    let chunks = Chunks::draw(random);
    if chunked {
        text.push_str("Transfer-Encoding: chunked\r\n");
    } else if !matches!(status, 101 | 204) && !reply.switches && !endless {
        text.push_str(&format!("Content-Length: {length}\r\n"));
    }
    if random.random_bool(plan.binds / 2.0) {
        reply.features.add(Feature::AnswerBinds);
        text.push_str("WWW-Authenticate: Basic realm=\"a, b\", NTLM\r\n");
    }
    match &reply.cookie {
        Some(Some(id)) => text.push_str(&format!("Set-Cookie: {}={id}; Path=/; HttpOnly\r\n", super::COOKIE)),
        Some(None) => text.push_str(&format!("Set-Cookie: {}=; Max-Age=0; Path=/\r\n", super::COOKIE)),
        None => {}
    }
    text.push_str("\r\n");
    reply.wire.extend_from_slice(text.as_bytes());
    reply.head = reply.wire.len();
    if bodyless {
        return;
    }
    // A lost segment costs a time-out where the next chunk's header lies in it, so not for long.
    let length = if chunked && chunks.tiny { length.min(6_000) } else { length };
    let content = body(random, length, BAIT);
    if chunked {
        reply.features.add(Feature::AnswerChunks);
        reply.features.add_if(chunks.extensions, Feature::AnswerExtensions);
        reply.features.add_if(chunks.trailers, Feature::AnswerTrailers);
        reply.features.add_if(chunks.tiny && content.len() > 400, Feature::AnswerTinyChunks);
        reply.wire.extend(chunks.write(random, &content));
    } else {
        reply.features.add(if endless { Feature::UntilClose } else { Feature::Length });
        reply.wire.extend_from_slice(&content);
    }
}

/// What TLS or HTTP/2 would say is nobody's business here, only whose words they are.
fn tunnel_opaque(who: &Who, reply: &mut Reply) {
    let head = format!("opaque {} {} {}\n", who.number, who.backend, who.attempt);
    reply.wire.extend_from_slice(head.as_bytes());
    reply.head = reply.wire.len();
    reply.switches = true;
}
