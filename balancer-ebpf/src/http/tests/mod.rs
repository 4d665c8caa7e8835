//! The scan against tables of heads, truncation, and httparse as an oracle.

mod chunks;
mod conformance;
mod connections;
mod framing;
mod ids;
mod oracle;
mod set_cookie;

use super::*;
use crate::layout::{BUFFER_BYTES, Name};
use crate::plain::Plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Request,
    Response,
}

/// A buffer whose rest is garbage that would go on with the head, so that a look beyond its end shows.
fn buffer(bytes: &[u8]) -> Box<Buffer> {
    let mut buffer = Box::new(Buffer::new());
    for pos in (0..BUFFER_BYTES as u32).step_by(16) {
        buffer.fill(pos, b"\r\n\r\nJSESSIONID=;");
    }
    buffer.fill(0, bytes);
    buffer
}

fn rule(cookie: &str, parameter: &str) -> SessionRule {
    let name = |text: &str| Name::new(text.as_bytes()).unwrap();
    SessionRule::new(name(cookie), name(parameter))
}

/// Scans `bytes`, of which the first `len` are there. The scratch memory is dirty from another head, as a map value is.
fn scan_part(side: Side, buffer: &Buffer, len: usize, rule: &SessionRule) -> (Scanned, Head) {
    let mut scan = Scan::new();
    scan.head = Head { flags: !0, id_count: 3, more_ids: 7, deletes: 1, ..Head::EMPTY };
    (scan.mode, scan.stopped, scan.expiry, scan.floor, scan.fold) = (9, 1, 7, !0, !0);
    let scanned = match side {
        Side::Request => scan_request::<Plain>(&mut scan, buffer, len as u32, rule),
        Side::Response => scan_response::<Plain>(&mut scan, buffer, len as u32, rule),
    };
    (scanned, scan.head)
}

fn scan_with(side: Side, bytes: &[u8], rule: &SessionRule) -> (Scanned, Head) {
    scan_part(side, &buffer(bytes), bytes.len(), rule)
}

fn scan(side: Side, bytes: &[u8]) -> (Scanned, Head) {
    scan_with(side, bytes, &rule("JSESSIONID", "jsessionid"))
}

fn text(bytes: &[u8], span: Span) -> &str {
    let range = span.pos as usize..(span.pos + span.len) as usize;
    if span.len == 0 { "" } else { core::str::from_utf8(&bytes[range]).unwrap() }
}

#[test]
fn results_survive_as_numbers() {
    for number in 0..Scanned::NAMES.len() as u32 {
        assert_eq!(Scanned::from_number(number) as u32, number);
    }
    assert_eq!(Scanned::from_number(RUNNING), Scanned::TooComplex);
}
