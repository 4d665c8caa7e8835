//! What the tests of the core share: a CPU, a frame and maps made of vectors, and packets made and read by etherparse, which
//! is nobody's relative here.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::HashMap;

use etherparse::{SlicedPacket, TcpHeader, TransportSlice};

use crate::decide::Backends;
use crate::host::{Entered, Machine, Maps};
use crate::layout::{
    Address, BACKEND_UP, BACKEND_USED, BUCKET_WAYS, Backend, Bucket, Buffer, Entry, FAMILIES, Flow, FlowKey, Globals,
    Hands, Hints, Key, LEG_CLASSES, Leg, LegSlot, Listener, ListenerKey, MAX_SOURCES, MAX_VERSIONS, Name, Outcomes,
    Pin, PinEvent, PinKey, Policy, REMEMBERED, Remembered, RuleSet, SessionRule, SourceKey, Stash, Traffic,
    VERSION_BACKENDS, VERSION_SERVES, VersionPolicy, hint_buckets,
};
use crate::net::{Crafted, Egress, FRONT, Frame, HEADERS, HEADERS_SYN, HEADERS_TS, Hop, sum_bytes, update};
use crate::pins::Pins;
pub(crate) use crate::plain::Plain;
use crate::sessions::Table;
use crate::splice::Now;
use crate::verdict::{COUNTERS, Note, Verdict};
use crate::work::Work;

/// A frame that is a vector. A look beyond its end panics, where a hook would answer with an error or with a neighbour's
/// bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct VecFrame {
    pub(crate) bytes: Vec<u8>,
    /// TC, not XDP.
    pub(crate) can_grow: bool,
    /// What left before the frame itself.
    pub(crate) copies: Vec<Vec<u8>>,
    /// There is no route to anywhere.
    pub(crate) routeless: bool,
    /// A VLAN's tag came beside the frame.
    pub(crate) tagged: bool,
    /// It is not to go the short way; and whether it went there.
    pub(crate) long: bool,
    pub(crate) went_short: bool,
    base: usize,
}

impl VecFrame {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, can_grow: true, ..Self::default() }
    }
}

impl Frame for VecFrame {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }
    fn ingress(&self) -> Egress {
        Egress { interface: 7, flags: 0 }
    }
    fn tagged(&self) -> bool {
        self.tagged
    }
    fn base(&self) -> u32 {
        self.base as u32
    }
    fn rebase(&mut self, base: u32) -> bool {
        self.base = base as usize;
        true
    }
    fn front(&mut self) -> Option<&mut [u8; FRONT]> {
        self.bytes.first_chunk_mut()
    }
    fn headers(&mut self) -> Option<&mut [u8; HEADERS]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }
    fn headers_ts(&mut self) -> Option<&mut [u8; HEADERS_TS]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }
    fn headers_syn(&mut self) -> Option<&mut [u8; HEADERS_SYN]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }
    fn short<M: Maps>(
        &mut self,
        maps: &M,
        work: &mut Work,
        flow: &mut Flow,
        of_leg: bool,
        now: Now,
    ) -> Option<Verdict> {
        let verdict = if self.long { None } else { crate::splice::short(maps, self, work, flow, of_leg, now) };
        self.went_short = verdict.is_some();
        verdict
    }
    fn load8(&self, at: u32) -> Option<[u8; 8]> {
        Some(self.bytes[self.base + at as usize..][..8].try_into().unwrap())
    }
    fn store8(&mut self, at: u32, bytes: [u8; 8]) -> bool {
        self.bytes[self.base + at as usize..][..8].copy_from_slice(&bytes);
        true
    }
    fn load_address(&self, at: u32, address: &mut Address) -> bool {
        let Some(bytes) = self.bytes.get(self.base + at as usize..).and_then(<[u8]>::first_chunk) else { return false };
        *address = Address::from_bytes(*bytes);
        true
    }
    fn store_address(&mut self, at: u32, address: &Address) -> bool {
        let Some(place) = self.bytes.get_mut(self.base + at as usize..).and_then(<[u8]>::first_chunk_mut) else {
            return false;
        };
        *place = (*address).into();
        true
    }
    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool {
        assert!((1..=40).contains(&len), "{len} bytes of options");
        options[..len as usize].copy_from_slice(&self.bytes[self.base + HEADERS..][..len as usize]);
        true
    }
    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool {
        assert!(len != 0 && (pos + len) as usize <= crate::layout::BUFFER_BYTES, "{len} bytes at {pos} of a buffer");
        buffer.fill(pos, &self.bytes[self.base + at as usize..][..len as usize]);
        true
    }
    fn update_checksums(&mut self, addresses: u64, tcp: u64) -> bool {
        let sums = [(self.base == 0).then_some((24, addresses)), Some((self.base + 50, addresses + tcp))];
        for (at, diff) in sums.into_iter().flatten() {
            let check = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
            self.bytes[at..at + 2].copy_from_slice(&update(check, diff).to_ne_bytes());
        }
        true
    }
    fn sum(&mut self, at: u32, len: u32, _: &mut Buffer) -> Option<u64> {
        self.bytes.get(self.base + at as usize..)?.get(..len as usize).map(sum_bytes)
    }
    fn truncate(&mut self, len: u32) -> bool {
        self.bytes.truncate(len as usize);
        true
    }
    fn can_grow(&self) -> bool {
        self.can_grow
    }
    fn rebuild(&mut self, header: &Crafted, payload: Option<(&Buffer, u32, u32)>) -> bool {
        assert!(self.can_grow || (payload.is_none() && header.len <= self.len()), "XDP cannot do that");
        self.bytes = header.bytes[..header.len as usize].to_vec();
        if let Some((buffer, pos, len)) = payload {
            self.bytes.extend((pos..pos + len).map(|at| buffer.byte(at)));
        }
        true
    }
    fn send_copy(&mut self, _to: Egress) -> bool {
        assert!(self.can_grow, "XDP cannot do that");
        self.copies.push(self.bytes.clone());
        true
    }
    fn route(&mut self, _source: &Address, destination: &Address, hop: &mut Hop) -> bool {
        let macs = [destination.last()[3]; 12];
        if !self.routeless {
            *hop = Hop { egress: Egress { interface: 9, flags: 0 }, macs };
        }
        !self.routeless
    }
}

