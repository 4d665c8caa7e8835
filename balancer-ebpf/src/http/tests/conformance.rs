//! How ids are read and issued, statement by statement: C18 to C33 of the list of what Tomcat's parallel deployment does.
//!
//! The end-to-end test `beside_tomcat` sends a sample of these to a real Tomcat as well.

use super::*;

/// The statements that speak of reading ids.
const STATEMENTS: &[&str] =
    &["C18", "C20", "C21", "C22", "C23", "C24", "C25", "C28", "C29", "C30", "C31", "C32", "C33"];

/// Statement, first line, other lines; the ids from cookies, in order, and the one id that the path gives or, of a
/// response, Set-Cookie.
type Row = (&'static str, &'static str, &'static str, &'static [&'static str], &'static str);

const GET: &str = "GET / HTTP/1.1";
const OK: &str = "HTTP/1.1 200 OK";
const HEX: &str = "0123456789ABCDEF0123456789ABCDEF";

const ROWS: &[Row] = &[
    ("C18: cookie names are compared case-sensitively", GET, "Cookie: jsessionid=A; JSessionID=B", &[], ""),
    ("C18: and values are what they are", GET, "Cookie: JSESSIONID=aA; JSESSIONID=Aa", &["aA", "Aa"], ""),
    ("C18: header names are not", GET, "cOOKIE: JSESSIONID=A", &["A"], ""),
    ("C20: the parameter is jsessionid", "GET /a;jsessionid=A HTTP/1.1", "", &[], "A"),
    ("C20: in lower case", "GET /a;JSESSIONID=A HTTP/1.1", "", &[], ""),
    ("C20: and nothing that contains it", "GET /;xjsessionid=A;jsessionidx=A HTTP/1.1", "", &[], ""),
    ("C21: a cookie and a parameter", "GET /a;jsessionid=A HTTP/1.1", "Cookie: JSESSIONID=B", &["B"], "A"),
    ("C22: all cookies of the name, in order", GET, "Cookie: JSESSIONID=0000; JSESSIONID=A", &["0000", "A"], ""),
    ("C22: A, then B", GET, "Cookie: JSESSIONID=A;JSESSIONID=B", &["A", "B"], ""),
    ("C22: B, then A", GET, "Cookie: JSESSIONID=B;JSESSIONID=A", &["B", "A"], ""),
    ("C22: across two lines", GET, "Cookie: JSESSIONID=A\r\nX: y\r\nCookie: JSESSIONID=B", &["A", "B"], ""),
    (
        "C22: four of them",
        GET,
        "Cookie: JSESSIONID=1; JSESSIONID=2; JSESSIONID=3; JSESSIONID=4",
        &["1", "2", "3", "4"],
        "",
    ),
    ("C22: none without a value", GET, "Cookie: JSESSIONID=; JSESSIONID=\"\"; JSESSIONID; ;;", &[], ""),
    ("C23: on the first segment", "GET /a;jsessionid=A/b HTTP/1.1", "", &[], "A"),
    ("C23: on an empty one", "GET /;jsessionid=A HTTP/1.1", "", &[], "A"),
    ("C23: up to the semicolon", "GET /a;jsessionid=A;b=c HTTP/1.1", "", &[], "A"),
    ("C23: up to the query", "GET /a;jsessionid=A?b=c HTTP/1.1", "", &[], "A"),
    ("C23: behind another parameter", "GET /a;x=y;jsessionid=A HTTP/1.1", "", &[], "A"),
    ("C23: of several the last", "GET /a;jsessionid=A/b;jsessionid=B HTTP/1.1", "", &[], "B"),
    ("C23: of several on one segment too", "GET /a;jsessionid=A;jsessionid=B HTTP/1.1", "", &[], "B"),
    ("C23: in the absolute form too", "GET http://host/a;jsessionid=A HTTP/1.1", "", &[], "A"),
    ("C23: with any letters", "GET /a;jsessionid=ko{+ok+/b HTTP/1.1", "", &[], "ko{+ok+"),
    ("C23: none without a value", "GET /a;jsessionid;jsessionid= HTTP/1.1", "", &[], ""),
    ("C24: not escaped", "GET /a%3Bjsessionid=A HTTP/1.1", "", &[], ""),
    ("C24: not in the query", "GET /a?jsessionid=A HTTP/1.1", "", &[], ""),
    ("C24: not as the query's parameter", "GET /a?b;jsessionid=A HTTP/1.1", "", &[], ""),
    ("C25: quotes", GET, "Cookie: JSESSIONID=\"A\"", &["A"], ""),
    ("C25: one quote is a letter", GET, "Cookie: JSESSIONID=\"", &["\""], ""),
    ("C25: blanks around =", GET, "Cookie: JSESSIONID = A", &["A"], ""),
    ("C25: tabs as well", GET, "Cookie:\tJSESSIONID\t=\tA\t; b=c", &["A"], ""),
    ("C25: several blanks", GET, "Cookie:     JSESSIONID  =  \"A\"   ", &["A"], ""),
    ("C25: no blank", GET, "Cookie:JSESSIONID=A;b=c", &["A"], ""),
    ("C25: the second cookie", GET, "Cookie: a=b;JSESSIONID=A", &["A"], ""),
    ("C25: a comma does not separate", GET, "Cookie: a=b,JSESSIONID=A", &[], ""),
    ("C25: nor behind it", GET, "Cookie: JSESSIONID=A,a=b", &["A,a=b"], ""),
    ("C25: $Version", GET, "Cookie: $Version=1; JSESSIONID=A; $Path=/", &["A"], ""),
    ("C25: a longer name", GET, "Cookie: XJSESSIONID=A; JSESSIONIDX=A", &[], ""),
    ("C25: a value that looks like it", GET, "Cookie: foo=JSESSIONID=A", &[], ""),
    ("C25: odd bytes beside it", GET, "Cookie: q={?}\t; k=\u{e9}; JSESSIONID=A", &["A"], ""),
    (
        "C25: no other field",
        GET,
        "X-Cookie: JSESSIONID=A\r\nCookies: JSESSIONID=A\r\nSet-Cookie: JSESSIONID=A",
        &[],
        "",
    ),
    ("C28: 32 hexadecimal digits", GET, "Cookie: JSESSIONID=0123456789ABCDEF0123456789ABCDEF", &[HEX], ""),
    ("C29: the route belongs to the id", GET, "Cookie: JSESSIONID=0A.n1", &["0A.n1"], ""),
    ("C29: in the path as well", "GET /;jsessionid=0A.b.n1 HTTP/1.1", "", &[], "0A.b.n1"),
    ("C30: a session is created", OK, "Set-Cookie: JSESSIONID=A; Path=/ctx; HttpOnly", &[], "A"),
    ("C30: with any attributes", OK, "set-cookie:JSESSIONID=A;Path=/;Secure;SameSite=None", &[], "A"),
    (
        "C31: the body is not looked at",
        OK,
        "Set-Cookie: JSESSIONID=A\r\nContent-Length: 9\r\n\r\n;jsessionid=B",
        &[],
        "A",
    ),
    ("C31: nor where a redirection goes", OK, "Location: /a;jsessionid=B", &[], ""),
    ("C32: no session is created", OK, "Set-Cookie: theme=dark; Path=/", &[], ""),
    ("C33: base64", GET, "Cookie: JSESSIONID=YWJj+ZGV/Zg==", &["YWJj+ZGV/Zg=="], ""),
    (
        "C33: a UUID",
        GET,
        "Cookie: JSESSIONID=7f0c2a8e-1b1d-4c1e-9a55-3e1f5cf0a9d1",
        &["7f0c2a8e-1b1d-4c1e-9a55-3e1f5cf0a9d1"],
        "",
    ),
    ("C33: percent signs", GET, "Cookie: JSESSIONID=s%3Aabc.def", &["s%3Aabc.def"], ""),
];

#[test]
fn ids_are_read_as_tomcat_reads_them() {
    let rule = rule("JSESSIONID", "jsessionid");
    for (row, line, fields, cookies, other) in ROWS {
        // Every alignment, since words are read where they lie; and behind nearly 8 KB of other fields.
        for pad in (0..8).chain([7900]) {
            let bytes = format!("{line}\r\nA: {}\r\n{fields}\r\n\r\n", "a".repeat(pad));
            let side = if *line == OK { Side::Response } else { Side::Request };
            let (scanned, head) = scan_with(side, bytes.as_bytes(), &rule);
            assert_eq!(scanned, Scanned::Complete, "{row}");
            let found: Vec<_> =
                head.ids[..head.id_count as usize].iter().map(|id| text(bytes.as_bytes(), *id)).collect();
            let one = if side == Side::Request { head.path_id } else { head.set_id };
            assert_eq!((&found[..], text(bytes.as_bytes(), one)), (*cookies, *other), "{row}, {pad} bytes before");
            assert_eq!((head.more_ids, head.deletes), (0, 0), "{row}");
        }
    }
    for statement in STATEMENTS {
        assert!(ROWS.iter().any(|(row, ..)| row.starts_with(statement)), "{statement} has no row");
    }
}
