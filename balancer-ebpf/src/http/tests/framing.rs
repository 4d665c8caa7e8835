//! Where heads end, what follows them, and why some are not followed.

use super::Scanned::*;
use super::Side::{Request, Response};
use super::*;

#[test]
fn fields_that_frame_are_read() {
    const LEN: u32 = HEAD_LENGTH;
    const KEEP: u32 = HEAD_KEEP_ALIVE;
    let rows: &[(&str, u32, u64)] = &[
        ("Host: a", 0, 0),
        ("Content-Length: 0", LEN, 0),
        ("content-length:5", LEN, 5),
        ("CONTENT-LENGTH: \t 12345678 ", LEN, 12_345_678),
        ("Content-Length: 123456789", LEN, 123_456_789),
        ("Content-Length: 9999999999999999", LEN, 9_999_999_999_999_999),
        ("Content-Length: 0000000000000007", LEN, 7),
        ("Content-Length: 7\r\nA: b\r\nContent-Length: 07", LEN, 7),
        ("X-Content-Length: 5\r\nContent-Lengt: 5\r\nContent-Lengthy: 5", 0, 0),
        ("Transfer-Encoding: chunked", HEAD_CHUNKED, 0),
        ("transfer-encoding:  CHUNKED\t", HEAD_CHUNKED, 0),
        ("Transfer_Encoding: chunked", 0, 0),
        ("Connection: close", HEAD_CLOSE, 0),
        ("Connection:Close", HEAD_CLOSE, 0),
        ("Connection: keep-alive", KEEP, 0),
        ("Connection: Keep-Alive, close", KEEP | HEAD_CLOSE, 0),
        ("Connection: upgrade ,\tclose , x", HEAD_CLOSE, 0),
        ("Connection: keep-alive\r\nConnection: close", KEEP | HEAD_CLOSE, 0),
        ("Connection: closed, xclose, \"close\"", 0, 0),
        ("Connection:", 0, 0),
        ("A:\r\nB: \u{e9}\t\u{ff}", 0, 0),
        ("X_1-y.z~: v", 0, 0),
    ];
    for (lines, flags, length) in rows {
        let heads = [
            (Request, format!("GET / HTTP/1.1\r\n{lines}\r\n\r\nGET")),
            (Response, format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\nbody")),
        ];
        for (side, head) in heads {
            let wanted = head.find("\r\n\r\n").unwrap() as u32 + 4;
            let (scanned, head) = scan(side, head.as_bytes());
            assert_eq!((scanned, head.len), (Complete, wanted), "{lines:?}");
            assert_eq!((head.flags & !METHOD_SAFE, head.content_length), (*flags, *length), "{lines:?}");
        }
    }
}

#[test]
fn first_lines_are_read() {
    const KEEP: u32 = HEAD_KEEP_ALIVE;
    let rows: &[(Side, &str, u32, u32)] = &[
        (Request, "GET / HTTP/1.1\r\n\r\n", METHOD_SAFE, 0),
        (Request, "OPTIONS * HTTP/1.1\r\n\r\n", METHOD_SAFE, 0),
        (Request, "TRACE / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "get / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "GETS / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "OPTION / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "OPTIONSS / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "HEAD / HTTP/1.1\r\n\r\n", METHOD_HEAD | METHOD_SAFE, 0),
        (Request, "HEADS / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "head / HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "CONNECT a:443 HTTP/1.1\r\n\r\n", METHOD_CONNECT, 0),
        (Request, "M-SEARCH * HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "X2_.! ?? HTTP/1.1\r\n\r\n", 0, 0),
        (Request, "GET /?? HTTP/1.0\r\n\r\n", HTTP_10 | HEAD_CLOSE | METHOD_SAFE, 0),
        (Request, "PUT / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", HTTP_10 | HEAD_KEEP_ALIVE, 0),
        (Request, "X / HTTP/1.1\r\nUpgrade: a\r\nConnection: keep-alive, Upgrade\r\n\r\n", KEEP | HEAD_UPGRADE, 0),
        (Request, "X / HTTP/1.1\r\nConnection: UPGRADE\r\nupgrade: a\r\n\r\n", HEAD_UPGRADE, 0),
        (Request, "X / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n", 0, 0),
        (Request, "X / HTTP/1.1\r\nConnection: upgrade, upgrades\r\n\r\n", 0, 0),
        (Request, "PUT / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", HEAD_EXPECT, 0),
        (Response, "HTTP/1.1 200 OK\r\nUpgrade: h2c\r\nConnection: upgrade\r\nExpect: 100-continue\r\n\r\n", 0, 200),
        (Response, "HTTP/1.1 101\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", 0, 101),
        (Response, "HTTP/1.1 100 \r\n\r\n", 0, 100),
        (Response, "HTTP/1.1 404\r\n\r\n", 0, 404),
        (Response, "HTTP/1.0 999 A\tb \u{e9}\r\n\r\n", HTTP_10 | HEAD_CLOSE, 999),
    ];
    for (side, bytes, flags, status) in rows {
        let (scanned, head) = scan(*side, bytes.as_bytes());
        assert_eq!((scanned, head.len), (Complete, bytes.len() as u32), "{bytes:?}");
        assert_eq!((head.flags, head.status), (*flags, *status), "{bytes:?}");
    }
}

#[test]
fn what_servers_read_differently_has_a_reason() {
    let fields: &[(Scanned, &str)] = &[
        (LengthAndCoding, "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        (LengthAndCoding, "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        (TwoLengths, "Content-Length: 5\r\nContent-Length: 6"),
        (BadLength, "Content-Length:"),
        (BadLength, "Content-Length: +5"),
        (BadLength, "Content-Length: -5"),
        (BadLength, "Content-Length: 5, 5"),
        (BadLength, "Content-Length: 0x5"),
        (BadLength, "Content-Length: 5 5"),
        (BadLength, "Content-Length: 12345678901234567"),
        (BadLength, "Content-Length:           5"),
        (UnknownCoding, "Transfer-Encoding:"),
        (UnknownCoding, "Transfer-Encoding: identity"),
        (UnknownCoding, "Transfer-Encoding: gzip, chunked"),
        (UnknownCoding, "Transfer-Encoding: chunked, chunked"),
        (UnknownCoding, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        (UnknownCoding, "Transfer-Encoding: xchunked"),
        (UnknownCoding, "Transfer-Encoding:             chunked"),
        (TooManyBlanks, "Connection: a,          close"),
        (TooManyBlanks, "Connection: close          "),
        (ObsFold, "A: b\r\n c"),
        (ObsFold, "A: b\r\n\tc: d"),
        (ObsFold, " A: b"),
        (BareCr, "A: b\rc"),
        (BareCr, "Cookie: b\r\r\n"),
        (BareCr, "\rA: b"),
        (BareLf, "A: b\nC: d"),
        (BareLf, "Cookie: b\nC: d"),
        (BareLf, "\nA: b"),
        (BareLf, "A\n: b"),
        (Nul, "A: b\0"),
        (Nul, "A\0: b"),
        (Control, "A: b\x0b"),
        (Control, "A: b\x7f"),
        (Control, "Cookie: b\x7f"),
        (Control, "Connection: b\x01"),
        (BadHeaderName, "A : b"),
        (BadHeaderName, "A\t: b"),
        (BadHeaderName, ": b"),
        (BadHeaderName, "A"),
        (BadHeaderName, "A(b: c"),
        (BadHeaderName, "\u{e9}: c"),
    ];
    for (reason, lines) in fields {
        let request = format!("GET / HTTP/1.1\r\n{lines}\r\nHost: a\r\n\r\n");
        assert_eq!(scan(Request, request.as_bytes()).0, *reason, "{lines:?}");
        let response = format!("HTTP/1.1 200 OK\r\n{lines}\r\nHost: a\r\n\r\n");
        assert_eq!(scan(Response, response.as_bytes()).0, *reason, "{lines:?}");
    }
    let heads: &[(Side, Scanned, &[u8])] = &[
        (Request, CodingInOldVersion, b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Response, CodingInOldVersion, b"HTTP/1.0 200 \r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Request, Preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        (Request, NotHttp, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"),
        (Request, NotHttp, b"\x16"),
        (Request, NotHttp, b"\0\0"),
        (Request, BadRequestLine, b"\r\nGET / HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b" / HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"GET\r\n"),
        (Request, BadRequestLine, b"GET /\r\n"),
        (Request, BadRequestLine, b"GET  HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"GET  / HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"GET / HTTP/1.1 \r\n\r\n"),
        (Request, BadRequestLine, b"GET / HTTP/1.1\n\r\n\r\n"),
        (Request, BadRequestLine, b"GET / HTTP/1.2\r\n\r\n"),
        (Request, BadRequestLine, b"GET / http/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"GET / HTTP/2.0\r\n\r\n"),
        (Request, BadRequestLine, b"GET /\t HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"GET /a b HTTP/1.1\r\n\r\n"),
        (Request, BadRequestLine, b"G(T / HTTP/1.1\r\n\r\n"),
        (Request, BareLf, b"GET /\nA: b"),
        (Request, Nul, b"GET /;jsessionid=\0 HTTP/1.1\r\n\r\n"),
        (Response, BadStatusLine, b"HTTP/1.1  200 OK\r\n\r\n"),
        (Response, BadStatusLine, b"HTTP/1.1 20 OK\r\n\r\n"),
        (Response, BadStatusLine, b"HTTP/1.1 2000 OK\r\n\r\n"),
        (Response, BadStatusLine, b"HTTP/1.1 099 OK\r\n\r\n"),
        (Response, BadStatusLine, b"HTTP/2.0 200 OK\r\n\r\n"),
        (Response, BadStatusLine, b"\r\nHTTP/1.1 200 OK\r\n\r\n"),
        (Response, BareLf, b"HTTP/1.1 200 OK\nA: b\r\n\r\n"),
    ];
    for (side, reason, bytes) in heads {
        assert_eq!(scan(*side, bytes).0, *reason, "{:?}", bytes.escape_ascii().to_string());
    }
}

#[test]
fn heads_have_a_limit() {
    let head = |len: usize| {
        let frame = "GET / HTTP/1.1\r\nA: \r\n\r\n";
        format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "b".repeat(len - frame.len()))
    };
    for (len, wanted) in [(8191, Complete), (8192, Complete), (8193, TooLong), (9000, TooLong)] {
        assert_eq!(scan(Request, head(len).as_bytes()).0, wanted, "{len}");
    }
    // The last byte is missing, and may still come within the limit.
    let short = head(8192);
    assert_eq!(scan(Request, &short.as_bytes()[..8191]).0, Incomplete);
    let separators = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", ";".repeat(2000));
    assert_eq!(scan(Request, separators.as_bytes()).0, TooComplex);
    assert_eq!(scan(Request, b"").0, Incomplete);
    assert_eq!(scan(Response, b"").0, Incomplete);
}

#[test]
fn a_head_is_incomplete_until_its_last_byte() {
    let heads: &[(Side, &[u8])] = &[
        (
            Request,
            b"POST /a/b;jsessionid=0123456789/c?d=e HTTP/1.1\r\nHost: shop.example\r\n\
              Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\nExpect: 100-continue\r\n\
              Content-Length: 12\r\nCookie: $Version=1; JSESSIONID=\"A\"; b=c\r\n\r\n",
        ),
        (
            Response,
            b"HTTP/1.0 302 Found\r\nSet-Cookie: JSESSIONID=A; Path=/; Max-Age=0; Expires=x\r\n\
              Set-Cookie: JSESSIONID=B\r\nContent-Length: 7\r\nConnection: close\r\n\r\n",
        ),
    ];
    let rule = rule("JSESSIONID", "jsessionid");
    for (side, bytes) in heads {
        for len in 0..bytes.len() {
            // What is not there yet is something else each time: garbage, and what will come.
            assert_eq!(scan(*side, &bytes[..len]).0, Incomplete, "{len}");
            assert_eq!(scan_part(*side, &buffer(bytes), len, &rule).0, Incomplete, "{len}");
        }
        assert_eq!(scan(*side, bytes).0, Complete);
    }
}
