//! What is done next, as it stands in an input. Zeroes are the honest choice everywhere.

use super::world::{BACKENDS, Side};

/// The usual request.
pub(super) const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// What an end may say that a fuzzer would have to find letter by letter.
const SAYINGS: &[&[u8]] = &[
    GET,
    b"GET /a HTTP/1.1\r\nHost: a\r\nCookie: JSESSIONID=A\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET / HT",
    b"TP/1.1\r\nHost: a\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=A; Path=/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=; Max-Age=0\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 2",
    &[b'x'; 1448],
    &[b'x'; 20_000],
];

/// By how much a number is not the one that would be right.
const OFFSETS: [i32; 16] =
    [1, -1, 2, -2, 7, -30, 100, -100, 1448, -1448, 1 << 16, -(1 << 16), 1 << 21, -(1 << 21), 1 << 25, i32::MIN];

/// Milliseconds.
const WAITS: [u64; 8] = [1, 60, 250, 1_100, 3_100, 10_000, 61_000, 601_000];

pub(super) enum Deed<'a> {
    /// A client's SYN.
    Connect {
        client: u8,
        options: u8,
    },
    /// A backend's SYN-ACK.
    Agree {
        leg: u8,
        options: u8,
    },
    Segment {
        side: Side,
        who: u8,
        flags: u8,
        seq: i32,
        ack: i32,
        data: &'a [u8],
    },
    Wait(u64),
    Flip {
        active: u32,
        hold: bool,
    },
    Health {
        backend: usize,
        up: bool,
    },
    /// Of the next packet, `bits` of the byte at `at`; its checksums are made right behind that, or not.
    Damage {
        at: u16,
        bits: u8,
        mended: bool,
    },
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let [first, rest @ ..] = self.0 else { return None };
        self.0 = rest;
        Some(*first)
    }

    pub(super) fn deed(&mut self) -> Option<Deed<'a>> {
        let what = self.byte()?;
        let who = what >> 3 & 7;
        Some(match what & 7 {
            0 => Deed::Connect { client: who, options: !self.byte()? },
            1 => Deed::Agree { leg: who, options: !self.byte()? },
            2 | 3 => self.segment(Side::Client, who)?,
            4 | 5 => self.segment(Side::Backend, who)?,
            6 => Deed::Wait(WAITS[usize::from(who)]),
            _ => match what >> 6 {
                0 => Deed::Flip { active: u32::from(who & 1), hold: who & 2 != 0 },
                1 => Deed::Health { backend: usize::from(who) % BACKENDS, up: who & 4 == 0 },
                _ => Deed::Damage {
                    at: u16::from(self.byte()?) << (who & 3),
                    bits: self.byte()?,
                    mended: what & 64 != 0,
                },
            },
        })
    }

    fn segment(&mut self, side: Side, who: u8) -> Option<Deed<'a>> {
        let (flags, offsets, what) = (self.byte()?, self.byte()?, self.byte()?);
        let data = if what < 128 {
            let (data, rest) = self.0.split_at(usize::from(what).min(self.0.len()));
            self.0 = rest;
            data
        } else {
            SAYINGS[usize::from(what & 127) % SAYINGS.len()]
        };
        // Each half: 0 for the right number, or one of half of the offsets.
        let offset = |half: u8, of: usize| if half < 8 { 0 } else { OFFSETS[usize::from(half & 7) * 2 + of] };
        let (seq, ack) =
            (offset(offsets >> 4, usize::from(flags >> 6 & 1)), offset(offsets & 15, usize::from(flags >> 7)));
        Some(Deed::Segment { side, who, flags: flags & 0x1f, seq, ack, data })
    }
}

pub(super) fn connect(client: u8) -> Vec<u8> {
    vec![client << 3, 0]
}

pub(super) fn agree(leg: u8) -> Vec<u8> {
    vec![leg << 3 | 1, 0]
}

pub(super) fn client(who: u8, flags: u8, data: &[u8]) -> Vec<u8> {
    [&[who << 3 | 2, flags, 0, data.len() as u8], data].concat()
}

pub(super) fn backend(who: u8, flags: u8, data: &[u8]) -> Vec<u8> {
    [&[who << 3 | 4, flags, 0, data.len() as u8], data].concat()
}

pub(super) fn wait() -> Vec<u8> {
    vec![3 << 3 | 6]
}

pub(super) fn flip(active: u8) -> Vec<u8> {
    vec![(active & 1) << 3 | 7]
}
