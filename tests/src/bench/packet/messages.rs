//! What clients and backends say.

use crate::progrun::COOKIE;

/// A session that the backend has issued, and one that nobody has.
pub(in crate::bench) const SESSION: &str = "0123456789ABCDEF0123456789ABCDEF";
pub(in crate::bench) const STRANGER: &str = "FEDCBA9876543210FEDCBA9876543210";

/// A request of `len` bytes, as a browser makes them, its cookie last.
pub(in crate::bench) fn request(session: &str, len: usize) -> Vec<u8> {
    let head = "GET /shop/catalogue/page?item=4711 HTTP/1.1\r\nHost: shop.example.org\r\nAccept: text/html\r\n";
    let tail = format!("Cookie: {COOKIE}={session}\r\n\r\n");
    // Fields of at most 80 bytes, but for the last.
    let mut padding = String::new();
    let mut room = len - head.len() - tail.len();
    while room > 0 {
        let field = if room >= 160 { 80 } else { room };
        padding += &format!("X-Padding: {}\r\n", "p".repeat(field.saturating_sub(13)));
        room = room.saturating_sub(field);
    }
    let request = [head, &padding, &tail].concat().into_bytes();
    assert_eq!(request.len(), len, "a request of {len} bytes has no room for its padding");
    request
}

/// A request whose body never ends, as far as a benchmark is concerned.
pub(in crate::bench) fn post() -> Vec<u8> {
    format!("POST /shop HTTP/1.1\r\nCookie: {COOKIE}={SESSION}\r\nContent-Length: 100000000\r\n\r\n").into_bytes()
}

/// A response of 200 bytes of head and two of body.
pub(in crate::bench) fn response(field: &str) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nServer: x\r\n{field}Content-Length: 2\r\nX-Padding: ");
    let padding = "p".repeat(200 - 4 - head.len());
    format!("{head}{padding}\r\n\r\nok").into_bytes()
}

/// One whose body never ends.
pub(in crate::bench) fn large_response() -> Vec<u8> {
    b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n".to_vec()
}

/// The field that issues an id.
pub(in crate::bench) fn set_cookie(id: &str) -> String {
    format!("Set-Cookie: {COOKIE}={id}; Path=/\r\n")
}
