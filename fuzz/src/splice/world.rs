//! The director between its clients and backends: the core on the simulation's maps and frames.

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use balancer_ebpf::layout::{
    Address, BACKEND_UP, BACKEND_USED, Backend, FAMILIES, Globals, Key, Listener, ListenerKey, MAX_SOURCES, OFFER_SACK,
    OFFER_SCALE, OFFER_TIMESTAMPS, POLICY_POOL, Policy, ROLE_LISTENER, ROLE_SOURCE, ServiceWord, VERSION_BACKENDS,
    VERSION_SERVES, VersionPolicy,
};
use balancer_ebpf::net::{ACK, Egress, FIN, Hop, PSH, SYN};
use balancer_ebpf::splice;
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_ebpf::work::Work;
use balancer_sim::edge::{Kind, SimFrame, SimMaps};
use balancer_sim::{Mutation, audit};

use super::end::{End, Seen, mend};
use crate::stream::rule;

/// Slots of flows.
pub const FLOWS: u32 = 4;
/// Backends, half of which are each version's.
pub const BACKENDS: usize = 4;
/// Clients who come and go, besides newcomers.
const CLIENTS: usize = 2;
const PORT: u16 = 40_000;

/// Interfaces.
const FRONT: u32 = 1;
const BACK: u32 = 2;

/// Bits of what a world is like.
const SIX: u8 = 1;
const XDP: u8 = 2;
const POOLS: u8 = 4;

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Backend,
}

pub struct World {
    maps: SimMaps,
    work: Box<Work>,
    routes: Vec<(Address, Hop)>,
    kind: u8,
    clients: Vec<End>,
    /// Every leg that was opened, the present one of a port last.
    legs: Vec<End>,
    /// Of the next packet: which byte changes, and how, and whether its checksums are made right.
    pub damage: Option<(u16, u8, bool)>,
    /// Of the last packet.
    pub verdict: Verdict,
}

fn address(kind: u8, bytes: [u8; 4]) -> IpAddr {
    let [a, b, c, d] = bytes.map(u16::from);
    if kind & SIX != 0 { Ipv6Addr::new(0xfd00, 1, 2, 3, a, b, c, d).into() } else { Ipv4Addr::from(bytes).into() }
}

fn policy(kind: u8) -> Policy {
    let mut policy = Policy { generation: 1, ..Policy::new(rule()) };
    for version in 0..2 {
        let mut backends = [0; VERSION_BACKENDS];
        backends[..2].copy_from_slice(&[version as u16 * 2, version as u16 * 2 + 1]);
        let (generation, flags) = (10 + version, VERSION_SERVES);
        policy.versions[version as usize] =
            VersionPolicy { generation, flags, backend_count: 2, birth: generation, backends };
    }
    (policy.flags, policy.pool_limit) = if kind & POOLS != 0 { (POLICY_POOL, 2) } else { (0, 0) };
    policy
}

