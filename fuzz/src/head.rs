//! Fuzz target: heads of requests and responses, in pieces and beside other readers.

use balancer_ebpf::http::{
    HEAD_CHUNKED, HEAD_CLOSE, HEAD_LENGTH, HTTP_10, Head, Scan, Scanned, Span, scan_request, scan_response,
};
use balancer_ebpf::layout::{BUFFER_BYTES, Buffer};

use crate::Plain;
use crate::stream::{Side, rule};

/// The first byte says which side, the next two where the bytes are cut; the rest is the message.
pub fn check(data: &[u8]) {
    let [side, low, high, bytes @ ..] = data else { return };
    let side = if side & 1 == 0 { Side::Request } else { Side::Response };
    let bytes = &bytes[..bytes.len().min(BUFFER_BYTES)];
    let whole = scan(side, bytes);
    let cut = usize::from(u16::from_le_bytes([*low, *high])) % (bytes.len() + 1);
    for cut in [cut, bytes.len().saturating_sub(1)] {
        let part = scan(side, &bytes[..cut]);
        assert!(part.0 == Scanned::Incomplete || part == whole, "{part:?} of {cut} bytes, then {whole:?}");
    }
    if whole.0 == Scanned::Complete {
        agrees(side, &bytes[..whole.1.len as usize], &whole.1);
    }
}

/// Scans what is there; behind it lies what would go on with it.
fn scan(side: Side, bytes: &[u8]) -> (Scanned, Head) {
    let mut buffer = Box::new(Buffer::new());
    buffer.fill(0, bytes);
    buffer.fill(bytes.len() as u32, &b"\r\n\r\nJSESSIONID=;"[..16.min(BUFFER_BYTES - bytes.len())]);
    let mut scan = Scan::new();
    let len = bytes.len() as u32;
    let scanned = match side {
        Side::Request => scan_request::<Plain>(&mut scan, &buffer, len, &rule()),
        Side::Response => scan_response::<Plain>(&mut scan, &buffer, len, &rule()),
    };
    // Of a head that is not complete nothing counts.
    let mut head = if scanned == Scanned::Complete { scan.head } else { Head::EMPTY };
    for id in head.ids.iter_mut().skip(head.id_count as usize) {
        *id = Span::NONE;
    }
    (scanned, head)
}

/// A complete head is the same message to httparse, and has the ids that a reader without words and masks finds.
fn agrees(side: Side, bytes: &[u8], head: &Head) {
    // httparse wants targets in UTF-8; servers take other bytes for what they are, and frame no differently.
    let ascii: Vec<u8> = bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'x' }).collect();
    let mut fields = vec![httparse::EMPTY_HEADER; 1024];
    let (parsed, version) = match side {
        Side::Request => {
            let mut request = httparse::Request::new(&mut fields);
            (request.parse(&ascii), request.version)
        }
        Side::Response => {
            let mut response = httparse::Response::new(&mut fields);
            let parsed = response.parse(&ascii);
            assert_eq!(response.code.map(u32::from), Some(head.status));
            (parsed, response.version)
        }
    };
    assert_eq!(parsed, Ok(httparse::Status::Complete(bytes.len())), "{}", bytes.escape_ascii());
    let values = |name: &str| -> Vec<String> {
        let wanted = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        wanted.map(|field| String::from_utf8_lossy(field.value).trim().to_lowercase()).collect()
    };
    let old = version == Some(0);
    assert_eq!(head.flags & HTTP_10 != 0, old);
    let length = (head.flags & HEAD_LENGTH != 0).then_some(head.content_length);
    let lengths: Vec<Option<u64>> = values("content-length").iter().map(|value| value.parse().ok()).collect();
    assert_eq!(lengths.is_empty(), length.is_none());
    assert!(lengths.iter().all(|other| *other == length), "{lengths:?}");
    let coding = if head.flags & HEAD_CHUNKED != 0 { vec!["chunked"] } else { vec![] };
    assert_eq!(values("transfer-encoding"), coding);
    let options = values("connection").join(",");
    let has = |wanted| options.split(',').any(|option| option.trim() == wanted);
    assert_eq!(head.flags & HEAD_CLOSE != 0, has("close") || (old && !has("keep-alive")));
    if side == Side::Request {
        ids_agree(bytes, head);
    }
}

/// The ids of a request's cookies, read in the plainest way (C18 to C25).
fn ids_agree(bytes: &[u8], head: &Head) {
    if bytes.windows(8).any(|run| run.iter().all(|byte| matches!(byte, b' ' | b'\t'))) {
        // So many blanks are passed over only in part.
        return;
    }
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let trim = |mut text: &'_ [u8]| -> Vec<u8> {
        while let [first, rest @ ..] = text
            && blank(first)
        {
            text = rest;
        }
        while let [rest @ .., last] = text
            && blank(last)
        {
            text = rest;
        }
        text.to_vec()
    };
    let mut wanted = vec![];
    for line in bytes.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if !line[..colon].eq_ignore_ascii_case(b"cookie") {
            continue;
        }
        for item in line[colon + 1..].split(|byte| *byte == b';') {
            let Some(equals) = item.iter().position(|byte| *byte == b'=') else { continue };
            let mut value = trim(&item[equals + 1..]);
            if value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"") {
                value = value[1..value.len() - 1].to_vec();
            }
            if trim(&item[..equals]) == b"JSESSIONID" && !value.is_empty() && value.len() <= 128 {
                wanted.push(value);
            }
        }
    }
    let more = wanted.len() - wanted.len().min(head.ids.len());
    let found: Vec<_> = head.ids[..head.id_count as usize].iter().map(|id| text(bytes, *id)).collect();
    assert_eq!((found, head.more_ids as usize), (wanted[..wanted.len() - more].to_vec(), more));
    let path = text(bytes, head.path_id);
    assert!(path.len() <= 128 && !path.iter().any(|byte| b" ;/?".contains(byte)));
}

fn text(bytes: &[u8], span: Span) -> Vec<u8> {
    bytes[span.pos as usize..][..span.len as usize].to_vec()
}
