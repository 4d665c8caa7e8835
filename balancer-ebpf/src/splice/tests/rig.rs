//! A director with one client and its backends, whose packets are put in by hand.
//!
//! Every number is relative: a client's byte 0 is the first of its first request, a backend's byte 0 the first of its first
//! response, whatever lies on the wire. What leaves has its checksums verified, and is given back with relative numbers too.

use crate::layout::*;
use crate::net::*;
use crate::splice::{direct, tests::work};
use crate::testing::{SOURCE, Tcp, TestMaps, VIP, VecFrame, backend, policy, version};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

pub(super) const CLIENT: ([u8; 4], u16) = ([10, 0, 1, 77], 40_000);
const CLIENT_ISN: u32 = 0xffff_ff00;
const BACKEND_ISN: u32 = 0x7fff_fff0;

/// Which hook the packets come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Tc,
    /// XDP first; what it passes up comes to TC.
    Xdp,
}

/// A segment as the tests speak of it, in the numbers of the one who sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seg {
    pub(super) from: i64,
    pub(super) acked: i64,
    pub(super) flags: u8,
    pub(super) data: Vec<u8>,
    pub(super) window: u16,
}

/// A segment that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Out {
    /// In the numbers of the client.
    Client(Seg),
    /// To the backend of this index, in the numbers of its leg.
    Leg(u8, Seg),
}

impl Out {
    pub(super) fn seg(&self) -> &Seg {
        match self {
            Self::Client(seg) | Self::Leg(_, seg) => seg,
        }
    }
}

pub(super) struct Rig {
    pub(super) maps: TestMaps,
    pub(super) work: Box<Work>,
    pub(super) hook: Hook,
    pub(super) timestamps: bool,
    /// The sequence number of the director's first byte for the client, and of the leg's first byte.
    director: u32,
    leg: u32,
    leg_port: u16,
    /// The client's byte with which the present leg began.
    leg_first: i64,
    /// The client-visible byte at which the present leg's responses began.
    leg_base: i64,
    /// How the last packet was dealt with.
    pub(super) verdict: Verdict,
}

/// `GET /` with a cookie, or without.
pub(super) fn get(id: &str) -> Vec<u8> {
    let cookie = if id.is_empty() { String::new() } else { format!("Cookie: JSESSIONID={id}\r\n") };
    format!("GET / HTTP/1.1\r\nHost: a\r\n{cookie}\r\n").into_bytes()
}

pub(super) fn post(body: usize) -> Vec<u8> {
    let mut bytes = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {body}\r\n\r\n").into_bytes();
    bytes.extend((0..body).map(|at| b'a' + (at % 26) as u8));
    bytes
}

/// A response with this much body.
pub(super) fn response(headers: &str, body: usize) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {body}\r\n\r\n").into_bytes();
    bytes.extend(vec![b'x'; body]);
    bytes
}

impl Rig {
    /// Versions 0 (backends 0 and 1) and 1 (backends 2 and 3); new sessions get 0.
    pub(super) fn new(hook: Hook) -> Self {
        let policy = policy(&[version(10, &[0, 1]), version(11, &[2, 3])]);
        let maps = TestMaps::new(policy, (0..4).map(|index| backend(index, 100)).collect());
        Self {
            maps,
            work: work(),
            hook,
            timestamps: true,
            director: 0,
            leg: 0,
            leg_port: 0,
            leg_first: 0,
            leg_base: 0,
            verdict: Verdict::NotOurs,
        }
    }

    /// The flow's state, copied.
    pub(super) fn flow(&self) -> Flow {
        *self.maps.flows[0].borrow()
    }

    pub(super) fn in_flight(&self, version: usize) -> i64 {
        self.maps.traffic[version].in_flight.get() as i64
    }

    pub(super) fn noted(&self, note: Note) -> u64 {
        self.maps.noted(note)
    }

    pub(super) fn wait(&self, ms: u64) {
        self.maps.now.set(self.maps.now.get() + ms * 1_000_000);
    }