/// A TCP segment in an Ethernet frame, as the tests speak of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(crate) source: ([u8; 4], u16),
    pub(crate) destination: ([u8; 4], u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// As they lie in the header; a multiple of four bytes.
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
}

impl Tcp {
    /// The frame, with right checksums.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let mut header = self.header();
        let len = header.header_len() + self.payload.len();
        let mut ip = etherparse::Ipv4Header::new(
            len.try_into().unwrap(),
            64,
            etherparse::IpNumber::TCP,
            self.source.0,
            self.destination.0,
        )
        .unwrap();
        ip.header_checksum = ip.calc_header_checksum();
        header.checksum = header.calc_checksum_ipv4(&ip, &self.payload).unwrap();
        let mut bytes = vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0];
        ip.write(&mut bytes).unwrap();
        header.write(&mut bytes).unwrap();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// The same over IPv6, of the addresses that [stand for](six) these; of a traffic class and a flow label of its own.
    pub(crate) fn frame6(&self) -> Vec<u8> {
        let mut header = self.header();
        let ip = etherparse::Ipv6Header {
            traffic_class: CLASS,
            flow_label: LABEL.try_into().unwrap(),
            payload_length: (header.header_len() + self.payload.len()).try_into().unwrap(),
            next_header: etherparse::IpNumber::TCP,
            hop_limit: 64,
            source: six(self.source.0).into(),
            destination: six(self.destination.0).into(),
        };
        header.checksum = header.calc_checksum_ipv6(&ip, &self.payload).unwrap();
        let mut bytes = vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x86, 0xdd];
        ip.write(&mut bytes).unwrap();
        header.write(&mut bytes).unwrap();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    fn header(&self) -> TcpHeader {
        let mut header = TcpHeader::new(self.source.1, self.destination.1, self.seq, self.window);
        header.acknowledgment_number = self.ack;
        let has = |bit: u8| self.flags & bit != 0;
        (header.fin, header.syn, header.rst) = (has(1), has(2), has(4));
        (header.psh, header.ack) = (has(8), has(16));
        header.set_options_raw(&self.options).unwrap();
        header
    }

    /// Reads a frame; panics if it is malformed or a checksum is wrong.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let packet = SlicedPacket::from_ethernet(bytes).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("not TCP: {bytes:?}") };
        let header = tcp.to_header();
        let (source, destination, checksum) = match &packet.net {
            Some(etherparse::NetSlice::Ipv4(ip)) => {
                let ip = ip.header().to_header();
                assert_eq!(usize::from(ip.total_len) + 14, bytes.len(), "the IPv4 header's length");
                assert_eq!(ip.header_checksum, ip.calc_header_checksum(), "the IPv4 header's checksum");
                (ip.source, ip.destination, header.calc_checksum_ipv4(&ip, tcp.payload()))
            }
            Some(etherparse::NetSlice::Ipv6(ip)) => {
                let ip = ip.header().to_header();
                assert_eq!(usize::from(ip.payload_length) + 54, bytes.len(), "the IPv6 header's length");
                let [source, destination] = [ip.source, ip.destination].map(|address| {
                    let address = Address::from_bytes(address);
                    assert_eq!(six(address.last()), address);
                    address.last()
                });
                (source, destination, header.calc_checksum_ipv6(&ip, tcp.payload()))
            }
            _ => panic!("neither IPv4 nor IPv6: {bytes:?}"),
        };
        assert_eq!(header.checksum, checksum.unwrap(), "the TCP checksum");
        let bits = [header.fin, header.syn, header.rst, header.psh, header.ack];
        Self {
            source: (source, header.source_port),
            destination: (destination, header.destination_port),
            seq: header.sequence_number,
            ack: header.acknowledgment_number,
            flags: bits.iter().rev().fold(0, |flags, bit| flags << 1 | u8::from(*bit)),
            window: header.window_size,
            options: tcp.options().to_vec(),
            payload: tcp.payload().to_vec(),
        }
    }
}

