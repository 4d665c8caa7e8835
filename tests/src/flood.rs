//! Floods (D13): conversations without end on keep-alive connections, through the programs as the kernel has loaded them,
//! packet by packet and without a network.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::KIND_PRESENTED;

use crate::bench::packet::talk::Talk;
use crate::lab::Lab;
use crate::progrun::{COOKIE, Counters, Program, Programs, Room, Setting, World};

/// 8192 places for sessions: a flood is many times as long.
const ROOM: Room = Room { flows: 1024, stashes: 64, buckets: 1024 };
/// Sessions that are in use when a flood begins: a quarter of the places.
const USERS: u64 = 2048;
/// Connections that a flood comes over, in turn.
const TALKS: u16 = 64;

const GREETING: &[u8] = b"GET /shop HTTP/1.1\r\nHost: shop\r\n\r\n";
const PLAIN: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A director, connections to it, and sessions in use.
pub struct Flood<'a> {
    program: Program,
    setting: &'a Setting,
    programs: Programs,
    talks: Vec<Talk>,
}

/// What a flood did.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub requests: u64,
    pub took: Duration,
    /// Places of the table, and those that are taken.
    pub places: usize,
    pub taken: usize,
    /// Bound sessions that the flood itself displaced.
    pub evicted: u64,
}

/// Enters a lab's director and plays a flood there, with either program.
pub fn flood(program: Program, story: impl FnOnce(&mut Flood) -> Result<Outcome> + Send) -> Result<Outcome> {
    let lab = Lab::builder("flood").backends(1).build()?;
    let world = World::of(&lab)?;
    let setting = Setting {
        listener: lab.service(),
        sources: lab.sources(),
        versions: vec![vec![lab.application(1)]],
        room: ROOM,
    };
    lab.director().run(|| {
        let outcome = story(&mut Flood::new(program, &setting, &world)?)?;
        println!("{}: {outcome:?}", program.name());
        Ok(outcome)
    })
}

/// Id number `number` of a kind: 32 digits that nobody else has.
fn id(kind: u8, number: u64) -> String {
    format!("{kind:02X}{:014X}{number:016X}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8)
}

fn with_cookie(id: &str) -> Vec<u8> {
    format!("GET /shop HTTP/1.1\r\nHost: shop\r\nCookie: {COOKIE}={id}\r\n\r\n").into_bytes()
}

fn issuing(id: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nSet-Cookie: {COOKIE}={id}; Path=/; HttpOnly\r\nContent-Length: 2\r\n\r\nok")
        .into_bytes()
}

/// Kinds of ids: of users, of a flood that is issued some, and of one that makes them up.
const USER: u8 = 0xa0;
const VISITOR: u8 = 0xb0;
const STRANGER: u8 = 0xc0;

impl<'a> Flood<'a> {
    fn new(program: Program, setting: &'a Setting, world: &World) -> Result<Self> {
        let mut programs = Programs::load(ROOM)?;
        programs.configure(setting)?;
        let mut talks = Vec::new();
        for port in 40_000..40_000 + TALKS {
            let mut talk = Talk::new(setting, world, port);
            talk.open(&programs, GREETING)?;
            talk.answer(&programs, PLAIN)?;
            talks.push(talk);
        }
        let mut flood = Self { program, setting, programs, talks };
        // Each is issued by the backend, and comes back.
        for user in 0..USERS {
            flood.exchange(user, GREETING, &issuing(&id(USER, user)))?;
            flood.exchange(user, &with_cookie(&id(USER, user)), PLAIN)?;
        }
        ensure!(flood.lost()?.is_empty(), "sessions are lost before the flood: {:?}", flood.lost()?);
        Ok(flood)
    }

    fn exchange(&mut self, number: u64, request: &[u8], response: &[u8]) -> Result<()> {
        let talk = self.talks.get_mut((number % u64::from(TALKS)) as usize).context("no connection")?;
        talk.ask(&self.programs, self.program, request)?;
        talk.reply(&self.programs, self.program, response)
    }

    /// Users whose session is not bound any more as one that came back.
    fn lost(&self) -> Result<Vec<u64>> {
        let mut lost = Vec::new();
        for user in 0..USERS {
            let binding = self.programs.binding(self.setting, id(USER, user).as_bytes())?;
            if !binding.is_some_and(|binding| (binding.kind(), binding.backend()) == (KIND_PRESENTED, 0)) {
                lost.push(user);
            }
        }
        Ok(lost)
    }

    /// Requests without a cookie, each of which is answered with a session of its own: no user loses a session to them.
    pub fn without_cookies(&mut self, requests: u64) -> Result<Outcome> {
        let (before, begun) = (self.programs.counters()?, Instant::now());
        for number in 0..requests {
            self.exchange(number, GREETING, &issuing(&id(VISITOR, number)))?;
        }
        let outcome = self.outcome(requests, begun, &before)?;
        let lost = self.lost()?;
        ensure!(lost.is_empty(), "{} sessions that were in use are lost, the first is {:?}", lost.len(), lost.first());
        // Who came last has a place: the flood was not kept out, it displaced itself.
        let last = self.programs.binding(self.setting, id(VISITOR, requests - 1).as_bytes())?;
        ensure!(last.is_some(), "the last visitor is not bound");
        let first = self.programs.binding(self.setting, id(VISITOR, 0).as_bytes())?;
        ensure!(first.is_none(), "the first visitor still has its place: the table never was full");
        Ok(outcome)
    }

    /// Requests with cookies that nobody issued: the table is word for word what it was.
    pub fn with_made_up_cookies(&mut self, requests: u64) -> Result<Outcome> {
        let table = self.programs.sessions()?;
        let (before, begun) = (self.programs.counters()?, Instant::now());
        for number in 0..requests {
            self.exchange(number, &with_cookie(&id(STRANGER, number)), PLAIN)?;
        }
        let outcome = self.outcome(requests, begun, &before)?;
        let changed = table.iter().zip(&self.programs.sessions()?).filter(|(was, is)| was != is).count();
        ensure!(changed == 0, "{changed} of {} entries have changed", table.len());
        // A table that nothing could change would prove nothing.
        self.exchange(0, &with_cookie(&id(STRANGER, requests)), &issuing(&id(VISITOR, 0)))?;
        ensure!(table != self.programs.sessions()?, "nor does an issued session change it");
        Ok(outcome)
    }

    fn outcome(&self, requests: u64, begun: Instant, before: &Counters) -> Result<Outcome> {
        let took = begun.elapsed();
        let after = self.programs.counters()?;
        let counted = |name| -> Result<u64> { Ok(after.named(name)? - before.named(name)?) };
        ensure!(counted("request_same_leg")? == requests, "{} of {requests} went on", counted("request_same_leg")?);
        let table = self.programs.sessions()?;
        let taken = table.iter().filter(|[tag, ..]| *tag != 0).count();
        Ok(Outcome { requests, took, places: table.len(), taken, evicted: counted("session_evicted")? })
    }
}
