//! What a request's session costs to find, and a response's new one to bind, in the loaded program.
//!
//! A request with a session of the table, another one each time, beside one of the same length without any: the difference is the hash and
//! the look-up. All tables are there at once, and take turns.

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::{BUCKET_WAYS, Bucket};
use serde::{Deserialize, Serialize};

use super::filling::{Filling, second};
use crate::bench::Extent;
use crate::bench::packet::messages::{SESSION, request, response, set_cookie};
use crate::bench::statistics::{median, middle};
use crate::bench::table::{Table, number};
use crate::lab::Lab;
use crate::progrun::frames::segment;
use crate::progrun::talk::Talk;
use crate::progrun::{FlowBytes, Program, Programs, Room, Setting, World};

/// What a table of one size costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Figure {
    pub(super) sessions: String,
    /// Bytes of the table for each of them.
    pub(super) bytes: f64,
    /// Nanoseconds: hash and look-up of a session that is there; and of one that is not.
    pub(super) lookup: f64,
    pub(super) miss: f64,
    /// Nanoseconds more that a response takes if it issues an id.
    pub(super) birth: f64,
}

/// The program that is asked.
const PROGRAM: Program = Program::Tc;
const LENGTH: usize = 460;

/// A table of one size, and flows that ask and answer.
struct Subject {
    programs: Programs,
    sessions: u32,
    buckets: u32,
    asking: (Talk, u32, Box<FlowBytes>),
    answered: (Talk, u32, Box<FlowBytes>),
    /// Ids that were issued so far.
    issued: u64,
}

/// What is sampled.
#[derive(Clone, Copy)]
enum Packet {
    Known,
    Unknown,
    /// A request without a session.
    Bare,
    Plain,
    Issuing,
}

impl Packet {
    const ALL: [Self; 5] = [Self::Known, Self::Unknown, Self::Bare, Self::Plain, Self::Issuing];
}

/// Measures tables of these sizes.
pub(super) fn run(extent: Extent, sizes: &[(u32, &str)]) -> Result<Vec<Figure>> {
    let lab = Lab::builder("lookup").backends(1).build()?;
    let world = World::of(&lab)?;
    let (rounds, samples) = extent.choose((5, 1_000), (15, 3_000));
    lab.director().run(|| {
        let mut subjects = Vec::new();
        for (sessions, said) in sizes {
            eprint!("\r\x1b[K{said} sessions");
            subjects.push(Subject::new(&lab, &world, *sessions).with_context(|| format!("a table of {said}"))?);
        }
        eprint!("\r\x1b[K");
        let mut means = vec![[const { Vec::new() }; Packet::ALL.len()]; subjects.len()];
        for round in 0..rounds {
            for (subject, means) in subjects.iter_mut().zip(&mut means) {
                let mut times = Packet::ALL.map(|_| Vec::with_capacity(samples));
                for sample in 0..samples {
                    for (packet, times) in Packet::ALL.into_iter().zip(&mut times) {
                        times.push(subject.sample(packet, (round * samples + sample) as u64)?);
                    }
                }
                for (means, times) in means.iter_mut().zip(times) {
                    means.push(middle(times));
                }
            }
        }
        let figures = subjects.iter().zip(sizes).zip(&means);
        Ok(figures.map(|((subject, (_, said)), means)| subject.figure(said, means)).collect())
    })
}

pub(super) fn table(figures: &[Figure]) -> Table {
    let note = "Hash and look-up: a request of 460 bytes with a session, another one each time, less the same without one. A birth: what a \
                response takes more if it issues an id. Bytes: of the table, as the daemon makes it for that many sessions.";
    let head = ["bound sessions", "look-up ns", "unknown ns", "birth ns", "bytes a session"];
    let mut table = Table::new("The session table, in the TC program", &head).note(note);
    for Figure { sessions, bytes, lookup, miss, birth } in figures {
        table.row(sessions, [*lookup, *miss, *birth, *bytes].map(number));
    }
    table
}

