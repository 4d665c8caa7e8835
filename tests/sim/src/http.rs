//! Messages: how the simulated peers write and read them, by httparse rather than by the core's own scanner.

use rand::RngExt as _;

use crate::pattern;
use crate::plan::Random;

/// The cookie of sessions.
pub(crate) const COOKIE: &str = "JSESSIONID";

/// A head that was read.
#[derive(Debug)]
pub(crate) struct Head {
    /// Bytes of it.
    pub(crate) len: usize,
    /// Of a request.
    pub(crate) path: String,
    /// Of a response.
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    /// A field's value.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A field's value as a number.
    pub(crate) fn number<N: std::str::FromStr>(&self, name: &str) -> Option<N> {
        self.field(name)?.parse().ok()
    }

    /// Whether the body comes in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.field("Transfer-Encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked"))
    }

    /// Whether the connection ends behind the message.
    pub(crate) fn closes(&self) -> bool {
        self.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

fn fields(headers: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    headers.iter().map(|h| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned())).collect()
}

/// Reads a request's head. `None` if it is not complete yet.
pub(crate) fn request(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => Ok(Some(Head {
            len,
            path: parsed.path.unwrap_or_default().to_owned(),
            status: 0,
            fields: fields(parsed.headers),
        })),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(format!("no request: {error}: {:?}", excerpt(bytes))),
    }
}

/// Reads a response's head.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut parsed = httparse::Response::new(&mut headers);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => Ok(Some(Head {
            len,
            path: String::new(),
            status: parsed.code.unwrap_or_default(),
            fields: fields(parsed.headers),
        })),
        Ok(httparse::Status::Partial) => Ok(None),
        Err(error) => Err(format!("no response: {error}: {:?}", excerpt(bytes))),
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned()
}

/// Session ids that a request presents, in the order in which they count (C21, C22).
pub(crate) fn ids(head: &Head) -> Vec<String> {
    let mut ids: Vec<String> = head
        .fields
        .iter()
        .filter(|(name, _)| name.eq_ignore_ascii_case("cookie"))
        .flat_map(|(_, value)| value.split(';'))
        .filter_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
        .map(str::to_owned)
        .collect();
    if ids.is_empty()
        && let Some((_, id)) = head.path.split_once(";jsessionid=")
    {
        ids.push(id.to_owned());
    }
    ids
}

/// A body of `length` bytes that `seed` determines. Every third looks like messages, again and again: whoever guesses
/// where a message begins shall be tempted.
pub(crate) fn body(seed: u64, length: usize, bait: &str) -> Vec<u8> {
    if seed.is_multiple_of(3) && !bait.is_empty() {
        bait.bytes().cycle().take(length).collect()
    } else {
        pattern::bytes(seed, length)
    }
}

/// A fingerprint of bytes (FNV-1a).
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The seed of the body of a response.
pub(crate) fn answer_seed(backend: usize, number: usize, hash: u64) -> u64 {
    hash.rotate_left(17) ^ (backend as u64) << 48 ^ number as u64
}

/// What a response's body may look like.
pub(crate) const RESPONSE_BAIT: &str =
    "HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=00000000000000000000000000000BAD; Path=/\r\nContent-Length: 0\r\n\r\n";

/// A new session id (C28).
pub(crate) fn new_id(random: &mut Random) -> String {
    format!("{:032X}", random.random::<u128>())
}

/// A field that makes a head long.
pub(crate) fn padding(random: &mut Random, often: f64) -> String {
    if random.random_bool(often) {
        let length = random.random_range(100..6000);
        format!("X-Padding: {}\r\n", "p".repeat(length))
    } else {
        String::new()
    }
}

/// A body in chunks, of random sizes.
pub(crate) fn chunked(random: &mut Random, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = body;
    while !rest.is_empty() {
        let size = if random.random_bool(0.3) { random.random_range(1..40) } else { random.random_range(1..9000) };
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        rest = after;
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

/// A body in chunks that begins at `at`, and where it ends. `None` if it is not whole yet.
pub(crate) fn dechunked(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    loop {
        let line = bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[at..at + line]).ok()?, 16).ok()?;
        let start = at + line + 2;
        at = start + size + 2;
        let chunk = bytes.get(start..at)?;
        body.extend_from_slice(&chunk[..size]);
        if size == 0 {
            return Some((body, at));
        }
    }
}

/// Cuts bytes into pieces, at random places.
pub(crate) fn pieces(random: &mut Random, bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = (bytes.len() / 2).max(2);
        let cut = random.random_range(1..=most).min(rest.len());
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.to_vec());
        rest = if pieces.len() > 6 {
            pieces.push(after.to_vec());
            &[]
        } else {
            after
        };
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}
