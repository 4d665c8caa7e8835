//! The limits of ids and of their names.

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
