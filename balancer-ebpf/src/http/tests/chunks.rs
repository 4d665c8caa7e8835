//! Chunked bodies: in one go, in pieces cut anywhere, and beside httparse.

use super::*;
use proptest::prelude::*;

/// Where a body's headers end and what they announce, and how it went.
type Read = (Vec<(usize, u32)>, Scanned);

/// Reads the body at the front of `bytes`, which come in pieces that end at `cuts`. Behind what is there lies garbage.
fn read(bytes: &[u8], cuts: &[usize]) -> Read {
    let mut chunk = Chunk::default();
    let mut headers = vec![];
    let mut pos = 0;
    for end in cuts.iter().copied().chain([bytes.len()]) {
        // A piece may lie anywhere in the buffer.
        let (start, base) = (pos, pos as u32 % 23);
        let mut buffer = Box::new(Buffer::new());
        buffer.fill(base, &[&bytes[start.min(end)..end], b"0\r\n\r\n0\r\n\r\n"].concat());
        while pos < end {
            let piece = (base + (pos - start) as u32, base + (end - start) as u32);
            let scanned = scan_chunk::<Plain>(&mut chunk, &buffer, piece.0, piece.1);
            assert!(chunk.at > piece.0 && chunk.at <= piece.1, "a scan takes bytes, and none that are not there");
            pos = start + (chunk.at - base) as usize;
            match scanned {
                Scanned::Complete => {
                    headers.push((pos, chunk.state.size));
                    if chunk.state.size == 0 {
                        assert_eq!(chunk.state, ChunkState::START, "ready for another body");
                        return (headers, Scanned::Complete);
                    }
                    pos += chunk.state.size as usize;
                }
                Scanned::Incomplete => assert_eq!(pos, end, "all bytes were taken"),
                reason => return (headers, reason),
            }
        }
    }
    (headers, Scanned::Incomplete)
}

#[test]
fn headers_say_how_much_follows() {
    let extension = |len: usize| format!("5;{}\r\n", "e".repeat(len));
    let trailers = |len: usize| format!("0\r\nT: {}\r\n\r\n", "t".repeat(len - "T: \r\n\r\n".len()));
    let rows: &[(&str, &[(usize, u32)])] = &[
        ("5\r\nhello\r\n0\r\n\r\n", &[(3, 5), (15, 0)]),
        ("0\r\n\r\n", &[(5, 0)]),
        ("00000000\r\n\r\nGET", &[(12, 0)]),
        ("1\r\na\r\n0000000A\r\n0123456789\r\n0\r\n\r\n", &[(3, 1), (16, 10), (33, 0)]),
        ("5;a\r\nhello\r\n0;b=c\r\n\r\n", &[(5, 5), (21, 0)]),
        ("1;a=\"b;c\"; d\t=\u{e9}\r\nx\r\n0\r\n\r\n", &[(18, 1), (26, 0)]),
        ("0\r\nTrailer: x\r\nA-b:\r\n\r\nGET / HTTP/1.1", &[(23, 0)]),
        ("7fffffff\r\n", &[(10, 0x7fff_ffff)]),
        (&extension(253), &[(257, 5)]),
        (&trailers(8192), &[(8195, 0)]),
    ];
    for (bytes, headers) in rows {
        assert_eq!(read(bytes.as_bytes(), &[]).0, *headers, "{bytes:?}");
    }
}

