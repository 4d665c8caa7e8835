//! Session ids in responses: issued, renamed, deleted (C30 to C34).

use super::*;

#[test]
fn the_last_cookie_of_the_name_counts() {
    let rows: &[(&str, &str, u32)] = &[
        ("Set-Cookie: JSESSIONID=A; Path=/ctx; HttpOnly", "A", 0),
        ("set-cookie:JSESSIONID=\"A\"", "A", 0),
        ("Set-Cookie: JSESSIONID=A;Path=/;Secure;SameSite=None", "A", 0),
        ("Set-Cookie: a=b; Path=/\r\nSet-Cookie: JSESSIONID=A", "A", 0),
        ("Set-Cookie: JSESSIONID=A\r\nSet-Cookie: JSESSIONID=B", "B", 0),
        ("Set-Cookie: jsessionid=A", "", 0),
        ("Set-Cookie: foo=JSESSIONID=A", "", 0),
        ("Set-Cookie: foo=b; JSESSIONID=A", "", 0),
        ("Cookie: JSESSIONID=A", "", 0),
        ("Set-Cookie: JSESSIONID=", "", 1),
        ("Set-Cookie: JSESSIONID=\"\"; Path=/", "", 1),
        ("Set-Cookie: JSESSIONID=A; Max-Age=0", "", 1),
        ("Set-Cookie: JSESSIONID=A; max-age=-1; Path=/", "", 1),
        ("Set-Cookie: JSESSIONID=A; Max-Age=3600", "A", 0),
        ("Set-Cookie: JSESSIONID=A; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "", 1),
        ("Set-Cookie: JSESSIONID=A; Path=/; Expires=Thu, 01-Jan-1970 00:00:10 GMT; a", "", 1),
        ("Set-Cookie: JSESSIONID=A; Expires=Thu, 01 Jan 2070 00:00:00 GMT", "A", 0),
        ("Set-Cookie: JSESSIONID=A; Max-Age=9; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "A", 0),
        ("Set-Cookie: JSESSIONID=A; Max-Age=0; Expires=Thu, 01 Jan 2070 00:00:00 GMT", "", 1),
        ("Set-Cookie: JSESSIONID=A; Max-Age=0\r\nSet-Cookie: JSESSIONID=B", "B", 0),
        ("Set-Cookie: JSESSIONID=A\r\nSet-Cookie: JSESSIONID=A; Max-Age=0", "", 1),
        ("Set-Cookie: JSESSIONID=A\r\nSet-Cookie: JSESSIONID=; Max-Age=0\r\nSet-Cookie: JSESSIONID=B", "B", 0),
        ("Set-Cookie: JSESSIONID=A; Path=/x\r\nSet-Cookie: JSESSIONID=; PATH=/x", "", 1),
        // Another path, another cookie: the deletion is none of the id that was given.
        ("Set-Cookie: JSESSIONID=A\r\nSet-Cookie: JSESSIONID=x; Max-Age=0; Path=/old", "A", 0),
        ("Set-Cookie: JSESSIONID=A; Path=/\r\nSet-Cookie: JSESSIONID=x; Path=/old; Max-Age=0", "A", 0),
        ("Set-Cookie: JSESSIONID=x; Max-Age=0; Path=/old\r\nSet-Cookie: JSESSIONID=A; Path=/", "A", 0),
        // An attribute belongs to its own cookie.
        ("Set-Cookie: JSESSIONID=A\r\nSet-Cookie: b=; Max-Age=0", "A", 0),
        ("X: y", "", 0),
    ];
    for (lines, id, deletes) in rows {
        for pad in 0..8 {
            let reason = &"abcdefgh"[..pad];
            let response = format!("HTTP/1.1 200 {reason}\r\n{lines}\r\nContent-Length: 0\r\n\r\n");
            let (scanned, head) = scan(Side::Response, response.as_bytes());
            assert_eq!((scanned, head.status), (Scanned::Complete, 200), "{lines:?}");
            assert_eq!(text(response.as_bytes(), head.set_id), *id, "{lines:?}");
            assert_eq!(head.deletes, *deletes, "{lines:?}");
        }
    }
    let long = format!("HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID={}\r\n\r\n", "A".repeat(129));
    let (scanned, head) = scan(Side::Response, long.as_bytes());
    assert_eq!((scanned, head.set_id, head.deletes), (Scanned::Complete, Span::NONE, 0));
}