    /// Stashes that somebody holds.
    pub(super) fn stashes(&self) -> usize {
        self.maps.stashes.iter().filter(|stash| stash.borrow().owner.get() != 0).count()
    }

    /// Puts a frame in; what left, the frame itself last.
    fn put(&mut self, tcp: &Tcp) -> Vec<Tcp> {
        let bytes = tcp.frame();
        let mut frame = VecFrame::new(bytes.clone());
        frame.can_grow = self.hook == Hook::Tc;
        self.verdict = direct(&self.maps, &mut frame, &mut self.work);
        if self.verdict == Verdict::NeedsGrowth {
            assert_eq!(self.hook, Hook::Xdp, "TC has nobody above it");
            assert_eq!(frame.bytes, bytes, "what goes up is as it came");
            frame.can_grow = true;
            self.verdict = direct(&self.maps, &mut frame, &mut self.work);
            assert_ne!(self.verdict, Verdict::NeedsGrowth);
        }
        assert_ne!(self.verdict, Verdict::Unwritable, "{tcp:?}");
        let mut out: Vec<Tcp> = frame.copies.iter().map(|copy| Tcp::read(copy)).collect();
        if self.verdict.action() == crate::verdict::Action::Send {
            out.push(Tcp::read(&frame.bytes));
        }
        out
    }

    /// In relative numbers, and learns what is new of the leg.
    fn relative(&mut self, out: Vec<Tcp>) -> Vec<Out> {
        let mut answers = Vec::new();
        for tcp in out {
            if tcp.destination == CLIENT {
                assert_eq!(tcp.source, (VIP, 80));
                if tcp.flags & SYN != 0 {
                    self.director = tcp.seq.wrapping_add(1);
                }
                answers.push(Out::Client(Seg {
                    from: i64::from(tcp.seq.wrapping_sub(self.director) as i32),
                    acked: i64::from(tcp.ack.wrapping_sub(CLIENT_ISN + 1) as i32),
                    flags: tcp.flags,
                    data: tcp.payload,
                    window: tcp.window,
                }));
            } else {
                assert_eq!((tcp.source.0, tcp.destination.1), (SOURCE, 8080));
                if tcp.flags & SYN != 0 {
                    self.leg = tcp.seq.wrapping_add(1);
                    self.leg_port = tcp.source.1;
                }
                let first = tcp.seq.wrapping_sub(self.leg) as i32;
                answers.push(Out::Leg(
                    tcp.destination.0[3],
                    Seg {
                        from: i64::from(first) + self.leg_first,
                        acked: i64::from(tcp.ack.wrapping_sub(BACKEND_ISN + 1) as i32) + self.leg_base,
                        flags: tcp.flags,
                        data: tcp.payload,
                        window: tcp.window,
                    },
                ));
            }
        }
        answers
    }

    fn stamps(&self, offset: u32) -> Vec<u8> {
        let clock = ((self.maps.now.get() / 1_000_000) as u32).wrapping_add(offset);
        let mut options = vec![1, 1, 8, 10];
        options.extend(clock.to_be_bytes());
        options.extend([0; 4]);
        if self.timestamps { options } else { Vec::new() }
    }

    /// A segment of the client's.
    pub(super) fn client(&mut self, seg: Seg) -> Vec<Out> {
        let tcp = Tcp {
            source: CLIENT,
            destination: (VIP, 80),
            seq: (CLIENT_ISN + 1).wrapping_add(seg.from as u32),
            ack: self.director.wrapping_add(seg.acked as u32),
            flags: if seg.flags == 0 { ACK } else { seg.flags },
            window: if seg.window == 0 { 500 } else { seg.window },
            options: self.stamps(1000),
            payload: seg.data,
        };
        let out = self.put(&tcp);
        self.relative(out)
    }

    /// Data of the client's, from its byte `from` on, with all up to the director's byte `acked` acknowledged.
    pub(super) fn says(&mut self, from: i64, data: &[u8], acked: i64) -> Vec<Out> {
        self.client(Seg { from, acked, flags: ACK | PSH, data: data.to_vec(), window: 0 })
    }

