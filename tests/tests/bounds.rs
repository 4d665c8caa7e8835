//! A table of a million connections, filled to its bound by the loaded program, without a daemon: who finds room, what becomes of the others,
//! and how room comes back.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::{KIND_PRESENTED, PORTS_PER_SOURCE};
use balancer_ebpf::verdict::{Note, Verdict};
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::progrun::talk::Talk;
use balancer_tests::progrun::{COOKIE, Counters, Programs, Room, Setting, World};
use rustix::time::{ClockId, clock_gettime};

const ROOM: Room = Room { flows: 1_000_000, stashes: 64, buckets: 1024 };
/// Slots that a newcomer looks at.
const PROBES: usize = 16;
/// Newcomers who find the table full.
const REFUSED: usize = 100;
/// Of so many connections one asks for something; none of those whose slots newcomers get.
const ASKING: usize = 2203;
/// Connections that end in each way.
const ENDING: usize = 200;
/// How long a slot is kept behind a connection's end.
const LINGER: Duration = Duration::from_millis(2_100);
/// Connections of one client address.
const PORTS: usize = 50_000;
const SESSION: &str = "0123456789ABCDEF0123456789ABCDEF";

struct Crowd<'a> {
    programs: &'a mut Programs,
    setting: &'a Setting,
    world: &'a World,
}

/// N11, N17: a million connections.
#[test]
fn a_million_connections_are_open_at_once() -> Result<()> {
    let lab = Lab::builder("million").hook(Hook::Tc).backends(2).build()?;
    let world = World::of(&lab)?;
    let sources = (0..=ROOM.flows / PORTS_PER_SOURCE).map(|index| IpAddr::from([10, 254, 1, index as u8 + 1]));
    let setting = Setting { sources: sources.collect(), ..Setting::of(&lab, ROOM) };
    lab.director().run(|| {
        let mut programs = Programs::load(ROOM)?;
        programs.configure(&setting)?;
        let mut crowd = Crowd { programs: &mut programs, setting: &setting, world: &world };
        let mut open = crowd.fills_the_table()?;
        crowd.more_find_no_room()?;
        crowd.anybody_may_ask(&mut open)?;
        crowd.ends_make_room(&open)?;
        crowd.silence_makes_room()
    })
}

