//! Authentication that belongs to a connection, and what follows a response of each kind.

use super::Side::{Request, Response};
use super::*;

#[test]
fn schemes_that_bind_a_connection_are_noticed() {
    let rows: &[(Side, &str, bool)] = &[
        (Request, "Authorization: NTLM TlRMTVNTUAAB", true),
        (Request, "authorization:ntlm x", true),
        (Request, "AUTHORIZATION:  \t negotiate YII+/+/=", true),
        (Request, "Proxy-Authorization: Negotiate YII=", true),
        (Request, "Authorization:                    Basic eDp5", true),
        (Request, "Authorization: Basic eDp5", false),
        (Request, "Authorization: Bearer ntlm", false),
        (Request, "Authorization: Digest realm=\"a, ntlm\", qop=auth", false),
        (Request, "Authorization:", false),
        (Request, "WWW-Authenticate: NTLM", false),
        (Request, "X-Authorization: NTLM", false),
        (Request, "Authorizations: NTLM", false),
        (Request, "Cookie: Authorization: NTLM", false),
        (Response, "WWW-Authenticate: NTLM", true),
        (Response, "www-authenticate:Negotiate", true),
        (Response, "WWW-Authenticate: Basic realm=\"a\", Negotiate, NTLM", true),
        (Response, "WWW-Authenticate: Basic realm=\"a\"\r\nWWW-Authenticate: Negotiate oRQ+wEg==", true),
        (Response, "WWW-Authenticate: Digest a=b,c=d,\t NTLM", true),
        (Response, "WWW-Authenticate: Digest a=b,           NTLM", true),
        (Response, "Proxy-Authenticate: Bearer, nEGO2", true),
        (Response, "WWW-Authenticate: Basic realm=\"NTLM\"", false),
        (Response, "WWW-Authenticate: Bearer error=invalid_token, scope=x", false),
        (Response, "WWW-Authenticate:", false),
        (Response, "Authorization: NTLM", false),
    ];
    for (side, line, binds) in rows {
        for pad in 0..8 {
            let first = if *side == Request { "PUT / HTTP/1.1" } else { "HTTP/1.1 401" };
            let head = format!("{first}\r\nA: {}\r\n{line}\r\nContent-Length: 7\r\n\r\n", &"abcdefgh"[..pad]);
            let (scanned, head) = scan(*side, head.as_bytes());
            assert_eq!((scanned, head.content_length), (Scanned::Complete, 7), "{line:?}");
            let flags = HEAD_LENGTH | if *binds { HEAD_AUTH_CONNECTION } else { 0 };
            assert_eq!(head.flags, flags, "{line:?}");
        }
    }
    // A ticket of Kerberos is long, and half of a binary token's encoding would stop the search for commas.
    let ticket = format!("HTTP/1.1 401\r\nWWW-Authenticate: Negotiate {}\r\n\r\n", "+a".repeat(4000));
    assert_eq!(scan(Response, ticket.as_bytes()).0, Scanned::Complete);
}

#[test]
fn what_follows_a_response_depends_on_its_status() {
    use Body::*;
    let rows: &[(&str, &str, Body, Body)] = &[
        // Status line, fields, body, body if it answers HEAD.
        ("200 OK", "Content-Length: 5", Length(5), Length(0)),
        ("200", "Content-Length: 0", Length(0), Length(0)),
        ("200 ", "Transfer-Encoding: chunked", Chunked, Length(0)),
        ("200 OK", "A: b", Unknown, Length(0)),
        ("404 Not Found", "Content-Length: 5", Length(5), Length(0)),
        ("100 Continue", "A: b", Length(0), Length(0)),
        ("101 Switching Protocols", "Upgrade: a", Length(0), Length(0)),
        ("103 Early Hints", "Content-Length: 5", Unknown, Unknown),
        ("100", "Transfer-Encoding: chunked", Unknown, Unknown),
        ("204 No Content", "A: b", Length(0), Length(0)),
        ("204", "Content-Length: 0", Length(0), Length(0)),
        ("204", "Content-Length: 5", Unknown, Length(0)),
        ("204", "Transfer-Encoding: chunked", Unknown, Length(0)),
        ("205 Reset Content", "Content-Length: 0", Length(0), Length(0)),
        ("205", "Content-Length: 5", Unknown, Length(0)),
        ("205", "Transfer-Encoding: chunked", Unknown, Length(0)),
        ("205", "A: b", Unknown, Length(0)),
        ("304 Not Modified", "A: b", Length(0), Length(0)),
        ("304", "Content-Length: 5", Length(0), Length(0)),
        ("304", "Transfer-Encoding: chunked", Length(0), Length(0)),
    ];
    for (status, field, body, to_head) in rows {
        let (scanned, head) = scan(Response, format!("HTTP/1.1 {status}\r\n{field}\r\n\r\n").as_bytes());
        assert_eq!(scanned, Scanned::Complete, "{status} {field}");
        assert_eq!((head.response_body(false), head.response_body(true)), (*body, *to_head), "{status} {field}");
    }
}

#[test]
fn what_follows_a_request_depends_on_its_fields_alone() {
    for method in ["GET", "HEAD", "POST", "DELETE", "CONNECT", "X"] {
        for (field, body) in [
            ("A: b", Body::Length(0)),
            ("Content-Length: 9", Body::Length(9)),
            ("Transfer-Encoding: chunked", Body::Chunked),
        ] {
            let (scanned, head) = scan(Request, format!("{method} / HTTP/1.1\r\n{field}\r\n\r\n").as_bytes());
            assert_eq!((scanned, head.request_body()), (Scanned::Complete, body), "{method} {field}");
        }
    }
}