    /// A segment of the backend's with this index, in client-visible numbers.
    pub(super) fn backend(&mut self, index: u8, seg: Seg) -> Vec<Out> {
        let tcp = Tcp {
            source: ([10, 0, 2, index], 8080),
            destination: (SOURCE, self.leg_port),
            seq: (BACKEND_ISN + 1).wrapping_add((seg.from - self.leg_base) as u32),
            ack: self.leg.wrapping_add((seg.acked - self.leg_first) as u32),
            flags: if seg.flags == 0 { ACK } else { seg.flags },
            window: if seg.window == 0 { 500 } else { seg.window },
            options: self.stamps(500_000),
            payload: seg.data,
        };
        let out = self.put(&tcp);
        self.relative(out)
    }

    pub(super) fn answers(&mut self, index: u8, from: i64, data: &[u8], acked: i64) -> Vec<Out> {
        self.backend(index, Seg { from, acked, flags: ACK | PSH, data: data.to_vec(), window: 0 })
    }

    /// SYN, SYN-ACK, ACK.
    pub(super) fn connect(&mut self) {
        let mut options = vec![2, 4, 5, 180, 4, 2];
        if self.timestamps {
            options.extend(&self.stamps(1000)[2..]);
            options.extend([1, 3, 3, 7]);
        } else {
            options.extend([1, 1, 1, 3, 3, 7]);
        }
        let syn = Tcp {
            source: CLIENT,
            destination: (VIP, 80),
            seq: CLIENT_ISN,
            flags: SYN,
            window: 64_000,
            options,
            ..Tcp::default()
        };
        let out = self.put(&syn);
        assert_eq!(self.verdict, Verdict::SynCookie);
        self.relative(out);
        assert_eq!(self.client(Seg::default()), []);
        assert_eq!(self.verdict, Verdict::FlowBegun);
    }

    /// A request that opens a leg: answers the index of the backend that gets the SYN. `from` and `acked` as in
    /// [`Rig::says`].
    pub(super) fn opens(&mut self, from: i64, data: &[u8], acked: i64) -> u8 {
        (self.leg_first, self.leg_base) = (from, acked);
        let out = self.says(from, data, acked);
        let Some(Out::Leg(index, seg)) = out.last() else { panic!("{:?}: {out:?}", self.verdict) };
        assert_eq!((seg.flags, seg.from), (SYN, from - 1), "{:?}", self.verdict);
        *index
    }

    /// The backend's SYN-ACK; what leaves the stash.
    pub(super) fn accepts(&mut self, index: u8) -> Vec<Out> {
        let mut options = vec![2, 4, 5, 180, 4, 2];
        if self.timestamps {
            options.extend(&self.stamps(500_000)[2..]);
            options.extend([1, 3, 3, 7]);
        } else {
            options.extend([1, 1, 1, 3, 3, 7]);
        }
        let tcp = Tcp {
            source: ([10, 0, 2, index], 8080),
            destination: (SOURCE, self.leg_port),
            seq: BACKEND_ISN,
            ack: self.leg,
            flags: SYN | ACK,
            window: 64_000,
            options,
            payload: Vec::new(),
        };
        let out = self.put(&tcp);
        self.relative(out)
    }

    /// A connection with its first request answered: the backend, and the first bytes that come next of either side.
    pub(super) fn served(hook: Hook) -> (Self, u8, i64, i64) {
        let mut rig = Self::new(hook);
        rig.connect();
        let request = get("");
        let index = rig.opens(0, &request, 0);
        let out = rig.accepts(index);
        assert_eq!(rig.verdict, Verdict::LegUp);
        assert_eq!(out.iter().flat_map(|out| out.seg().data.clone()).collect::<Vec<_>>(), request);
        let (client, director) = (request.len() as i64, response("", 10).len() as i64);
        let out = rig.answers(index, 0, &response("", 10), client);
        assert_eq!(out.len(), 1, "{:?}", rig.verdict);
        assert_eq!(rig.in_flight(0), 0);
        rig.client(Seg { from: client, acked: director, ..Seg::default() });
        assert_eq!(rig.verdict, Verdict::ToBackend);
        (rig, index, client, director)
    }
}
