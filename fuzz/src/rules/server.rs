//! Servers, as far as rules are about what they read: strict and obliging ones, who take what is not allowed for what it seems to mean.

use super::Asks;

/// How a server reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// Escapes are what they stand for.
    decodes: bool,
    /// Paths have no parameters, empty segments or dots, backslashes are slashes, and nothing follows a `#`.
    tidies: bool,
    /// Of several, the last one counts.
    last: bool,
}

pub(super) const SERVERS: [Server; 8] = {
    let mut all = [Server { decodes: false, tidies: false, last: false }; 8];
    let mut index = 0;
    while index < all.len() {
        all[index] = Server { decodes: index & 1 != 0, tidies: index & 2 != 0, last: index & 4 != 0 };
        index += 1;
    }
    all
};

/// A request, in the words of a reader who knows nothing of the core.
pub(super) struct Request<'a> {
    target: &'a [u8],
    fields: &'a [httparse::Header<'a>],
}

impl<'a> Request<'a> {
    pub(super) fn read(bytes: &'a [u8], fields: &'a mut [httparse::Header<'a>]) -> Option<Self> {
        // httparse wants targets in UTF-8, and says where they are by giving them back.
        let target = bytes.split(|byte| *byte == b' ').nth(1)?;
        let line = bytes.iter().position(|byte| *byte == b'\n')? + 1;
        let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(&bytes[line..], fields) else {
            return None;
        };
        Some(Self { target, fields })
    }

    /// The path and the query, of a target that has them.
    fn parts(&self) -> Option<(&'a [u8], &'a [u8])> {
        let target = self.target;
        let path = match target.windows(3).position(|run| run == b"://").filter(|_| !target.starts_with(b"/")) {
            Some(at) => {
                let authority = &target[at + 3..];
                &authority[authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len())..]
            }
            None => target,
        };
        let query = path.iter().position(|byte| *byte == b'?');
        let parts = query.map_or((path, &b""[..]), |at| (&path[..at], &path[at + 1..]));
        (target != b"*").then_some(parts)
    }

    fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let of = |field: &&httparse::Header<'a>| field.name.eq_ignore_ascii_case(name);
        self.fields.iter().filter(of).map(|field| field.value.trim_ascii()).collect()
    }
}

impl Server {
    /// Whether the request is what a rule asks for.
    pub(super) fn says(&self, asks: &Asks, request: &Request<'_>) -> bool {
        match asks {
            Asks::Path(path) => request.parts().is_some_and(|(is, _)| below(&self.path(is), path.as_bytes())),
            Asks::Host(name, port) => self.choose(&request.values("host")).is_some_and(|is| self.host(is, name, *port)),
            Asks::Header(name, value) => {
                let found = request.values(name);
                self.choose(&found).is_some_and(|is| value.is_none_or(|value| *is == value.as_bytes()))
            }
            Asks::Query(name, value) => {
                let found = request.parts().map(|(_, query)| self.parameters(query, name)).unwrap_or_default();
                self.choose(&found).is_some_and(|is| value.is_none_or(|value| *is == value.as_bytes()))
            }
        }
    }

    fn choose<'v, V>(&self, values: &'v [V]) -> Option<&'v V> {
        if self.last { values.last() } else { values.first() }
    }

    fn path(&self, path: &[u8]) -> Vec<u8> {
        let decode = |bytes: &[u8]| if self.decodes { decoded(bytes) } else { bytes.to_vec() };
        if !self.tidies {
            return decode(path);
        }
        let path = path.split(|byte| *byte == b'#').next().unwrap_or_default();
        let bare =
            path.split(|byte| *byte == b'/').map(|part| part.split(|byte| *byte == b';').next().unwrap_or_default());
        let bare = decode(&bare.collect::<Vec<_>>().join(&b'/'));
        let mut segments: Vec<&[u8]> = vec![];
        let all: Vec<&[u8]> = bare.split(|byte| matches!(byte, b'/' | b'\\')).collect();
        for segment in &all {
            match *segment {
                b"" | b"." => {}
                b".." => drop(segments.pop()),
                other => segments.push(other),
            }
        }
        let folder = matches!(all.last(), Some(&(b"" | b"." | b"..")));
        [&b"/"[..], &segments.join(&b'/'), if folder && !segments.is_empty() { b"/" } else { b"" }].concat()
    }

    fn host(&self, is: &[u8], wanted: &str, port: u16) -> bool {
        let host = if self.decodes { decoded(is) } else { is.to_vec() }.to_ascii_lowercase();
        let literal = host.iter().position(|byte| *byte == b']').map(|at| at + 1);
        let colon = host.iter().position(|byte| *byte == b':').unwrap_or(host.len());
        let (name, rest) = host.split_at(literal.unwrap_or(colon));
        let name = name.strip_suffix(b".").unwrap_or(name);
        let digits = std::str::from_utf8(rest.strip_prefix(b":").unwrap_or_default()).unwrap_or_default();
        let is_port = if digits.is_empty() { Some(80) } else { digits.parse().ok() };
        let named = match wanted.strip_prefix('*') {
            Some(tail) => name.len() > tail.len() && name.ends_with(tail.as_bytes()),
            None => name == wanted.as_bytes(),
        };
        named && (port == 0 || is_port == Some(port))
    }

    /// The values of the query's parameters of a name.
    fn parameters(&self, query: &[u8], name: &str) -> Vec<Vec<u8>> {
        let query = if self.tidies { query.split(|byte| *byte == b'#').next().unwrap_or_default() } else { query };
        let mut found = vec![];
        for piece in query.split(|byte| *byte == b'&') {
            let at = piece.iter().position(|byte| *byte == b'=').unwrap_or(piece.len());
            let (key, value) = (&piece[..at], piece.get(at + 1..).unwrap_or_default());
            let form = |bytes: &[u8]| -> Vec<u8> {
                let blanks = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect::<Vec<_>>();
                if self.decodes { decoded(&blanks) } else { bytes.to_vec() }
            };
            if form(key) == name.as_bytes() {
                found.push(form(value));
            }
        }
        found
    }
}

/// Whether a path is another one, or lies below it.
fn below(path: &[u8], other: &[u8]) -> bool {
    let rest = path.strip_prefix(other);
    rest.is_some_and(|rest| other == b"/" || rest.is_empty() || rest.starts_with(b"/") || rest.starts_with(b";"))
}

/// What escapes stand for; what only looks like one stays.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    let mut rest = bytes;
    while let [byte, behind @ ..] = rest {
        let digit = |at: usize| behind.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        if let (b'%', Some(high), Some(low)) = (byte, digit(0), digit(1)) {
            out.push((high << 4 | low) as u8);
            rest = &behind[2..];
        } else {
            out.push(*byte);
            rest = behind;
        }
    }
    out
}
