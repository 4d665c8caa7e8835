//! Random heads against httparse: whatever the scan calls complete has to be the same message there.

use super::*;
use proptest::prelude::*;

/// What a head of a real client, or of one that is up to something, is put together from.
const PIECES: &[&[u8]] = &[
    b"GET",
    b"HEAD",
    b"/",
    b"/a;jsessionid=B",
    b"?c",
    b" ",
    b" HTTP/1.1",
    b" HTTP/1.0",
    b"HTTP/1.1 ",
    b"200 OK",
    b"\r\n",
    b"\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\t",
    b":",
    b": ",
    b";",
    b",",
    b"\"",
    b"=",
    b"Content-Length",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"chunked",
    b"Connection: ",
    b"close",
    b"Cookie: ",
    b"Set-Cookie: ",
    b"JSESSIONID=A",
    b"Max-Age=0",
    b"Host: a",
    b"X-1: y",
    b"5",
    b"12345678",
    b"(",
    b"\0",
    b"\x7f",
    b"\x80",
    b"_",
    b"        ",
    b"    ",
];

/// A head that begins well, then anything.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let first = prop::sample::select(vec![
        &b"GET / HTTP/1.1\r\n"[..],
        b"POST /a;jsessionid=B?c HTTP/1.0\r\n",
        b"HTTP/1.1 200 OK\r\n",
        b"",
    ]);
    let field = prop_oneof![
        Just(b"Content-Length: 5\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Connection: keep-alive\r\n".to_vec()),
        Just(b"Cookie: a=b; JSESSIONID=A\r\n".to_vec()),
        Just(b"Set-Cookie: JSESSIONID=A; Max-Age=0\r\n".to_vec()),
        "[A-Za-z0-9_-]{1,40}:[ \t]?[ -~]{0,200}\r\n".prop_map(String::into_bytes),
        prop::collection::vec(prop::sample::select(PIECES), 0..6).prop_map(|all| all.concat()),
    ];
    (first, prop::collection::vec(field, 0..8), any::<bool>(), prop::collection::vec(any::<u8>(), 0..9)).prop_map(
        |(first, fields, ends, rest)| {
            let end: &[u8] = if ends { b"\r\n" } else { b"" };
            [first, &fields.concat(), end, &rest].concat()
        },
    )
}

/// Length of the head, version's last digit, status and fields, as httparse sees them; `None` if it sees no head.
type Seen<'a> = (usize, u8, u16, Vec<(String, &'a [u8])>);

fn oracle(side: Side, bytes: &[u8]) -> Option<Seen<'_>> {
    let mut headers = [httparse::EMPTY_HEADER; 512];
    let (parsed, version, status, headers) = match side {
        Side::Request => {
            let mut request = httparse::Request::new(&mut headers);
            let parsed = request.parse(bytes).ok()?;
            (parsed, request.version, None, request.headers.to_vec())
        }
        Side::Response => {
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(bytes).ok()?;
            (parsed, response.version, response.code, response.headers.to_vec())
        }
    };
    let fields = headers.iter().map(|field| (field.name.to_lowercase(), field.value)).collect();
    match parsed {
        httparse::Status::Complete(len) => Some((len, version?, status.unwrap_or(0), fields)),
        httparse::Status::Partial => None,
    }
}

fn check(side: Side, bytes: &[u8]) -> Result<bool, TestCaseError> {
    let (scanned, head) = scan(side, bytes);
    if scanned != Scanned::Complete {
        return Ok(false);
    }
    // httparse wants targets in UTF-8; servers take other bytes for what they are, and frame no differently.
    let ascii: Vec<u8> = bytes.iter().map(|byte| if *byte < 0x80 { *byte } else { b'x' }).collect();
    let names = bytes.split(|byte| *byte == b'\n').skip(1).take_while(|line| *line != b"\r");
    for name in names.map(|line| line.split(|byte| *byte == b':').next().unwrap_or(line)) {
        prop_assert!(name.is_ascii());
    }
    let Some((len, version, status, fields)) = oracle(side, &ascii) else {
        return Err(TestCaseError::fail("httparse sees no head"));
    };
    prop_assert_eq!(head.len as usize, len);
    prop_assert_eq!(head.flags & HTTP_10 != 0, version == 0);
    prop_assert_eq!(head.status, u32::from(status));
    let values = |name: &str| -> Vec<String> {
        let wanted = fields.iter().filter(|(field, _)| field == name);
        wanted.map(|(_, value)| String::from_utf8_lossy(value).trim().to_lowercase()).collect()
    };
    let lengths: Vec<Option<u64>> = values("content-length").iter().map(|value| value.parse().ok()).collect();
    let length = (head.flags & HEAD_LENGTH != 0).then_some(head.content_length);
    prop_assert!(lengths.iter().all(|other| length.is_some() && *other == length));
    prop_assert_eq!(lengths.is_empty(), length.is_none());
    let coding = if head.flags & HEAD_CHUNKED != 0 { vec!["chunked"] } else { vec![] };
    prop_assert_eq!(values("transfer-encoding"), coding);
    let options = values("connection").join(",");
    let closes = options.split(',').any(|option| option.trim() == "close");
    let keeps = options.split(',').any(|option| option.trim() == "keep-alive");
    prop_assert_eq!(head.flags & HEAD_CLOSE != 0, closes || (version == 0 && !keeps));
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn what_is_complete_is_the_same_message_to_httparse(bytes in heads()) {
        check(Side::Request, &bytes)?;
        check(Side::Response, &bytes)?;
    }

    #[test]
    fn damage_is_noticed_or_harmless(at in 0usize..200, byte: u8) {
        let heads = [
            (Side::Request, &b"POST /a;jsessionid=B HTTP/1.1\r\nContent-Length: 12\r\nHost: a\r\n\
                Connection: keep-alive, close\r\nCookie: a=b; JSESSIONID=\"A\"\r\n\r\n"[..]),
            (Side::Response, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\
                Set-Cookie: JSESSIONID=A; Max-Age=0; Path=/\r\n\r\n"),
        ];
        for (side, head) in heads {
            let mut bytes = head.to_vec();
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
            check(side, &bytes)?;
        }
    }

    #[test]
    fn fields_of_any_kind_are_followed(
        fields in prop::collection::vec("[A-Za-z0-9_-]{1,40}:[ \t]?[ -~]{0,300}\r\n", 0..12)
    ) {
        let head = format!("GET / HTTP/1.1\r\n{}\r\n", fields.concat());
        prop_assert!(check(Side::Request, head.as_bytes())?);
    }

    #[test]
    fn anything_at_all_is_survived(bytes in prop::collection::vec(any::<u8>(), 0..600), len in 0usize..20000) {
        let rule = rule("JSESSIONID", "jsessionid");
        let dirty = buffer(&bytes);
        for side in [Side::Request, Side::Response] {
            check(side, &bytes)?;
            scan_part(side, &dirty, len, &rule);
        }
    }
}
