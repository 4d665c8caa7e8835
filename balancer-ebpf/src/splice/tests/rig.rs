//! A director with clients and backends, whose packets are put in by hand.
//!
//! Every number is relative: a client's byte 0 is the first of its first request, a backend's byte 0 the first of its first
//! response, whatever lies on the wire. What leaves has its checksums verified, its clocks compared with what its receiver has
//! seen, and is given back with relative numbers too. Behind every packet the director's books have to balance.
//!
//! One client speaks at a time, and one leg: those that were last connected, opened or taken, or that a test turned to.

use std::collections::HashMap;

use super::books;
use super::too_big::{self, Told};

use crate::layout::*;
use crate::net::*;
use crate::sessions;
use crate::sip::hash_id;
use crate::splice::{direct, release, tests::work};
use crate::testing::{SOURCE, Tcp, TestMaps, VIP, VecFrame, backend, policy, six, version};
use crate::verdict::{Note, Verdict};
use crate::work::Work;

/// The clients' address, and the port of the first one.
const CLIENTS: [u8; 4] = [10, 0, 1, 77];
const FIRST_CLIENT: u16 = 40_000;

/// Which hook the packets come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    Tc,
    /// XDP first; what it passes up comes to TC.
    Xdp,
}

pub(super) const HOOKS: [Hook; 2] = [Hook::Tc, Hook::Xdp];

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

/// One end of a connection with the director.
#[derive(Clone, Debug, Default)]
struct End {
    /// The sequence numbers of the client's byte 0 and of the director's byte 0, as this end has them.
    client: u32,
    director: u32,
    /// How far the director's bytes have come here, and this end's own.
    heard: u32,
    said: u32,
    /// The latest timestamps that it saw and sent; whether it uses them.
    seen: u32,
    stamped: u32,
    timestamps: bool,
    /// What its SYN offered, or was offered.
    options: Vec<u8>,
}

