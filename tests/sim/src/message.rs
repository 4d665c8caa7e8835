//! Messages: what the simulated peers say to each other, byte by byte, and how a head is read: by httparse rather than by
//! the core's own scanner.
//!
//! Every message names its request, and every byte of it is known to the oracle before it is sent. So whoever reads
//! compares bytes, and need not believe any framing.

mod chunks;
mod reply;
mod request;

pub(crate) use reply::{Reply, Style, Who, reply};
pub(crate) use request::{Place, Request, Wait, request};

use rand::RngExt as _;

use crate::pattern;
use crate::plan::Random;

/// The cookie of sessions.
pub(crate) const COOKIE: &str = "JSESSIONID";

/// Bytes of HTTP/2's preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The header of its SETTINGS frame, with 12 bytes of settings: the request's number, 48 bits at a time.
const SETTINGS: &[u8] = &[0, 0, 12, 4, 0, 0, 0, 0, 0];
/// A TLS record of 256 bytes with a ClientHello (RFC 8446, section 4.1.2), up to its random bytes.
const CLIENT_HELLO: &[u8] = &[0x16, 3, 1, 1, 0, 1, 0, 0, 0xfc, 3, 3];

/// The number of the request that begins with `bytes`, and the length of its head. `None` if more has to come.
pub(crate) fn identify(bytes: &[u8]) -> Result<Option<(usize, usize)>, String> {
    let number = |at: usize| bytes.get(at..at + 8)?.first_chunk().map(|n| u64::from_be_bytes(*n) as usize);
    let long = |prefix: &[u8]| bytes.starts_with(&prefix[..bytes.len().min(prefix.len())]);
    if long(CLIENT_HELLO) && !bytes.is_empty() {
        let len = CLIENT_HELLO.len() + 250;
        return Ok(number(CLIENT_HELLO.len()).filter(|_| bytes.len() >= len).map(|number| (number, len)));
    }
    if long(PREFACE) && bytes.len() > 3 {
        let at = PREFACE.len() + SETTINGS.len();
        return Ok(number(at + 4).map(|number| (number, at + 12)));
    }
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            let field = parsed.headers.iter().find(|header| header.name == "X-Request");
            let number = field.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
            Ok(Some((number.ok_or("a request that nobody sent")?, len)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(format!("no request: {error}: {:?}", excerpt(bytes))),
    }
}

/// What a server says that is tired of waiting (RFC 9110, section 15.5.9): an answer to nothing.
pub(crate) const UNASKED: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

/// The beginning of bytes, to be shown.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}

/// A body of `length` bytes. Every third looks like messages, again and again: whoever guesses where a message begins
/// shall be tempted.
fn body(random: &mut Random, length: usize, bait: &str) -> Vec<u8> {
    let seed: u64 = random.random();
    if seed.is_multiple_of(3) && !bait.is_empty() {
        bait.bytes().cycle().take(length).collect()
    } else {
        pattern::bytes(seed, length)
    }
}

/// A new session id (C28).
pub(crate) fn new_id(random: &mut Random) -> String {
    format!("{:032X}", random.random::<u128>())
}

/// A field that makes a head long, or nothing.
fn padding(random: &mut Random, often: f64) -> String {
    if random.random_bool(often) {
        let length = random.random_range(100..7000);
        format!("X-Padding: {}\r\n", "p".repeat(length))
    } else {
        String::new()
    }
}

/// Lengths of pieces that make up `len` bytes, cut at random places.
fn cuts(random: &mut Random, len: usize) -> Vec<usize> {
    let mut cuts = Vec::new();
    let mut left = len;
    while left != 0 {
        let most = (len / 2).max(2);
        let cut = if cuts.len() > 6 { left } else { random.random_range(1..=most).min(left) };
        cuts.push(cut);
        left -= cut;
    }
    cuts
}
