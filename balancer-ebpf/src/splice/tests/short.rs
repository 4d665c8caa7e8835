//! The short way is the long one, only shorter: the rig sends whatever takes it both ways, and compares (`Rig::both_ways`). Here it is seen to
//! that enough does, of all kinds.

use super::rig::*;
use crate::net::{ACK, FIN, PSH, RST};

/// Numbers that look like any, and are the same ones each time (Marsaglia, xorshift64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Most often where it is expected, else near it, seldom far away.
    fn around(&mut self, expected: i64) -> i64 {
        match self.below(16) {
            0 => expected - self.below(3000) as i64,
            1 => expected + self.below(3000) as i64,
            2 => expected - 1 + self.below(3) as i64,
            3 if self.below(8) == 0 => expected + (self.below(1 << 32) as i64 - (1 << 31)),
            _ => expected,
        }
    }

    fn segment(&mut self, from: i64, acked: i64) -> Seg {
        let len = [0, 0, 1, 100, 1448][self.below(5) as usize];
        let flags = match self.below(64) {
            0 => ACK | FIN,
            1 if self.below(8) == 0 => ACK | RST,
            2 => 0,
            3 => ACK | 32,
            other => {
                if other & 1 == 0 {
                    ACK
                } else {
                    ACK | PSH
                }
            }
        };
        let window = if self.below(8) == 0 { self.below(65_536) as u16 } else { 0 };
        Seg { from: self.around(from), acked: self.around(acked), flags, data: vec![b'x'; len], window }
    }
}

/// A client that uploads, and a backend that answers meanwhile; both with bodies that are longer than what comes.
fn busy(hook: Hook, seed: u64) -> (Rig, u8, i64, i64) {
    let mut rig = Rig::new(hook);
    (rig.timestamps, rig.sack) = (seed & 1 == 0, seed & 2 == 0);
    rig.connect();
    let asks = seed & 4 == 0;
    let request =
        if asks { get("") } else { b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000000\r\n\r\n".to_vec() };
    let index = rig.opens(0, &request, 0);
    rig.accepts(index);
    let client = len(&request);
    let head = if asks { b"HTTP/1.1 200 OK\r\nContent-Length: 5000000\r\n\r\n".to_vec() } else { Vec::new() };
    if asks {
        rig.answers(index, 0, &head, client);
    } else {
        rig.backend(index, Seg { acked: client, ..Seg::default() });
    }
    (rig, index, client, len(&head))
}

#[test]
fn what_goes_the_short_way_comes_out_as_from_the_long_one() {
    for hook in HOOKS {
        let (mut short, mut sent) = (0, 0);
        for seed in 0..400 {
            let (mut rig, index, mut client, mut director) = busy(hook, seed);
            let mut numbers = Numbers(seed * 2 + 1);
            for _ in 0..60 {
                rig.wait(numbers.below(40));
                let of_client = numbers.below(2) == 0;
                let before = rig.went_short;
                if of_client {
                    let seg = numbers.segment(client, director);
                    let until = seg.from + len(&seg.data);
                    rig.put_client(seg);
                    if rig.went_short != before {
                        client = client.max(until);
                    }
                } else {
                    let seg = numbers.segment(director, client);
                    let until = seg.from + len(&seg.data);
                    rig.put_backend(index, seg);
                    if rig.went_short != before {
                        director = director.max(until);
                    }
                }
                sent += 1;
            }
            short += rig.went_short;
        }
        assert!(short > sent / 8 && short < sent - sent / 8, "{short} of {sent}");
    }
}