/// The id of a session of the table, and of one that a sample issues.
fn bound(index: u64) -> String {
    format!("{:016X}{index:016X}", 1)
}
fn issued(index: u64) -> String {
    format!("{:016X}{index:016X}", 2)
}

impl Subject {
    fn new(lab: &Lab, world: &World, sessions: u32) -> Result<Self> {
        // As `sizes` of the daemon has it.
        let buckets = (sessions / (BUCKET_WAYS as u32 / 2)).max(1).next_power_of_two();
        let room = Room { flows: 1024, stashes: 64, buckets };
        let setting = Setting::of(lab, room);
        let mut programs = Programs::load(room)?;
        programs.configure(&setting)?;
        let mut filling = Filling::of(buckets);
        let (now, binding) = (second(), setting.issued_by(0, 0).presented());
        for index in 0..u64::from(sessions) {
            ensure!(filling.bind(&setting.hash(bound(index).as_bytes()), binding, now), "no room for session {index}");
        }
        for (index, words) in filling.buckets() {
            programs.set_bucket(index, *words)?;
        }
        let mut asking = Talk::new(&setting, world, 40_001);
        asking.open(&programs, &request(SESSION, LENGTH))?;
        asking.answer(&programs, &response(""))?;
        let mut answered = Talk::new(&setting, world, 40_002);
        answered.open(&programs, &request(SESSION, LENGTH))?;
        let with_flow = |talk: Talk| {
            let (slot, flow) = talk.flow(&programs)?;
            anyhow::Ok((talk, slot, flow))
        };
        let (asking, answered) = (with_flow(asking)?, with_flow(answered)?);
        Ok(Self { programs, sessions, buckets, asking, answered, issued: 0 })
    }

    /// What the rounds' means of its packets say.
    fn figure(&self, said: &str, [known, unknown, bare, plain, issuing]: &[Vec<f64>; Packet::ALL.len()]) -> Figure {
        let less = |one: &[f64], other: &[f64]| median(one.iter().zip(other).map(|(one, other)| one - other));
        let table = f64::from(self.buckets) * size_of::<Bucket>() as f64;
        Figure {
            sessions: said.to_owned(),
            bytes: table / f64::from(self.sessions),
            lookup: less(known, bare),
            miss: less(unknown, bare),
            birth: less(issuing, plain),
        }
    }

    fn sample(&mut self, packet: Packet, sample: u64) -> Result<f64> {
        let (talk, slot, flow) = match packet {
            Packet::Known | Packet::Unknown | Packet::Bare => &self.asking,
            Packet::Plain | Packet::Issuing => &self.answered,
        };
        // In an order that no prefetcher guesses.
        let index = sample * 716_047 % u64::from(self.sessions);
        let payload = match packet {
            Packet::Known => request(&bound(index), LENGTH),
            Packet::Unknown => request(&issued(u64::MAX - index), LENGTH),
            Packet::Bare => bare(),
            Packet::Plain => response(&set_cookie(SESSION).replace("Set-Cookie", "Not-Cookie")),
            Packet::Issuing => {
                self.issued += 1;
                response(&set_cookie(&issued(self.issued)))
            }
        };
        let (way, at) = match packet {
            Packet::Known | Packet::Unknown | Packet::Bare => (&talk.client, talk.client_at()),
            Packet::Plain | Packet::Issuing => (&talk.backend, talk.backend_at()),
        };
        let frame = segment(way, at, &payload)?;
        let answer = self.programs.run(PROGRAM, way.link.interface, &frame)?;
        ensure!(answer.frame.ends_with(&payload), "the packet was not passed on");
        let (slot, flow) = (*slot, **flow);
        self.programs.set_flow(slot, flow)?;
        Ok(answer.duration.as_nanos() as f64)
    }
}

/// A request of the same length and the same fields, whose cookie is none of a session.
fn bare() -> Vec<u8> {
    String::from_utf8_lossy(&request(SESSION, LENGTH)).replace("JSESSIONID", "XSESSIONID").into_bytes()
}