pub(super) struct Rig {
    pub(super) maps: TestMaps,
    pub(super) work: Box<Work>,
    pub(super) hook: Hook,
    /// What the next client to connect offers: timestamps, SACK, its window scale and MSS.
    pub(super) timestamps: bool,
    pub(super) sack: bool,
    pub(super) scale: Option<u8>,
    pub(super) mss: u16,
    /// Backends' window scale.
    pub(super) backend_scale: u8,
    /// The ports of the present client and leg.
    pub(super) client_port: u16,
    pub(super) leg_port: u16,
    clients: HashMap<u16, End>,
    legs: HashMap<u16, End>,
    /// The client's byte with which the leg begins that is opened next, and the director's.
    begins: (i64, i64),
    /// How the last packet was dealt with.
    pub(super) verdict: Verdict,
    /// Which byte of the next frame that is put in changes on its way, from the end if it is negative; and what left for it.
    pub(super) damage: Option<isize>,
    pub(super) left_damaged: Vec<Vec<u8>>,
    /// Frames are of IPv6, with addresses that stand for those that the tests speak of.
    pub(super) six: bool,
    /// Frames that went the short way.
    pub(super) went_short: usize,
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

pub(super) fn len(bytes: &[u8]) -> i64 {
    bytes.len() as i64
}

/// All data that left.
pub(super) fn data(out: &[Out]) -> Vec<u8> {
    out.iter().flat_map(|out| out.seg().data.clone()).collect()
}

/// What an id is bound to.
pub(super) fn binding(rig: &Rig, id: &str) -> Option<Binding> {
    let hash = hash_id(rig.maps.globals.session_key, 0, id.as_bytes());
    let buckets = [hash.bucket as u32, (hash.bucket >> 32) as u32].map(|at| at & rig.maps.globals.bucket_mask);
    let entries = buckets.iter().flat_map(|at| &rig.maps.buckets[*at as usize].entries);
    entries.filter(|entry| entry.tag.get() == hash.tag).map(|entry| Binding(entry.binding.get())).next()
}

pub(super) fn bind(rig: &Rig, id: &str, binding: Binding) {
    let hash = hash_id(rig.maps.globals.session_key, 0, id.as_bytes());
    let now = rig.maps.now.get() / 1_000_000_000;
    sessions::bind(&rig.maps, &rig.maps.globals, &hash, binding.0, now | 1800 << 32, &Default::default());
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
            sack: true,
            scale: Some(7),
            mss: 1460,
            backend_scale: 7,
            client_port: FIRST_CLIENT,
            leg_port: 0,
            clients: HashMap::new(),
            legs: HashMap::new(),
            begins: (0, 0),
            verdict: Verdict::NotOurs,
            damage: None,
            left_damaged: Vec::new(),
            six: false,
            went_short: 0,
        }
    }

    /// Over IPv6, a client that is served.
    pub(super) fn served_over_ipv6(hook: Hook) -> (Self, u8, i64, i64) {
        let mut rig = Self::new(hook);
        rig.six = true;
        for backend in &mut rig.maps.backends {
            backend.address = six(backend.address.last());
        }
        rig.connect();
        let (index, client, director) = rig.serve();
        (rig, index, client, director)
    }

    /// The same with pools of so many legs.
    pub(super) fn pooling(hook: Hook, limit: u32) -> Self {
        let mut rig = Self::new(hook);
        for policy in &mut rig.maps.policies {
            (policy.flags, policy.pool_limit) = (POLICY_POOL, limit);
        }
        rig
    }

    /// The state of the present client's flow, copied.
    pub(super) fn flow(&self) -> Flow {
        let port = self.client_port.to_be_bytes();
        self.maps.flows.iter().map(|flow| *flow.borrow()).find(|flow| flow.key.client_port == port).unwrap()
    }

    /// Idle legs to a backend, of whatever class.
    pub(super) fn pooled(&self, index: u8) -> u32 {
        let pools = pool(u32::from(index), 0)..pool(u32::from(index) + 1, 0);
        pools.map(|at| PoolWord(self.maps.pools[at as usize].get()).count()).sum()
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
        let mut bytes = if self.six { tcp.frame6() } else { tcp.frame() };
        let damaged = self.damage.take();
        if let Some(at) = damaged {
            let place = if at < 0 { bytes.len() as isize + at } else { at };
            bytes[place as usize] ^= 4;
        }
        let mut frame = self.both_ways(&bytes, self.hook == Hook::Tc);
        if self.verdict == Verdict::NeedsGrowth {
            assert_eq!(self.hook, Hook::Xdp, "TC has nobody above it");
            assert_eq!(frame.bytes, bytes, "what goes up is as it came");
            // TC sees it for the first time.
            frame = self.both_ways(&bytes, true);
            assert_ne!(self.verdict, Verdict::NeedsGrowth);
        }
        self.went_short += usize::from(frame.went_short);
        assert_ne!(self.verdict, Verdict::Unwritable, "{tcp:?}");
        books::balance(&self.maps);
        if damaged.is_some() {
            self.left_damaged = frame.copies;
            if self.verdict.action() == crate::verdict::Action::Send {
                self.left_damaged.push(frame.bytes);
            }
            return Vec::new();
        }
        let mut out: Vec<Tcp> = frame.copies.iter().map(|copy| Tcp::read(copy)).collect();
        if self.verdict.action() == crate::verdict::Action::Send {
            out.push(Tcp::read(&frame.bytes));
        }
        out
    }

    /// The frame, directed. What went the short way is sent the long one as well, and has to come out alike.
    fn both_ways(&mut self, bytes: &[u8], can_grow: bool) -> VecFrame {
        let flows = || self.maps.flows.iter().map(|flow| *flow.borrow()).collect::<Vec<_>>();
        let before = flows();
        let mut frame = VecFrame::new(bytes.to_vec());
        frame.can_grow = can_grow;
        self.verdict = direct(&self.maps, &mut frame, &mut self.work);
        if !frame.went_short {
            return frame;
        }
        let after = flows();
        for (flow, before) in self.maps.flows.iter().zip(before) {
            *flow.borrow_mut() = before;
        }
        let (verdict, egress) = (self.verdict, self.work.egress);
        let mut other = VecFrame::new(bytes.to_vec());
        (other.can_grow, other.long) = (can_grow, true);
        self.verdict = direct(&self.maps, &mut other, &mut self.work);
        assert_eq!(self.verdict, verdict);
        assert_eq!(other.bytes, frame.bytes);
        assert!(verdict.action() != crate::verdict::Action::Send || self.work.egress == egress);
        assert_eq!(format!("{:?}", flows()), format!("{after:?}"));
        frame
    }

    /// Releases what an errand's flow holds: the frames that come in. `None` if it holds nothing.
    pub(super) fn releases(&mut self, errand: Errand) -> Option<Vec<Vec<u8>>> {
        let mut frame = VecFrame::new(vec![0; 128]);
        self.work.errand = errand;
        self.verdict = release(&self.maps, &mut frame, &mut self.work);
        books::balance(&self.maps);
        (self.verdict == Verdict::Released).then_some(frame.copies)
    }

    /// Frames that come in.
    pub(super) fn comes_in(&mut self, frames: &[Vec<u8>]) -> Vec<Out> {
        let came: Vec<Tcp> = frames.iter().flat_map(|frame| self.put(&Tcp::read(frame))).collect();
        self.relative(came)
    }

    /// A router on the present client's side lets nothing larger than `mtu` pass, and says so of the director's byte `of`. What the one
    /// who is told gets.
    pub(super) fn too_big_for_client(&mut self, of: i64, mtu: u16) -> Option<Told> {
        let seq = self.clients[&self.client_port].director.wrapping_add(of as u32);
        self.route((VIP, 80), (CLIENTS, self.client_port), seq, mtu)
    }

    /// The same on the way to the backend of the present leg, of the client's byte `of`.
    pub(super) fn too_big_for_backend(&mut self, index: u8, of: i64, mtu: u16) -> Option<Told> {
        let seq = self.legs[&self.leg_port].client.wrapping_add(of as u32);
        self.route((SOURCE, self.leg_port), ([10, 0, 2, index], 8080), seq, mtu)
    }

    /// Numbers of both ends as they lie on the wire: the client's of its own byte, and the backend's of its own.
    pub(super) fn wire(&self, client: i64, backend: i64) -> (u32, u32) {
        let (client_end, leg) = (&self.clients[&self.client_port], &self.legs[&self.leg_port]);
        (client_end.client.wrapping_add(client as u32), leg.director.wrapping_add(backend as u32))
    }

    fn route(&mut self, source: ([u8; 4], u16), destination: ([u8; 4], u16), seq: u32, mtu: u16) -> Option<Told> {
        let tcp = Tcp { source, destination, seq, flags: ACK, payload: vec![b'x'; 900], ..Tcp::default() };
        let mut frame = VecFrame::new(too_big::message(&tcp, mtu));
        frame.can_grow = self.hook == Hook::Tc;
        self.verdict = direct(&self.maps, &mut frame, &mut self.work);
        books::balance(&self.maps);
        (self.verdict.action() == crate::verdict::Action::Send).then(|| too_big::read(&frame.bytes))
    }

    /// What becomes of a frame.
    pub(super) fn direct(&mut self, frame: &mut VecFrame) -> Verdict {
        direct(&self.maps, frame, &mut self.work)
    }

    /// What becomes of a frame that is not to be changed.
    pub(super) fn verdict_of(&mut self, bytes: Vec<u8>) -> Verdict {
        let mut frame = VecFrame::new(bytes.clone());
        frame.can_grow = self.hook == Hook::Tc;
        let verdict = direct(&self.maps, &mut frame, &mut self.work);
        assert_eq!(frame.bytes, bytes);
        verdict
    }

    /// In relative numbers, as each one's receiver has them.
    fn relative(&mut self, out: Vec<Tcp>) -> Vec<Out> {
        out.into_iter()
            .map(|tcp| if tcp.source.0 == VIP { self.client_gets(tcp) } else { self.leg_gets(tcp) })
            .collect()
    }

    fn client_gets(&mut self, tcp: Tcp) -> Out {
        assert_eq!((tcp.source, tcp.destination.0), ((VIP, 80), CLIENTS));
        let client = self.clients.get_mut(&tcp.destination.1).unwrap();
        if tcp.flags & SYN != 0 {
            client.director = tcp.seq.wrapping_add(1);
            client.heard = client.director;
        }
        client.receives(&tcp);
        Out::Client(client.relative(tcp.seq, client.director, tcp.ack, client.client, tcp))
    }

    fn leg_gets(&mut self, tcp: Tcp) -> Out {
        assert_eq!((tcp.source.0, tcp.destination.1), (SOURCE, 8080));
        if tcp.flags & SYN != 0 {
            self.leg_port = tcp.source.1;
            let (first, base) = self.begins;
            let isn = backend_isn(self.leg_port);
            let end = End {
                client: tcp.seq.wrapping_add(1).wrapping_sub(first as u32),
                director: isn.wrapping_add(1).wrapping_sub(base as u32),
                heard: tcp.seq.wrapping_add(1),
                said: isn.wrapping_add(1),
                timestamps: option(&tcp.options, 8).is_some(),
                options: tcp.options.clone(),
                ..End::default()
            };
            self.legs.insert(self.leg_port, end);
        }
        let leg = self.legs.get_mut(&tcp.source.1).unwrap();
        leg.receives(&tcp);
        let index = tcp.destination.0[3];
        Out::Leg(index, leg.relative(tcp.seq, leg.client, tcp.ack, leg.director, tcp))
    }

    /// A clock of milliseconds that is `offset` ahead.
    fn clock(&self, offset: u32) -> u32 {
        ((self.maps.now.get() / 1_000_000) as u32).wrapping_add(offset)
    }

    /// A segment of the present client's.
    pub(super) fn client(&mut self, seg: Seg) -> Vec<Out> {
        let out = self.put_client(seg);
        self.relative(out)
    }

    pub(super) fn put_client(&mut self, seg: Seg) -> Vec<Tcp> {
        let clock = self.clock(client_clock(self.client_port));
        let end = self.clients.get_mut(&self.client_port).unwrap();
        let tcp = Tcp {
            source: (CLIENTS, self.client_port),
            destination: (VIP, 80),
            seq: end.client.wrapping_add(seg.from as u32),
            ack: end.director.wrapping_add(seg.acked as u32),
            ..end.segment(seg, clock)
        };
        self.put(&tcp)
    }

    /// Data of the client's, from its byte `from` on, with all up to the director's byte `acked` acknowledged.
    pub(super) fn says(&mut self, from: i64, data: &[u8], acked: i64) -> Vec<Out> {
        self.client(Seg { from, acked, flags: ACK | PSH, data: data.to_vec(), window: 0 })
    }

    /// A segment on the present leg of the backend with this index, in client-visible numbers.
    pub(super) fn backend(&mut self, index: u8, seg: Seg) -> Vec<Out> {
        let out = self.put_backend(index, seg);
        self.relative(out)
    }

    pub(super) fn put_backend(&mut self, index: u8, seg: Seg) -> Vec<Tcp> {
        let clock = self.clock(backend_clock(self.leg_port));
        let end = self.legs.get_mut(&self.leg_port).unwrap();
        let seq = end.director.wrapping_add(seg.from as u32);
        let tcp = Tcp {
            source: ([10, 0, 2, index], 8080),
            destination: (SOURCE, self.leg_port),
            seq,
            ack: end.client.wrapping_add(seg.acked as u32),
            ..end.segment(seg, clock)
        };
        let until = seq.wrapping_add(tcp.payload.len() as u32);
        end.said = end.said.wrapping_add((until.wrapping_sub(end.said) as i32).max(0) as u32);
        self.put(&tcp)
    }

    pub(super) fn answers(&mut self, index: u8, from: i64, data: &[u8], acked: i64) -> Vec<Out> {
        self.backend(index, Seg { from, acked, flags: ACK | PSH, data: data.to_vec(), window: 0 })
    }

    /// The present client connects: SYN, SYN-ACK, ACK.
    pub(super) fn connect(&mut self) {
        self.knocks();
        assert_eq!(self.verdict, Verdict::SynCookie);
        assert_eq!(self.client(Seg::default()), []);
        assert_eq!(self.verdict, Verdict::FlowBegun);
    }

    /// Its SYN, and the answer.
    pub(super) fn knocks(&mut self) -> Vec<Out> {
        let clock = self.clock(client_clock(self.client_port));
        let mut options = vec![2, 4];
        options.extend(self.mss.to_be_bytes());
        options.extend(if self.sack { [4, 2, 1, 1] } else { [1; 4] });
        if self.timestamps {
            options.extend(stamps(clock, 0));
        }
        if let Some(scale) = self.scale {
            options.extend([1, 3, 3, scale]);
        }
        let isn = client_isn(self.client_port);
        let timestamps = self.timestamps;
        let end = End { client: isn.wrapping_add(1), stamped: clock, timestamps, ..End::default() };
        self.clients.insert(self.client_port, end);
        let syn = Tcp {
            source: (CLIENTS, self.client_port),
            destination: (VIP, 80),
            seq: isn,
            flags: SYN,
            window: 64_000,
            options,
            ..Tcp::default()
        };
        let out = self.put(&syn);
        self.relative(out)
    }

    /// A segment in the present client's name, with numbers that somebody else made up.
    pub(super) fn forges(&mut self, seq: Seq, ack: Seq, data: &[u8]) -> Vec<Out> {
        let tcp = Tcp {
            source: (CLIENTS, self.client_port),
            destination: (VIP, 80),
            seq: seq.0,
            ack: ack.0,
            flags: ACK | PSH,
            window: 500,
            payload: data.to_vec(),
            ..Tcp::default()
        };
        let out = self.put(&tcp);
        self.relative(out)
    }

    /// Another client connects, and is the present one; its port.
    pub(super) fn connect_another(&mut self) -> u16 {
        self.client_port = FIRST_CLIENT + self.clients.len() as u16;
        self.connect();
        self.client_port
    }

    /// A request that opens a leg: answers the index of the backend that gets the SYN. `from` and `acked` as in
    /// [`Rig::says`].
    pub(super) fn opens(&mut self, from: i64, data: &[u8], acked: i64) -> u8 {
        self.begins = (from, acked);
        let out = self.says(from, data, acked);
        let Some(Out::Leg(index, seg)) = out.last() else { panic!("{:?}: {out:?}", self.verdict) };
        assert_eq!((seg.flags, seg.from), (SYN, from - 1), "{:?}", self.verdict);
        *index
    }

    /// A request that goes out on an idle leg, which is the present one from then on: what leaves. `from` and `acked` as in
    /// [`Rig::says`].
    pub(super) fn takes(&mut self, from: i64, data: &[u8], acked: i64) -> Vec<Out> {
        self.begins = (from, acked);
        let seg = Seg { from, acked, flags: ACK | PSH, data: data.to_vec(), window: 0 };
        let out = self.put_client(seg);
        assert_eq!(self.verdict, Verdict::RequestPooled);
        let first = out.iter().find(|tcp| tcp.flags & RST == 0).unwrap();
        self.leg_port = first.source.1;
        let leg = self.legs.get_mut(&self.leg_port).unwrap();
        assert_eq!((first.seq, first.ack), (leg.heard, leg.said), "the leg goes on where it was");
        leg.client = first.seq.wrapping_sub(from as u32);
        leg.director = first.ack.wrapping_sub(acked as u32);
        self.relative(out)
    }

    /// The backend's SYN-ACK, which agrees to what was offered; what leaves the stash.
    pub(super) fn accepts(&mut self, index: u8) -> Vec<Out> {
        let clock = self.clock(backend_clock(self.leg_port));
        let leg = self.legs.get_mut(&self.leg_port).unwrap();
        let mut options = vec![2, 4, 5, 180];
        options.extend(if option(&leg.options, 4).is_some() { [4, 2, 1, 1] } else { [1; 4] });
        if leg.timestamps {
            leg.stamped = clock;
            options.extend(stamps(clock, leg.seen));
        }
        if option(&leg.options, 3).is_some() {
            options.extend([1, 3, 3, self.backend_scale]);
        }
        let tcp = Tcp {
            source: ([10, 0, 2, index], 8080),
            destination: (SOURCE, self.leg_port),
            seq: leg.said.wrapping_sub(1),
            ack: leg.heard,
            flags: SYN | ACK,
            window: 64_000,
            options,
            payload: Vec::new(),
        };
        let out = self.put(&tcp);
        self.relative(out)
    }

    /// The last bytes that left for the present leg were lost.
    pub(super) fn loses(&mut self, bytes: i64) {
        let leg = self.legs.get_mut(&self.leg_port).unwrap();
        leg.heard = leg.heard.wrapping_sub(bytes as u32);
    }

    /// The present client's connection with its first request answered on a new leg: the backend, and the first bytes that
    /// come next of either side.
    pub(super) fn serve(&mut self) -> (u8, i64, i64) {
        let request = get("");
        let index = self.opens(0, &request, 0);
        let out = self.accepts(index);
        assert_eq!(self.verdict, Verdict::LegUp);
        assert_eq!(data(&out), request);
        let (client, director) = (request.len() as i64, response("", 10).len() as i64);
        let out = self.answers(index, 0, &response("", 10), client);
        assert_eq!(out.len(), 1, "{:?}", self.verdict);
        assert_eq!(self.flow().outstanding, 0);
        self.client(Seg { from: client, acked: director, ..Seg::default() });
        assert_eq!(self.verdict, Verdict::ToBackend);
        (index, client, director)
    }

    /// The present client, which has had all of its answers, closes its side.
    pub(super) fn closes(&mut self, from: i64, acked: i64) -> Vec<Out> {
        self.client(Seg { from, acked, flags: FIN | ACK, ..Seg::default() })
    }

    /// A client that is served.
    pub(super) fn served(hook: Hook) -> (Self, u8, i64, i64) {
        let mut rig = Self::new(hook);
        rig.connect();
        let (index, client, director) = rig.serve();
        (rig, index, client, director)
    }
}

