//! Established flows by the thousand and by the million: what a packet costs if its flow was in no cache.
//!
//! One flow is made by the programs themselves; the others are copies of it with addresses and slots of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::{FlowKey, FlowSlot, PORTS_PER_SOURCE, place};
use balancer_ebpf::verdict::Verdict;
use balancer_user::kernel::values::{from_bytes, to_bytes};

use super::conversation::{BACKEND_ACK, CLIENT_ACK, DOWNLOAD, UPLOAD};
use super::messages::{SESSION, large_response, post, request};
use super::subject::row;
use super::{Figure, ROOM, Scene, figure};
use crate::bench::statistics::middle;
use crate::progrun::frames::{Numbers, Way, segment};
use crate::progrun::talk::Talk;
use crate::progrun::{Callee, FlowBytes, Original, Program, Programs, Replay, Room, Setting};

/// How many flows, and how that is said.
pub(super) const SIZES: [(u32, &str); 3] = [(10_000, "10k"), (100_000, "100k"), (1_000_000, "1M")];

/// Flows of one client address.
const PORTS: u32 = 50_000;

/// Goes through all slots in an order that no prefetcher guesses: a prime that divides none of the sizes.
const STRIDE: u64 = 716_047;

/// Flows that have a packet each in one round.
const VISITS: u32 = 8_192;

/// Measures the packets of established flows, or those of them that are wanted.
pub(super) fn measure(
    scene: Scene<'_>,
    (flows, said): (u32, &str),
    rounds: usize,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<Figure>> {
    let called = |name: &str| format!("{name}, {said} flows");
    if ![UPLOAD, BACKEND_ACK, DOWNLOAD, CLIENT_ACK].into_iter().any(|name| wanted(&called(name))) {
        return Ok(Vec::new());
    }
    // Beside them there is room for the two that are copied.
    let room = Room { flows: flows + 64, ..ROOM };
    let sources = (0..=room.flows / PORTS_PER_SOURCE).map(|index| IpAddr::from([10, 254, 1, index as u8 + 1]));
    let setting = Setting { sources: sources.collect(), room, ..scene.setting.clone() };
    let mut programs = Programs::load(room)?;
    programs.configure(&setting)?;
    let (client_at, backend_at) = (Talk::client_at as fn(&Talk) -> Numbers, Talk::backend_at as fn(&Talk) -> Numbers);
    let body: &[u8] = &[b'x'; 1448];

    let mut upload = Talk::new(&setting, scene.world, 40_004);
    upload.open(&programs, &post())?;
    let mut download = Talk::new(&setting, scene.world, 40_005);
    download.open(&programs, &request(SESSION, 460))?;
    download.answer(&programs, &large_response())?;
    let works = [
        (&upload, UPLOAD, client_at, body, Verdict::ToBackend),
        (&upload, BACKEND_ACK, backend_at, &[], Verdict::ToClient),
        (&download, DOWNLOAD, backend_at, body, Verdict::ToClient),
        (&download, CLIENT_ACK, client_at, &[], Verdict::ToBackend),
    ];
    // Of both, before copies are where they are.
    let templates = [&upload, &download].map(|talk| anyhow::Ok(talk.flow(&programs)?.1));
    let [uploading, downloading] = templates;
    let templates = [uploading?, downloading?];

    let mut figures = Vec::new();
    for (half, template) in works.chunks(2).zip(&templates) {
        let crowd = Crowd { flows, setting: &setting, template };
        crowd.settle(&mut programs)?;
        for (talk, name, at, payload, verdict) in half.iter().filter(|(_, name, ..)| wanted(&called(name))) {
            let packets = Packets { talk, at: at(talk), from_client: *verdict == Verdict::ToBackend, payload };
            for program in Program::ALL {
                let mut means = Vec::new();
                for round in 0..rounds {
                    let mean = crowd.round(&mut programs, &packets, program, (round, *verdict));
                    means.push(mean.with_context(|| format!("`{name}` of {said} flows in {}", program.name()))?);
                }
                figures.push(figure(&called(name), program, &means));
            }
        }
    }
    Ok(figures)
}

/// Many flows that are alike.
struct Crowd<'a> {
    flows: u32,
    setting: &'a Setting,
    template: &'a FlowBytes,
}

/// The same packet of each of them.
struct Packets<'a> {
    talk: &'a Talk,
    at: Numbers,
    from_client: bool,
    payload: &'a [u8],
}

fn client(index: u32) -> SocketAddr {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 253, 0, 1)) + index / PORTS);
    SocketAddr::new(address.into(), (10_000 + index % PORTS) as u16)
}

impl Crowd<'_> {
    /// Puts all of them into their slots.
    fn settle(&self, programs: &mut Programs) -> Result<()> {
        for index in 0..self.flows {
            let (key, flow) = self.flow(index);
            programs.set_flow(index, flow)?;
            programs.enter(self.setting, &key, index)?;
        }
        Ok(())
    }

    fn flow(&self, index: u32) -> (FlowKey, FlowBytes) {
        let mut slot: FlowSlot = from_bytes(self.template);
        let (client, source) = (client(index), self.source(index));
        slot.flow.key.client = client.ip().into();
        slot.flow.key.client_port = client.port().to_be_bytes();
        slot.flow.slot = index;
        slot.flow.leg.slot = index;
        slot.flow.leg.source = source.ip().into();
        slot.flow.leg.source_port = source.port().to_be_bytes();
        (slot.flow.key, to_bytes(&slot))
    }

    fn source(&self, index: u32) -> SocketAddr {
        let place = place(index);
        SocketAddr::new(self.setting.sources[place.source as usize], place.port)
    }

    fn packet(&self, packets: &Packets<'_>, index: u32) -> Result<(u32, Vec<u8>)> {
        let way = if packets.from_client {
            Way { from: client(index), ..packets.talk.client }
        } else {
            Way { to: self.source(index), ..packets.talk.backend }
        };
        Ok((way.link.interface, segment(&way, packets.at, packets.payload)?))
    }

    /// One round: each packet is of another flow, and the flows are put back when it is over.
    fn round(
        &self,
        programs: &mut Programs,
        packets: &Packets<'_>,
        program: Program,
        (round, wanted): (usize, Verdict),
    ) -> Result<(f64, f64)> {
        let first = round as u64 * u64::from(VISITS);
        let indices = || (first..).take(VISITS as usize).map(|step| (step * STRIDE % u64::from(self.flows)) as u32);
        let made = indices().map(|index| self.packet(packets, index)).collect::<Result<Vec<_>>>()?;
        let originals: Vec<Original<'_>> = made.iter().map(|(_, frame)| Original { frame, flow: None }).collect();
        let interface = made.first().context("no packet")?.0;
        let replay = Replay::new(programs, program, interface, &originals)?;
        let before = programs.counters()?;
        // One behind the other, for who comes second in turn would find the originals in a cache.
        let row = row(program);
        let mean = |callee| Ok(replay.run(callee, row)?.as_nanos() as f64);
        let rows = |callee| (0..VISITS / row).map(|_| mean(callee)).collect::<Result<Vec<_>>>();
        let (null, gross) = (rows(Callee::Nothing)?, rows(Callee::Measured)?);
        let counted = programs.counters()?.named(&before);
        ensure!(counted.get(Verdict::NAMES[wanted as usize]) == Some(&u64::from(VISITS)), "{counted:?}");
        for index in indices() {
            programs.set_flow(index, self.flow(index).1)?;
        }
        Ok((middle(gross), middle(null)))
    }
}