impl World {
    pub fn new(kind: u8) -> Self {
        let [vip, source] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|bytes| Address::from(address(kind, bytes)));
        let mut sources = [[Address::NONE; MAX_SOURCES]; FAMILIES];
        sources[usize::from(kind & SIX)][0] = source;
        let key = |k0| Key { k0, k1: 77 };
        let globals = Globals {
            session_key: key(1),
            cookie_key: key(2),
            isn_key: key(3),
            flows: FLOWS,
            stashes: 4,
            bucket_mask: 15,
            source_count: [u32::from(kind & SIX == 0), u32::from(kind & SIX)],
            flow_idle_seconds: 600,
            sources,
        };
        let listener =
            Listener { service: 0, offers: OFFER_SACK | OFFER_SCALE | OFFER_TIMESTAMPS, mss: 1460, scale: 7 };
        let key = ListenerKey { address: vip, port: 80u16.to_be_bytes(), zero: [0; 2] };
        let roles = vec![(vip, ROLE_LISTENER), (source, ROLE_SOURCE)];
        let mut maps = SimMaps::new(globals, roles, (key, listener), policy(kind));
        maps.word.set(ServiceWord::new(0, 1).0);
        maps.now.set(5_000_000_000_000);
        let aim = |index: usize| address(kind, [10, 2, 0, index as u8 + 1]);
        maps.backends = (0..BACKENDS).map(|index| Backend::up(aim(index).into(), 8080)).collect();
        let hop = |index: usize| Hop { egress: Egress { interface: BACK, flags: 0 }, macs: [index as u8; 12] };
        let routes = (0..BACKENDS).map(|index| (aim(index).into(), hop(index))).collect();
        let mut world = Self {
            maps,
            work: balancer_sim::work(),
            routes,
            kind,
            clients: vec![],
            legs: vec![],
            damage: None,
            verdict: Verdict::NotOurs,
        };
        for _ in 0..CLIENTS {
            world.newcomer();
        }
        world
    }

    /// Another client: which.
    pub fn newcomer(&mut self) -> usize {
        let index = self.clients.len();
        let own = SocketAddr::new(address(self.kind, [10, 1, 0, 1]), PORT + index as u16);
        let vip = SocketAddr::new(address(self.kind, [10, 0, 0, 1]), 80);
        self.clients.push(End::new(own, vip, (index as u32).wrapping_mul(0x4567_89ab)));
        index
    }

    /// A client begins anew.
    pub fn knock(&mut self, client: usize, options: u8) {
        let client = client % self.clients.len();
        let end = &mut self.clients[client];
        end.next = end.next.wrapping_mul(5).wrapping_add(0x3333_3333);
        (end.options, end.seen) = (options, 0);
        let frame = end.frame(SYN, end.next, 0, &[]);
        end.next = end.next.wrapping_add(1);
        self.carry(FRONT, frame);
    }

    /// A backend answers a SYN, whichever of them.
    pub fn agree(&mut self, leg: usize, options: u8) {
        let Some(end) = nth(&mut self.legs, leg) else { return };
        end.options = options;
        let frame = end.frame(SYN | ACK, end.next.wrapping_sub(1), end.heard, &[]);
        self.carry(BACK, frame);
    }

    /// A segment of one of an end's, whose numbers may be others than the right ones.
    pub fn segment(&mut self, side: Side, who: usize, flags: u8, (seq, ack): (i32, i32), data: &[u8]) {
        let (ends, interface) = match side {
            Side::Client => (&mut self.clients, FRONT),
            Side::Backend => (&mut self.legs, BACK),
        };
        let Some(end) = nth(ends, who) else { return };
        let numbers = (end.next.wrapping_add_signed(seq), end.heard.wrapping_add_signed(ack));
        let frame = end.frame(flags, numbers.0, numbers.1, data);
        if seq == 0 {
            end.next = end.next.wrapping_add(data.len() as u32 + u32::from(flags & FIN != 0));
        }
        self.carry(interface, frame);
    }

    pub fn wait(&mut self, ms: u64) {
        self.maps.now.set(self.maps.now.get() + ms * 1_000_000);
        for end in self.clients.iter_mut().chain(&mut self.legs) {
            end.clock = end.clock.wrapping_add(ms as u32);
        }
    }

    /// Another version is for new sessions from now on; for a second, nobody may have anything.
    pub fn flip(&mut self, active: u32, hold: bool) {
        let until = if hold { self.maps.now.get() / 1_000_000 + 1_000 } else { 0 };
        let word = ServiceWord(self.maps.word.get());
        for policy in &mut self.maps.policies {
            (policy.active, policy.hold_until, policy.generation) = (active, until, word.generation() + 1);
        }
        self.maps.word.set(ServiceWord::new(word.block() ^ 1, word.generation() + 1).0);
    }

    pub fn health(&mut self, backend: usize, up: bool) {
        let backend = &mut self.maps.backends[backend];
        backend.flags = if up { BACKEND_UP | BACKEND_USED } else { BACKEND_USED };
    }

    /// What an end would send next, if it had something to say.
    pub fn next(&mut self, side: Side, who: usize) -> Vec<u8> {
        let end = match side {
            Side::Client => &mut self.clients[who],
            Side::Backend => &mut self.legs[who],
        };
        end.frame(PSH | ACK, end.next, end.heard, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    }

    /// A frame comes in that nobody here has sent.
    pub fn bring(&mut self, side: Side, bytes: Vec<u8>) {
        let sound = Seen::of(&bytes, true).is_ok();
        self.pass(if side == Side::Client { FRONT } else { BACK }, bytes, sound, true);
    }

    /// A frame of one of the ends' comes in, damaged or not.
    fn carry(&mut self, interface: u32, mut bytes: Vec<u8>) {
        let Some((at, bits, mended)) = self.damage.take() else { return self.pass(interface, bytes, true, false) };
        let at = usize::from(at) % bytes.len();
        bytes[at] ^= bits;
        if mended {
            mend(&mut bytes);
        }
        let sound = Seen::of(&bytes, true).is_ok();
        self.pass(interface, bytes, sound, true);
    }

    /// What leaves for a frame is whole if that is, and for somebody who is there unless it is `strange`; he hears it.
    fn pass(&mut self, interface: u32, bytes: Vec<u8>, sound: bool, strange: bool) {
        for (egress, frame) in self.direct(interface, bytes) {
            let seen = match Seen::of(&frame, sound) {
                Ok(seen) => seen,
                Err(why) if sound => panic!("{:?} emits {why}: {frame:02x?}", self.verdict),
                Err(_) => continue,
            };
            let backend = self.maps.backends.iter().any(|backend| backend.address == seen.destination.ip().into());
            // A stranger's segment may be answered, to where it came from.
            assert!(
                strange || egress.interface == if backend { BACK } else { FRONT },
                "{:?} emits {seen:?}",
                self.verdict
            );
            let ends = if backend { &mut self.legs } else { &mut self.clients };
            let of = |end: &&mut End| end.address == seen.destination && end.peer == seen.source;
            match ends.iter_mut().rfind(of) {
                Some(end) if !(backend && seen.has(SYN)) => end.hears(&seen),
                _ if backend => {
                    let count = self.legs.len() as u32 + 1;
                    let mut end = End::new(seen.destination, seen.source, count.wrapping_mul(0x5678_9abd));
                    end.next = end.next.wrapping_add(1);
                    end.hears(&seen);
                    self.legs.push(end);
                }
                _ => assert!(strange, "{:?} emits {seen:?}, for nobody", self.verdict),
            }
        }
    }

    /// What leaves for a frame that comes in, by the hooks that the world has.
    fn direct(&mut self, interface: u32, bytes: Vec<u8>) -> Vec<(Egress, Vec<u8>)> {
        let mut can_grow = self.kind & XDP == 0;
        loop {
            let mut frame = SimFrame {
                bytes: bytes.clone(),
                kind: Kind { can_grow, partial: false, mutation: Mutation::None },
                ingress: Egress { interface, flags: 0 },
                routes: &self.routes,
                copies: vec![],
                falsified: 0,
                tagged: false,
                base: 0,
            };
            self.verdict = splice::direct(&self.maps, &mut frame, &mut self.work);
            self.maps.count(self.verdict as u32);
            let mut leaving = frame.copies;
            assert_ne!(self.verdict, Verdict::Busy, "a packet locked its flow twice");
            match self.verdict.action() {
                Action::Send => leaving.push((self.work.egress, frame.bytes)),
                Action::Drop => {}
                Action::Pass => assert!(frame.bytes == bytes && leaving.is_empty(), "{:?} changes", self.verdict),
                Action::Up => {
                    assert!(!can_grow, "TC has nobody above it");
                    assert!(frame.bytes == bytes && leaving.is_empty(), "what goes up is as it came");
                    can_grow = true;
                    continue;
                }
            }
            return leaving;
        }
    }

    /// How often there was each verdict.
    pub fn verdicts(&self) -> Vec<u64> {
        self.maps.counters[..Verdict::ALL.len()].iter().map(Cell::get).collect()
    }

    /// Everything that is held has one owner, and everything that is counted is there.
    pub fn balances(&self) {
        if let Err(what) = audit(&self.maps) {
            panic!("behind {:?}: {what}", self.verdict);
        }
    }

    /// Nothing is held or counted any more, but for legs in their pools.
    pub fn is_empty(&self) {
        for (version, traffic) in self.maps.traffic.iter().enumerate() {
            assert_eq!((traffic.in_flight.get(), traffic.flows.get()), (0, 0), "version {version}");
        }
        assert!(self.maps.backends.iter().all(|backend| backend.legs.get() == 0));
        assert!(self.maps.stashes.iter().all(|stash| stash.borrow().owner.get() == 0));
    }
}

/// One of those that there are, if there are any.
fn nth(ends: &mut [End], index: usize) -> Option<&mut End> {
    let count = ends.len();
    ends.get_mut(index.checked_rem(count)?)
}