impl End {
    /// The director's segment comes here, as it lies on the wire.
    fn receives(&mut self, tcp: &Tcp) {
        let until = tcp.seq.wrapping_add(tcp.payload.len() as u32);
        self.heard = self.heard.wrapping_add((until.wrapping_sub(self.heard) as i32).max(0) as u32);
        let Some(stamp) = option(&tcp.options, 8) else { return };
        let word = |at: usize| u32::from_be_bytes(stamp[at..at + 4].try_into().unwrap());
        let (clock, echo) = (word(0), word(4));
        if tcp.flags & SYN == 0 {
            assert!(clock.wrapping_sub(self.seen) as i32 >= 0, "a clock that goes back is dropped (PAWS): {tcp:?}");
        }
        if tcp.flags & ACK != 0 {
            assert!(self.stamped.wrapping_sub(echo) as i32 >= 0, "an echo of what was never said: {tcp:?}");
        }
        self.seen = clock;
    }

    /// The segment in relative numbers, given where its own lie.
    fn relative(&self, seq: u32, from: u32, ack: u32, acked: u32, tcp: Tcp) -> Seg {
        Seg {
            from: i64::from(seq.wrapping_sub(from) as i32),
            acked: i64::from(ack.wrapping_sub(acked) as i32),
            flags: tcp.flags,
            data: tcp.payload,
            window: tcp.window,
        }
    }