#[test]
fn what_servers_read_differently_is_not_followed() {
    let rows: &[&str] = &[
        "\r\n",
        "\n",
        ";a\r\n",
        "5\n",
        "5\r\r",
        "5\rx",
        " 5\r\n",
        "5 \r\n",
        "5\t\r\n",
        "5 ;a\r\n",
        "+5\r\n",
        "-5\r\n",
        "0x5\r\n",
        "5h\r\n",
        "5_0\r\n",
        "5.\r\n",
        "5,5\r\n",
        "000000005\r\n",
        "100000000\r\n",
        "80000000\r\n",
        "ffffffff\r\n",
        "g\r\n",
        "\u{0}5\r\n",
        "\u{ff15}\r\n",
        // Extensions.
        "5;a\n",
        "5;a\rb\r\n",
        "5;a\u{0}\r\n",
        "5;a\u{1}\r\n",
        "5;a\u{7f}\r\n",
        "5;a=\"b\r\nc\"\r\n",
        "5;a=\"b\nc\"\r\n",
        "5;a=\"\r\n",
        "5;a=\"\\\"\"\r\n",
        "5;\\\r\n",
        // Data that is longer or shorter than its header says.
        "1\r\nab\r\n",
        "1\r\na\n0\r\n\r\n",
        "1\r\na\r0\r\n\r\n",
        "1\r\na0\r\n\r\n",
        "2\r\na\r\n0\r\n\r\n",
        "1\r\na\r\n\r\n0",
        // Trailers.
        "0\r\n\n",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\rc\r\n\r\n",
        "0\r\n\rA: b",
        "0\r\nA\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\n A: b\r\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA: b\r\n\tc\r\n\r\n",
        "0\r\nA: \u{0}\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "0\r\nHTTP/1.1 200 OK\r\n\r\n",
        "0\r\nA(: b\r\n\r\n",
    ];
    for row in rows {
        assert_eq!(read(row.as_bytes(), &[]).1, Scanned::BadChunk, "{row:?}");
    }
}

#[test]
fn extensions_and_trailers_have_a_limit() {
    let long = "x".repeat(9000);
    let small = "T: x\r\n".repeat(1366);
    for row in
        [format!("5;{}\r\n", &long[..254]), format!("5;{long}"), format!("0\r\nT: {long}"), format!("0\r\n{small}\r\n")]
    {
        assert_eq!(read(row.as_bytes(), &[]).1, Scanned::LongChunk, "{}", row.len());
        for piece in [1, 5, 256] {
            let cuts: Vec<_> = (0..row.len()).step_by(piece).collect();
            assert_eq!(read(row.as_bytes(), &cuts).1, Scanned::LongChunk);
        }
    }
    // The limit is one of each header, not of all of them.
    let many = format!("1;{}\r\nx\r\n", &long[..200]).repeat(40);
    assert_eq!(read(many.as_bytes(), &[]).0.len(), 40);
}

#[test]
fn a_body_in_pieces_is_the_same_body() {
    let body = b"5;a=\"b\"\r\nhello\r\n1f\r\n0123456789abcdef0123456789abcde\r\n0;x\r\nT: u\r\nV:\r\n\r\n";
    let whole = read(body, &[]);
    assert_eq!((whole.0.len(), whole.1), (3, Scanned::Complete));
    for first in 0..body.len() {
        assert_eq!(read(&body[..first], &[]).1, Scanned::Incomplete, "{first}");
        for second in first..body.len() {
            assert_eq!(read(body, &[first, second]), whole, "{first} {second}");
        }
    }
    assert_eq!(read(body, &(0..body.len()).collect::<Vec<_>>()), whole);
}

/// What bodies are made of, good and bad.
const PIECES: &[&[u8]] = &[
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"3\r\nabc\r\n",
    b"a\r\n0123456789\r\n",
    b"0\r\n",
    b"\r\n",
    b"2",
    b"F",
    b"0",
    b";e",
    b";",
    b"=",
    b"\"",
    b"\r",
    b"\n",
    b" ",
    b"T: v\r\n",
    b"T",
    b":",
    b"\\",
    b"\0",
    b"x",
    b"00000001\r\na\r\n",
    b"1;e=\"f\"\r\na\r\n",
];

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(PIECES), 0..10).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn cuts_change_nothing(body in bodies(), mut cuts in prop::collection::vec(0usize..80, 0..6)) {
        cuts.retain(|cut| *cut <= body.len());
        cuts.sort_unstable();
        prop_assert_eq!(read(&body, &cuts), read(&body, &[]));
    }

    #[test]
    fn sizes_are_what_httparse_reads(body in bodies()) {
        let mut from = 0;
        for (end, size) in read(&body, &[]).0 {
            let behind_data = if from == 0 { 0 } else { 2 };
            let Ok(httparse::Status::Complete((len, other))) = httparse::parse_chunk_size(&body[from + behind_data..]) else {
                return Err(TestCaseError::fail("httparse sees no header"));
            };
            prop_assert_eq!(u64::from(size), other);
            if size != 0 {
                prop_assert_eq!(from + behind_data + len, end);
            }
            from = end + size as usize;
        }
    }
}
