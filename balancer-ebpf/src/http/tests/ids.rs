//! Session ids in requests: the C rows of the conformance list.

use super::*;

/// Checks the ids in cookies and the one in the path of a request.
fn check(row: &str, request: &str, rule: &SessionRule, cookies: &[&str], path: &str) {
    let (scanned, head) = scan_with(Side::Request, request.as_bytes(), rule);
    assert_eq!(scanned, Scanned::Complete, "{row}: {request:?}");
    let found: Vec<_> = head.ids[..head.id_count as usize].iter().map(|id| text(request.as_bytes(), *id)).collect();
    assert_eq!(found, cookies, "{row}: {request:?}");
    assert_eq!(text(request.as_bytes(), head.path_id), path, "{row}: {request:?}");
}

#[test]
fn cookies_are_read_as_tomcat_reads_them() {
    let rows: &[(&str, &str, &[&str])] = &[
        ("plain", "Cookie: JSESSIONID=A", &["A"]),
        ("C18 name", "Cookie: jsessionid=A; JSessionID=B", &[]),
        ("C18 header", "cOOKIE: JSESSIONID=A", &["A"]),
        ("C22", "Cookie: JSESSIONID=0000; JSESSIONID=A", &["0000", "A"]),
        ("C22 lines", "Cookie: JSESSIONID=A\r\nX: y\r\nCookie: JSESSIONID=B", &["A", "B"]),
        ("C25 quotes", "Cookie: JSESSIONID=\"A\"", &["A"]),
        ("C25 blanks", "Cookie: JSESSIONID = A", &["A"]),
        ("C25 tabs", "Cookie:\tJSESSIONID\t=\tA\t; b=c", &["A"]),
        ("C25 many blanks", "Cookie:     JSESSIONID  =  \"A\"   ", &["A"]),
        ("C25 no blank", "Cookie:JSESSIONID=A;b=c", &["A"]),
        ("C25 second", "Cookie: a=b;JSESSIONID=A", &["A"]),
        ("C25 comma", "Cookie: a=b,JSESSIONID=A", &[]),
        ("C25 comma behind", "Cookie: JSESSIONID=A,a=b", &["A,a=b"]),
        ("C25 version", "Cookie: $Version=1; JSESSIONID=A; $Path=/", &["A"]),
        ("C25 prefix", "Cookie: XJSESSIONID=A", &[]),
        ("C25 suffix", "Cookie: JSESSIONIDX=A", &[]),
        ("C25 value", "Cookie: foo=JSESSIONID=A", &[]),
        ("C29 route", "Cookie: JSESSIONID=0A.n1", &["0A.n1"]),
        ("empty", "Cookie: JSESSIONID=; JSESSIONID=\"\"; JSESSIONID; ;;", &[]),
        ("one quote", "Cookie: JSESSIONID=\"", &["\""]),
        ("nothing", "Cookie:", &[]),
        ("another header", "X-Cookie: JSESSIONID=A\r\nCookies: JSESSIONID=A", &[]),
        ("odd bytes", "Cookie: q={?}\t; k=\u{e9}; JSESSIONID=A", &["A"]),
        ("response's", "Set-Cookie: JSESSIONID=A", &[]),
    ];
    let rule = rule("JSESSIONID", "jsessionid");
    for (row, lines, ids) in rows {
        // Every alignment, since words are read where they lie.
        for pad in 0..8 {
            let request = format!("GET /{} HTTP/1.1\r\n{lines}\r\n\r\n", &"abcdefgh"[..pad]);
            check(row, &request, &rule, ids, "");
        }
    }
}

#[test]
fn path_parameters_are_read_as_tomcat_reads_them() {
    let rows: &[(&str, &str, &str)] = &[
        ("C20", "/a;jsessionid=A", "A"),
        ("C20 case", "/a;JSESSIONID=A", ""),
        ("C23 segment", "/a;jsessionid=A/b", "A"),
        ("C23 semicolon", "/a;jsessionid=A;b=c", "A"),
        ("C23 query", "/a;jsessionid=A?b=c", "A"),
        ("C23 last", "/a;jsessionid=A/b;jsessionid=B", "B"),
        ("C23 same segment", "/a;jsessionid=A;jsessionid=B", "B"),
        ("C23 behind another", "/a;x=y;jsessionid=A", "A"),
        ("C24 escaped", "/a%3Bjsessionid=A", ""),
        ("C24 in the query", "/a?jsessionid=A", ""),
        ("C24 parameter in the query", "/a?b;jsessionid=A", ""),
        ("letters that stop the search", "/a;jsessionid=ko{+ok+/b", "ko{+ok+"),
        ("none", "/a;jsessionid", ""),
        ("empty", "/a;jsessionid=", ""),
        ("prefix", "/a;xjsessionid=A;jsessionidx=A", ""),
        ("absolute form", "http://host/a;jsessionid=A", "A"),
        ("C21 both", "/a;jsessionid=A", "A"),
    ];
    for (row, target, id) in rows {
        let (cookie, cookies): (_, &[&str]) =
            if row.starts_with("C21") { ("JSESSIONID=B", &["B"]) } else { ("a=b", &[]) };
        let request = format!("GET {target} HTTP/1.1\r\nCookie: {cookie}\r\n\r\n");
        check(row, &request, &rule("JSESSIONID", "jsessionid"), cookies, id);
    }
}

#[test]
fn names_may_be_configured_up_to_their_limit() {
    // C20, C33: the path parameter has the cookie's name once one is configured.
    for len in [1, 7, 8, 9, 16, 63, 64] {
        let name = "S".repeat(len);
        let request = format!("GET /;{name}=P HTTP/1.1\r\nCookie: {name}S=n; {name}=A\r\n\r\n");
        check("C33 name", &request, &rule(&name, &name), &["A"], "P");
        let other = format!("{}T", &name[1..]);
        check("C33 other", &request, &rule(&other, &other), &[], "");
    }
}

#[test]
fn ids_may_have_128_bytes() {
    for (len, wanted) in [(128, true), (129, false), (1000, false)] {
        let id = "k".repeat(len);
        let request = format!("GET /;jsessionid={id} HTTP/1.1\r\nCookie: JSESSIONID={id}\r\n\r\n");
        let (ids, path): (&[&str], _) = if wanted { (&[&id], id.as_str()) } else { (&[], "") };
        check("C33 length", &request, &rule("JSESSIONID", "jsessionid"), ids, path);
    }
}

#[test]
fn ids_beyond_the_fourth_are_counted() {
    let request = b"GET / HTTP/1.1\r\nCookie: JSESSIONID=1; JSESSIONID=2; JSESSIONID=3\r\n\
        Cookie: JSESSIONID=4; JSESSIONID=5; JSESSIONID=6\r\n\r\n";
    let (scanned, head) = scan(Side::Request, request);
    assert_eq!((scanned, head.id_count, head.more_ids), (Scanned::Complete, 4, 2));
    assert_eq!(head.ids.map(|id| text(request, id)), ["1", "2", "3", "4"]);
}
