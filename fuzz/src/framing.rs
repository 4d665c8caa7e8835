//! Fuzz target: streams of messages, whole and in pieces, and beside a reader that knows nothing of packets.

use balancer_ebpf::http::Scanned;

use crate::stream::{End, Message, Side, Stream};

/// The first byte says which side, the next four how the stream is cut; the rest is the stream.
pub fn check(data: &[u8]) {
    let [side, rest @ ..] = data else { return };
    let Some((seed, bytes)) = rest.split_first_chunk::<4>() else { return };
    let side = if side & 1 == 0 { Side::Request } else { Side::Response };
    let whole = Stream::read(side, bytes);
    let mut stream = Stream::new(side);
    let mut rest = bytes;
    let mut random = u64::from(u32::from_le_bytes(*seed)) | 1;
    while !rest.is_empty() {
        random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        // Most pieces are a few bytes, some hold several messages.
        let len = (random >> 33) as usize % (1 << (random >> 60));
        let (piece, behind) = rest.split_at(len.clamp(1, rest.len()));
        stream.push(piece);
        rest = behind;
    }
    assert_eq!((&stream.messages, stream.end), (&whole.messages, whole.end), "cuts change nothing");
    assert_eq!(stream.at_boundary(), whole.at_boundary());
    agrees(side, bytes, &whole);
}

/// What is framed is the same message to a reader with httparse, up to where the stream was given up.
fn agrees(side: Side, bytes: &[u8], stream: &Stream) {
    let mut at = 0;
    for message in &stream.messages {
        assert_eq!(message.start, at, "messages follow each other");
        let Some(end) = message.end else { break };
        assert_eq!(oracle(side, &bytes[at..], message), Some(end - at), "{}", bytes[at..end].escape_ascii());
        at = end;
    }
    if let Some(End::Unframed(reason)) = stream.end {
        assert!(!matches!(reason, Scanned::Complete | Scanned::Incomplete));
    }
}

/// The length of the message at the front, head and body.
fn oracle(side: Side, bytes: &[u8], message: &Message) -> Option<usize> {
    let ascii: Vec<u8> = bytes.iter().map(|byte| if byte.is_ascii() { *byte } else { b'x' }).collect();
    let mut fields = vec![httparse::EMPTY_HEADER; 1024];
    let (parsed, status) = match side {
        Side::Request => (httparse::Request::new(&mut fields).parse(&ascii), None),
        Side::Response => {
            let mut response = httparse::Response::new(&mut fields);
            (response.parse(&ascii), response.code)
        }
    };
    let Ok(httparse::Status::Complete(head)) = parsed else { return None };
    assert_eq!(head, message.body - message.start);
    if matches!(status, Some(100..200 | 204 | 304)) {
        return Some(head);
    }
    let field = |name: &str| {
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        Some(String::from_utf8_lossy(field.value).trim().to_ascii_lowercase())
    };
    if field("transfer-encoding").as_deref() == Some("chunked") {
        return Some(head + chunks(&ascii[head..])?);
    }
    let length = field("content-length").map_or(Some(0), |length| length.parse().ok())?;
    Some(head + length)
}

/// The length of the chunked body at the front.
fn chunks(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((header, size))) = httparse::parse_chunk_size(&bytes[at..]) else {
            return None;
        };
        at += header;
        if size == 0 {
            break;
        }
        at += size as usize;
        if bytes.get(at..at + 2) != Some(b"\r\n") {
            return None;
        }
        at += 2;
    }
    let mut trailers = [httparse::EMPTY_HEADER; 4096];
    match httparse::parse_headers(&bytes[at..], &mut trailers) {
        Ok(httparse::Status::Complete((len, _))) => Some(at + len),
        _ => None,
    }
}