    /// A segment of this end's, but for addresses and numbers.
    fn segment(&mut self, seg: Seg, clock: u32) -> Tcp {
        self.stamped = clock;
        Tcp {
            flags: if seg.flags == 0 { ACK } else { seg.flags },
            window: if seg.window == 0 { 500 } else { seg.window },
            options: if self.timestamps { stamps(clock, self.seen) } else { Vec::new() },
            payload: seg.data,
            ..Tcp::default()
        }
    }
}

/// Clients and legs differ in their numbers and clocks: each client is behind the last, each leg ahead.
fn client_isn(port: u16) -> u32 {
    0xffff_ff00u32.wrapping_add(u32::from(port - FIRST_CLIENT).wrapping_mul(0x1234_5678))
}

fn client_clock(port: u16) -> u32 {
    1000u32.wrapping_add(u32::from(port - FIRST_CLIENT).wrapping_mul(0x9876_5432))
}

fn backend_isn(port: u16) -> u32 {
    0x7fff_fff0u32.wrapping_add((u32::from(port) - FIRST_PORT).wrapping_mul(0x3579_8642))
}

fn backend_clock(port: u16) -> u32 {
    500_000u32.wrapping_add((u32::from(port) - FIRST_PORT).wrapping_mul(0x6789_4321))
}

/// The timestamp option.
fn stamps(clock: u32, echo: u32) -> Vec<u8> {
    [&[1, 1, 8, 10][..], &clock.to_be_bytes(), &echo.to_be_bytes()].concat()
}

/// What an option of this kind says.
fn option(options: &[u8], kind: u8) -> Option<&[u8]> {
    match options {
        [1, rest @ ..] => option(rest, kind),
        [found, len, rest @ ..] if *found == kind => rest.get(..usize::from(*len) - 2),
        [_, len, ..] => option(&options[usize::from(*len)..], kind),
        _ => None,
    }
}
