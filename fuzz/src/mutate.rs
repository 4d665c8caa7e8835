//! Seeded mutations of the corpus: tricks that nobody has thought of, made of those that somebody has.

/// What is put in.
const PIECES: &[&[u8]] = &[
    b"\r\n",
    b"\n",
    b"\r",
    b" ",
    b"\t",
    b"\0",
    b"\x0b",
    b"\x7f",
    b"\xe9",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"0",
    b"5",
    b"a",
    b"_",
    b"0\r\n\r\n",
    b"\r\n\r\n",
    b"3\r\nabc\r\n",
    b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: ",
    b"chunked",
    b" HTTP/1.1",
    b"HTTP/1.0",
    b"Expect: 100-continue\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n",
    b"Host: a\r\n",
    b";a=b",
    b"T: u\r\n",
];

/// Lines that may stand anywhere in a head, as far as somebody thinks.
const LINES: &[&[u8]] = &[
    b"Accept: */*\r\n",
    b"Connection: keep-alive\r\n",
    b"Connection: close\r\n",
    b"Connection: Keep-Alive, TE\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 3\r\n",
    b"content-length:\t35\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"transfer-encoding:Chunked \r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Expect: 100-continue\r\n",
    b"Cookie: JSESSIONID=A; b=\"c\"\r\n",
    b"Host: b\r\n",
    b"TE: trailers\r\n",
    b"Trailer: T\r\n",
    b"Upgrade: h2c\r\n",
    b"X-HTTP-Method-Override: HEAD\r\n",
    b"Range: bytes=0-1\r\n",
    b"A:\r\n",
    b"A: \xe9\t \r\n",
    b"GET /smuggled HTTP/1.1\r\n",
    b"3;a=b\r\nabc\r\n",
    b"0\r\n",
    b"\r\n",
];

/// Numbers that follow from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit.max(1) as u64) as usize
    }
}

/// Changes one to three places of `bytes`; `other` is where stretches may come from.
pub fn mutate(random: &mut Random, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut mutant = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(mutant.len() + 1);
        let end = (at + 1 + random.below(8)).min(mutant.len());
        let piece = PIECES[random.below(PIECES.len())];
        match random.below(10) {
            0 => drop(mutant.splice(at..at, piece.iter().copied())),
            1 => drop(mutant.splice(at..end, piece.iter().copied())),
            2 => drop(mutant.drain(at..end)),
            3 => {
                let again = mutant[at..end].to_vec();
                mutant.splice(at..at, again);
            }
            4 => {
                if let Some(byte) = mutant.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            5 => {
                // From the same place of another case: their lines stand alike.
                let from = at.min(other.len());
                let to = (from + random.below(40)).min(other.len());
                mutant.splice(at..at, other[from..to].iter().copied());
            }
            6..=8 => {
                let begins: Vec<_> = (1..=mutant.len()).filter(|at| mutant.get(at - 1) == Some(&b'\n')).collect();
                if let Some(at) = begins.get(random.below(begins.len())) {
                    let line = LINES[random.below(LINES.len())];
                    mutant.splice(*at..*at, line.iter().copied());
                }
            }
            _ => {
                // A line moves to where another one begins.
                let mut lines: Vec<Vec<u8>> =
                    mutant.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
                let (from, to) = (random.below(lines.len()), random.below(lines.len()));
                if !lines.is_empty() {
                    lines.swap(from, to);
                }
                mutant = lines.concat();
            }
        }
    }
    mutant
}
