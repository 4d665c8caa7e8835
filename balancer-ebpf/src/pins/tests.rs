//! The query's parameter, at every place; and which pins count.

use super::*;
use crate::http::{Scan, Scanned, scan_request};
use crate::layout::{Name, SessionRule};
use crate::plain::Plain;

fn rule() -> SessionRule {
    let name = |text: &[u8]| Name::new(text).unwrap();
    SessionRule {
        pin_cookie: name(b"pin"),
        pin_header: name(b"x-pin"),
        pin_query: name(b"pin"),
        ..SessionRule::new(name(b"JSESSIONID"), name(b"jsessionid"))
    }
}

/// Cookie, header and parameter of a request, behind a header of so many bytes.
fn carried(target: &str, headers: &str, before: usize) -> [String; 3] {
    let head = format!("GET {target} HTTP/1.1\r\nx-{}: y\r\n{headers}\r\n", "a".repeat(before));
    let mut buffer = Buffer::new();
    buffer.fill(0, head.as_bytes());
    let mut scan = Scan::new();
    assert_eq!(scan_request::<Plain>(&mut scan, &buffer, head.len() as u32, &rule()), Scanned::Complete, "{head}");
    let text = |span: Span| head[span.pos as usize..(span.pos + span.len) as usize].to_owned();
    let query = match scan.head.query {
        Span { len: 0, .. } => Span::NONE,
        query => parameter::<Plain>(&buffer, &rule().pin_query, query, &Scratch::default()),
    };
    [text(scan.head.pin_cookie), text(scan.head.pin_header), text(query)]
}

#[test]
fn d15_values_are_found_wherever_they_stand() {
    let table: &[(&str, &str, [&str; 3])] = &[
        ("/", "", ["", "", ""]),
        ("/?pin=abc", "", ["", "", "abc"]),
        ("/?a=b&pin=abc&c", "", ["", "", "abc"]),
        ("/?a&&pin=abc", "", ["", "", "abc"]),
        ("/?pin=abc&pin=def", "", ["", "", "abc"]),
        ("/?pin=", "", ["", "", ""]),
        ("/?pin", "", ["", "", ""]),
        ("/?Pin=abc&xpin=abc&pinx=abc", "", ["", "", ""]),
        ("/pin=abc?x", "", ["", "", ""]),
        ("/;jsessionid=1?pin=abc", "", ["", "", "abc"]),
        ("/", "Cookie: pin=abc\r\n", ["abc", "", ""]),
        ("/", "Cookie: a=b; pin=\"abc\"; JSESSIONID=pin\r\n", ["abc", "", ""]),
        ("/", "Cookie: xpin=abc; PIN=abc\r\n", ["", "", ""]),
        ("/", "x-pin: abc\r\n", ["", "abc", ""]),
        ("/", "X-PiN:  abc \r\n", ["", "abc", ""]),
        ("/", "x-pin1: abc\r\nx-pi: abc\r\n", ["", "", ""]),
        ("/?pin=1", "x-pin: 2\r\nCookie: pin=3\r\n", ["3", "2", "1"]),
    ];
    for (target, headers, expected) in table {
        for before in 0..16 {
            let target = format!("/{}{target}", "z".repeat(before));
            assert_eq!(carried(&target, headers, before), *expected, "{target} {headers}");
        }
    }
    // Far back, and as long as an id may be.
    let long = "f".repeat(128);
    for before in [0, 1, 31, 32, 33, 2000] {
        let target = format!("/?{}&pin={long}&z", "q".repeat(before));
        assert_eq!(carried(&target, "", 0)[2], long, "{before}");
        assert_eq!(carried(&format!("/?{}pin={long}f", "a&".repeat(before / 8)), "", 0)[2], "", "too long");
    }
}

/// A pin changes nothing about where a head ends and what follows it.
#[test]
fn a_pin_header_is_framed_like_any_other() {
    for (headers, scanned) in [
        ("x-pin: a\0b\r\n", Scanned::Nul),
        ("x-pin: a\nb\r\n", Scanned::BareLf),
        ("x-pin: a\rb\r\n", Scanned::BareCr),
        ("x-pin : a\r\n", Scanned::BadHeaderName),
        ("x-pin: a\r\n b\r\n", Scanned::ObsFold),
    ] {
        let head = format!("GET / HTTP/1.1\r\n{headers}\r\n");
        let mut buffer = Buffer::new();
        buffer.fill(0, head.as_bytes());
        let mut scan = Scan::new();
        assert_eq!(scan_request::<Plain>(&mut scan, &buffer, head.len() as u32, &rule()), scanned, "{headers:?}");
    }
}