/// The traffic class and the flow label of IPv6 frames.
pub(crate) const CLASS: u8 = 0xab;
pub(crate) const LABEL: u32 = 0x4_5678;

/// The IPv6 address that stands for an IPv4 address where a test runs over IPv6: fd00:1::4 bytes.
pub(crate) fn six([a, b, c, d]: [u8; 4]) -> Address {
    Address::from_bytes([0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

/// An empty version's policy, with these backends.
pub(crate) fn version(generation: u32, backends: &[u16]) -> VersionPolicy {
    let mut list = [0; VERSION_BACKENDS];
    list[..backends.len()].copy_from_slice(backends);
    let flags = VERSION_SERVES;
    VersionPolicy { generation, flags, backend_count: backends.len() as u32, birth: generation, backends: list }
}

/// A policy with these versions, of which the first is active and the fallback.
pub(crate) fn policy(versions: &[VersionPolicy]) -> Policy {
    let mut list = [VersionPolicy::NONE; MAX_VERSIONS as usize];
    list[..versions.len()].copy_from_slice(versions);
    let name = |text: &str| Name::new(text.as_bytes()).unwrap();
    let rule = SessionRule::new(name("JSESSIONID"), name("jsessionid"));
    Policy { generation: 1, versions: list, ..Policy::new(rule) }
}

/// A backend that takes work, at 10.0.2.`index`:8080.
pub(crate) fn backend(index: u8, weight: u32) -> Backend {
    Backend {
        address: Address::v4([10, 0, 2, index]),
        port: 8080u16.to_be_bytes(),
        zero: [0; 6],
        flags: BACKEND_UP | BACKEND_USED,
        weight,
        shunned_until: Cell::new(0),
        legs: Cell::new(0),
        failures: Cell::new(0),
    }
}

/// The director's address for clients, and for its legs.
pub(crate) const VIP: [u8; 4] = [10, 0, 1, 1];
pub(crate) const SOURCE: [u8; 4] = [10, 0, 2, 254];

/// Maps of vectors: one service, and perhaps a neighbour, on one listener.
pub(crate) struct TestMaps {
    pub(crate) globals: Globals,
    pub(crate) hands: Hands,
    pub(crate) listener: Listener,
    pub(crate) word: Cell<u64>,
    /// What the word becomes when it has been read so often.
    pub(crate) word_changes: Cell<Option<(u32, u64)>>,
    pub(crate) policies: Vec<Policy>,
    pub(crate) listener_word: Cell<u64>,
    pub(crate) rules: Option<Box<RuleSet>>,
    pub(crate) backends: Vec<Backend>,
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) traffic: Vec<Traffic>,
    pub(crate) outcomes: Vec<Outcomes>,
    pub(crate) keys: RefCell<HashMap<FlowKey, u32>>,
    pub(crate) hints: Vec<Hints>,
    pub(crate) flows: Vec<RefCell<Flow>>,
    pub(crate) stashes: Vec<RefCell<Stash>>,
    pub(crate) leg_owners: Vec<Cell<u64>>,
    pub(crate) legs: Vec<RefCell<LegSlot>>,
    pub(crate) pools: Vec<Cell<u64>>,
    pub(crate) now: Cell<u64>,
    pub(crate) counters: Vec<Cell<u64>>,
    pub(crate) pins: Vec<(PinKey, Pin)>,
    pub(crate) source_pins: Vec<Pin>,
    pub(crate) told: RefCell<Vec<PinEvent>>,
    pub(crate) held: RefCell<Vec<u32>>,
}

impl TestMaps {
    pub(crate) fn new(policy: Policy, backends: Vec<Backend>) -> Self {
        let key = |k0| Key { k0, k1: 77 };
        let mut sources = [[Address::NONE; MAX_SOURCES]; FAMILIES];
        (sources[0][0], sources[1][0]) = (SOURCE.into(), six(SOURCE));
        let globals = Globals {
            session_key: key(1),
            cookie_key: key(2),
            isn_key: key(3),
            flows: 4,
            stashes: 4,
            bucket_mask: 15,
            source_count: [1, 1],
            flow_idle_seconds: 600,
            sources,
        };
        let zero = || Cell::new(0);
        let stash = || RefCell::new(Stash { owner: zero(), data: Buffer::new() });
        let leg = || LegSlot { below: zero(), reached: zero(), leg: Leg::default() };
        let pools = backends.len() * LEG_CLASSES as usize;
        let traffic = Traffic { in_flight: zero(), requests: zero(), issued: zero(), flows: zero(), born: zero() };
        Self {
            globals,
            hands: Hands { flow: zero(), stash: zero(), reset_budget: zero(), leg: zero() },
            listener: Listener { service: 0, offers: 7, mss: 1460, scale: 7 },
            word: Cell::new(crate::layout::ServiceWord::new(0, 1).0),
            word_changes: Cell::new(None),
            policies: vec![policy; 4],
            listener_word: Cell::new(0),
            rules: None,
            backends,
            buckets: buckets(16),
            traffic: vec![traffic; 2 * MAX_VERSIONS as usize],
            outcomes: vec![Outcomes::default(); 2 * MAX_VERSIONS as usize],
            keys: RefCell::default(),
            hints: vec![Hints::default(); hint_buckets(globals.flows) as usize],
            flows: (0..globals.flows).map(|_| RefCell::default()).collect(),
            stashes: (0..globals.stashes).map(|_| stash()).collect(),
            leg_owners: vec![Cell::new(0); globals.flows as usize],
            legs: (0..globals.flows).map(|_| RefCell::new(leg())).collect(),
            pools: vec![Cell::new(0); pools],
            now: Cell::new(5_000_000_000_000),
            counters: vec![Cell::new(0); COUNTERS as usize],
            pins: Vec::new(),
            source_pins: Vec::new(),
            told: RefCell::default(),
            held: RefCell::default(),
        }
    }

    /// Forgets all connections' keys.
    pub(crate) fn leave_all(&self) {
        self.keys.borrow_mut().clear();
    }

    /// How often something was noticed.
    pub(crate) fn noted(&self, note: Note) -> u64 {
        self.counters[note.counter() as usize].get()
    }
}

/// An empty session table.
pub(crate) fn buckets(count: usize) -> Vec<Bucket> {
    let zero = || Cell::new(0);
    let entry = Entry { tag: zero(), binding: zero(), times: zero(), bucket_hash: zero() };
    let entries: [Entry; BUCKET_WAYS] = std::array::from_fn(|_| entry.clone());
    vec![Bucket { entries }; count]
}

impl Machine for TestMaps {
    type Cpu = Plain;
}

impl Backends for TestMaps {
    fn backend(&self, id: u32) -> Option<&Backend> {
        self.backends.get(id as usize)
    }
}

impl Table for TestMaps {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        self.buckets.get(index as usize)
    }
}

impl Pins for TestMaps {
    fn pin(&self, key: &PinKey) -> Option<&Pin> {
        self.pins.iter().find(|(other, _)| other == key).map(|(_, pin)| pin)
    }
    fn source_pin(&self, key: &SourceKey) -> Option<&Pin> {
        // The tests' networks do not overlap.
        let inside = |pin: &Pin| key.address.and(&pin.mask) == pin.network;
        self.source_pins.iter().find(|pin| inside(pin))
    }
}

impl Maps for TestMaps {
    type Flow<'a> = RefMut<'a, Flow>;
    type Stash<'a> = RefMut<'a, Stash>;
    type Leg<'a> = RefMut<'a, LegSlot>;

    fn globals(&self) -> Option<&Globals> {
        Some(&self.globals)
    }
    fn hands(&self) -> Option<&Hands> {
        Some(&self.hands)
    }
    fn role(&self, _: &mut [Remembered; REMEMBERED], address: &Address) -> Option<u32> {
        match *address {
            vip if vip == VIP.into() || vip == six(VIP) => Some(crate::layout::ROLE_LISTENER),
            source if source == SOURCE.into() || source == six(SOURCE) => Some(crate::layout::ROLE_SOURCE),
            _ => None,
        }
    }
    fn listener(&self, key: &ListenerKey) -> Option<&Listener> {
        (key.port == 80u16.to_be_bytes()).then_some(&self.listener)
    }
    fn service_word(&self, service: u32) -> u64 {
        if service != 0 {
            // Of a neighbour: its policy lies in the block of its number.
            return crate::layout::ServiceWord::new(service, 1).0;
        }
        if let Some((reads, then)) = self.word_changes.get() {
            if reads == 0 {
                self.word.set(then);
                self.word_changes.set(None);
            } else {
                self.word_changes.set(Some((reads - 1, then)));
            }
        }
        self.word.get()
    }
    fn policy(&self, block: u32) -> Option<&Policy> {
        self.policies.get(block as usize)
    }
    fn listener_word(&self, _index: u32) -> u64 {
        self.listener_word.get()
    }
    fn rules(&self, _block: u32) -> Option<&RuleSet> {
        self.rules.as_deref()
    }
    fn traffic(&self, index: u32) -> Option<&Traffic> {
        self.traffic.get(index as usize)
    }
    fn outcomes(&self, index: u32) -> Option<&Outcomes> {
        self.outcomes.get(index as usize)
    }
    fn flow_slot(&self, key: &FlowKey) -> Option<u32> {
        self.keys.borrow().get(key).copied()
    }
    fn hints(&self, bucket: u32) -> Option<&Hints> {
        self.hints.get(bucket as usize)
    }
    fn seems(&self, slot: u32, key: &FlowKey) -> bool {
        self.flows.get(slot as usize).is_some_and(|flow| flow.borrow().is_live_of(key))
    }
    fn enter(&self, key: &FlowKey, slot: u32) -> Entered {
        let mut keys = self.keys.borrow_mut();
        if keys.contains_key(key) {
            return Entered::Exists;
        }
        keys.insert(*key, slot);
        Entered::Done
    }
    fn leave(&self, key: &FlowKey, slot: u32) {
        if self.flow_slot(key) == Some(slot) {
            self.keys.borrow_mut().remove(key);
        }
    }
    fn flow(&self, slot: u32) -> Option<RefMut<'_, Flow>> {
        Some(self.flows.get(slot as usize)?.try_borrow_mut().expect("a packet locks its flow once"))
    }
    fn stash(&self, index: u32) -> Option<RefMut<'_, Stash>> {
        Some(self.stashes.get(index as usize)?.try_borrow_mut().expect("a packet takes its stash once"))
    }
    fn leg_owner(&self, slot: u32) -> Option<&Cell<u64>> {
        self.leg_owners.get(slot as usize)
    }
    fn leg(&self, slot: u32) -> Option<RefMut<'_, LegSlot>> {
        Some(self.legs.get(slot as usize)?.try_borrow_mut().expect("a packet takes a leg's slot once at a time"))
    }
    fn pool(&self, index: u32) -> Option<&Cell<u64>> {
        self.pools.get(index as usize)
    }
    fn keep_held(&self, slot: u32) {
        self.held.borrow_mut().push(slot);
    }
    fn tell(&self, event: &PinEvent) {
        self.told.borrow_mut().push(*event);
    }
    fn now(&self) -> u64 {
        self.now.get()
    }
    fn note(&self, counter: u32) {
        let counter = &self.counters[counter as usize];
        counter.set(counter.get() + 1);
    }
}