impl Crowd<'_> {
    /// The connection of a number, which has not begun.
    fn talk(&self, index: usize) -> Talk {
        let client = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 253, 0, 1)) + (index / PORTS) as u32);
        Talk::new(self.setting, self.world, (10_000 + index % PORTS) as u16).coming_from(client)
    }

    fn since(&self, before: &Counters, verdict: Verdict) -> Result<u64> {
        Ok(self.programs.counters()?.0[verdict as usize] - before.0[verdict as usize])
    }

    /// Each finds a slot of its own. Of those that still have something to do, what they know.
    fn fills_the_table(&mut self) -> Result<Vec<(usize, Talk)>> {
        let start = Instant::now();
        let (before, flows) = (self.programs.counters()?, ROOM.flows as usize);
        let mut kept = Vec::new();
        for index in 0..flows {
            let mut talk = self.talk(index);
            talk.begin(self.programs).with_context(|| format!("connection {index}"))?;
            if index % ASKING == 0 || is_ending(index) {
                kept.push((index, talk));
            }
        }
        let begun = self.since(&before, Verdict::FlowBegun)?;
        println!("{begun} connections begun in {:?}", start.elapsed());
        ensure!(begun == flows as u64, "of {flows} connections {begun} began");
        let mut taken = vec![false; flows];
        for index in 0..flows {
            let slot = self.programs.slot(&self.talk(index).key())?.with_context(|| format!("{index} has no flow"))?;
            ensure!(!std::mem::replace(&mut taken[slot as usize], true), "slot {slot} has two connections");
        }
        Ok(kept)
    }

    /// They are counted, and nobody loses his place to them.
    fn more_find_no_room(&mut self) -> Result<()> {
        let before = self.programs.counters()?;
        for index in 0..REFUSED {
            let mut talk = self.talk(ROOM.flows as usize + index);
            talk.begin(self.programs)?;
            ensure!(self.programs.slot(&talk.key())?.is_none(), "there was room for one more");
        }
        let refused = self.since(&before, Verdict::FlowsFull)?;
        ensure!(refused == REFUSED as u64, "{refused} of {REFUSED} were counted");
        ensure!(self.since(&before, Verdict::SynCookie)? == REFUSED as u64, "a SYN costs no room, and is answered");
        Ok(())
    }

    /// Every second one has a session on the second version, and gets there.
    fn anybody_may_ask(&mut self, open: &mut [(usize, Talk)]) -> Result<()> {
        let now = clock_gettime(ClockId::Boottime).tv_sec as u32;
        let mut binding = self.setting.issued_by(1, 1);
        binding = binding.with_kind(KIND_PRESENTED);
        self.programs.bind(self.setting, SESSION.as_bytes(), Some(binding), now)?;
        let asking = open.iter_mut().filter(|(index, _)| !is_ending(*index));
        let mut asked = 0;
        for (version, (index, talk)) in [0, 1].into_iter().cycle().zip(asking) {
            let cookie = if version == 1 { format!("Cookie: {COOKIE}={SESSION}\r\n") } else { String::new() };
            let request = format!("GET / HTTP/1.1\r\nHost: shop\r\n{cookie}\r\n");
            let served = talk.ask_first(self.programs, request.as_bytes());
            served
                .and_then(|()| talk.answer(self.programs, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
                .with_context(|| format!("a request of connection {index}"))?;
            ensure!(talk.version() == Some(version), "connection {index} gets version {:?}", talk.version());
            asked += 1;
        }
        let joined = self.programs.joined(0)? + self.programs.joined(1)?;
        ensure!(joined == asked && asked > 400, "{asked} asked, {joined} are counted");
        for (_, talk) in open.iter().filter(|(index, _)| !is_ending(*index)) {
            talk.leave(self.programs)?;
        }
        for version in [0, 1] {
            let (in_flight, joined) = (self.programs.in_flight(version)?, self.programs.joined(version)?);
            ensure!((in_flight, joined) == (0, 0), "{in_flight} in flight on version {version}, {joined} joined");
        }
        Ok(())
    }

    /// By RST, and by FIN: whoever comes next has their slots.
    fn ends_make_room(&mut self, open: &[(usize, Talk)]) -> Result<()> {
        let before = self.programs.counters()?;
        for (number, (_, talk)) in open.iter().filter(|(index, _)| is_ending(*index)).enumerate() {
            if number < ENDING {
                talk.leave(self.programs)?;
            } else {
                talk.finish(self.programs)?;
            }
        }
        let ended = [Verdict::ClientResetAlone, Verdict::FinAnswered];
        let ended = [self.since(&before, ended[0])?, self.since(&before, ended[1])?];
        ensure!(ended == [ENDING as u64; 2], "{ended:?} ended by RST and by FIN");
        std::thread::sleep(LINGER);
        self.newcomers(2 * REFUSED, 2 * ENDING, 0)
    }

    /// When nobody has said anything for longer than `flow_idle`.
    fn silence_makes_room(&mut self) -> Result<()> {
        self.programs.age(ROOM.flows)?;
        self.newcomers(10 * REFUSED, ENDING, ENDING as u64)
    }

    /// So many find room, by as many flows as were idle.
    fn newcomers(&mut self, first: usize, count: usize, idle: u64) -> Result<()> {
        let before = self.programs.counters()?;
        for index in first..first + count {
            let mut talk = self.talk(ROOM.flows as usize + index);
            talk.begin(self.programs)?;
            ensure!(self.programs.slot(&talk.key())?.is_some(), "newcomer {index} finds no room");
        }
        let collected = Note::FlowCollected.counter() as usize;
        let collected = self.programs.counters()?.0[collected] - before.0[collected];
        ensure!(collected == idle, "{collected} idle flows were collected");
        ensure!(self.since(&before, Verdict::FlowBegun)? == count as u64, "not all began");
        Ok(())
    }
}

/// Whether a connection ends: those whose slots the clock hand comes to when the table was full for so many. (Slots are taken in their
/// order.)
fn is_ending(index: usize) -> bool {
    (PROBES * REFUSED..PROBES * REFUSED + 2 * ENDING).contains(&index)
}
