//! The known tricks of request smuggling, and what the core makes of each.
//!
//! A case is all that a client sends before an innocent request. Most tricks want a server to see the request to
//! `/smuggled` where another one sees a body, or the reverse.

use balancer_ebpf::http::Scanned::{self, *};

use crate::stream::{End, Side, Stream};

mod tables;

use tables::{BODIES, FIELDS, RESPONSES, STREAMS};

/// What the core is to make of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// So many messages, and the last one ends with the last byte.
    Framed(usize),
    /// So many messages, and then something whose end nobody knows.
    Unframed(usize, Scanned),
    /// So many messages, and then another protocol.
    Opaque(usize),
    /// So many messages, and the beginning of one.
    Waits(usize),
}

use Wanted::{Framed, Opaque, Unframed, Waits};

/// A trick.
#[derive(Clone, Debug)]
pub struct Case {
    pub name: String,
    pub side: Side,
    pub bytes: Vec<u8>,
    pub wanted: Wanted,
}

/// What the core makes of a stream.
pub fn verdict(stream: &Stream) -> Wanted {
    let whole = stream.messages.iter().filter(|message| message.end.is_some()).count();
    match stream.end {
        Some(End::Unframed(reason)) => Unframed(whole, reason),
        Some(End::Opaque) => Opaque(whole),
        None if stream.at_boundary() => Framed(whole),
        None => Waits(whole),
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![];
    let mut add = |side, name: &str, bytes: Vec<u8>, wanted| {
        cases.push(Case { name: name.to_owned(), side, bytes, wanted });
    };
    for (name, fields, body, wanted) in FIELDS {
        let head = format!("POST /case HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
        add(Side::Request, name, head.into_bytes(), *wanted);
    }
    for (name, body, wanted) in BODIES {
        let head = b"POST /case HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        add(Side::Request, name, [head, *body].concat(), *wanted);
    }
    for (name, bytes, wanted) in STREAMS {
        add(Side::Request, name, bytes.to_vec(), *wanted);
    }
    for (name, bytes, wanted) in RESPONSES {
        add(Side::Response, name, bytes.to_vec(), *wanted);
    }
    for (name, fields, wanted) in [
        ("a head that is too long", format!("A: {}", "a".repeat(8200)), Unframed(0, TooLong)),
        ("a head of separators", format!("Cookie: {}", ";".repeat(2000)), Unframed(0, TooComplex)),
        ("a length behind 8 KB", format!("A: {}\r\nContent-Length: 3", "a".repeat(8150)), Unframed(0, TooLong)),
    ] {
        let head = format!("POST /case HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n");
        add(Side::Request, name, head.into_bytes(), wanted);
    }
    for (name, body) in [
        ("an extension that is too long", format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(300))),
        ("trailers that are too long", format!("0\r\nT: {}\r\n\r\n", "t".repeat(8200))),
    ] {
        let head = format!("POST /case HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        add(Side::Request, name, head.into_bytes(), Unframed(0, LongChunk));
    }
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_trick_is_framed_as_it_should_be() {
        for case in cases() {
            let stream = Stream::read(case.side, &case.bytes);
            assert_eq!(verdict(&stream), case.wanted, "{}: {}", case.name, case.bytes.escape_ascii());
            // A byte at a time is the same.
            let mut pieces = Stream::new(case.side);
            case.bytes.iter().for_each(|byte| pieces.push(&[*byte]));
            assert_eq!((&pieces.messages, pieces.end), (&stream.messages, stream.end), "{}", case.name);
        }
    }

    #[test]
    fn every_reason_appears() {
        let cases = cases();
        for number in 0..Scanned::NAMES.len() as u32 {
            let reason = Scanned::from_number(number);
            let appears = cases.iter().any(|case| matches!(case.wanted, Unframed(_, other) if other == reason));
            assert!(appears || matches!(reason, Complete | Incomplete), "{reason:?}");
        }
        let mut names: Vec<_> = cases.iter().map(|case| &case.name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), all, "a name is one case's");
    }
}
