//! Packets that nobody should send, through the loaded programs: each has one verdict and is counted, no flow is wedged by them, and of
//! everything that flows hold there is as much as before when they are gone.
//!
//! A round is one conversation, at one place of which mutants of its packets come in, and then a clean conversation of the same client's
//! port, which has to succeed. Two threads play the same round: what they send is right for one and the same flow.

mod hail;
mod mutate;

use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail, ensure};
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_fuzz::mutate::Random;
use balancer_tests::lab::{Hook, Lab};
use balancer_tests::progrun::talk::{Road, Talk};
use balancer_tests::progrun::{Census, Program, Programs, Room, Setting, World, astray};

use hail::{Codes, Hail};

/// Mutants in every run, and where somebody has the time: `cargo test --release --test mutants -- --ignored`.
const SOME: usize = 200_000;
const TEN_MILLION: usize = 10_000_000;

/// Of one thread in one round.
const MUTANTS: usize = 250;
/// After so many rounds the maps are looked through, and all that is in them becomes old.
const LOOK: usize = 50;
const ROOM: Room = Room { flows: 1024, stashes: 256, buckets: 1024 };
/// Ports of the client.
const FIRST_PORT: u16 = 40_000;
const PORTS: usize = 16;
/// Different verdicts that have to be met: mutants that all end at the same check prove little.
const VERDICTS: usize = 35;

/// N14, N21.
#[test]
fn under_tc() -> Result<()> {
    play(Program::Tc, 1, SOME)
}

/// N21.
#[test]
fn under_xdp() -> Result<()> {
    play(Program::Xdp, 1, SOME)
}

/// N13.
#[test]
fn from_two_threads_at_once() -> Result<()> {
    play(Program::Tc, 2, SOME)?;
    play(Program::Xdp, 2, SOME)
}

#[test]
#[ignore = "takes minutes: ten million under each hook"]
fn ten_million() -> Result<()> {
    play(Program::Tc, 2, TEN_MILLION)?;
    play(Program::Xdp, 2, TEN_MILLION)
}

/// What is asked, and answered.
const EXCHANGES: &[(&[u8], &[u8])] = &[
    (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    (
        b"GET / HTTP/1.1\r\nHost: a\r\nCookie: JSESSIONID=ABC\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: JSESSIONID=DEF; Path=/\r\nContent-Length: 2\r\n\r\nok",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    (
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nSet-Cookie: JSESSIONID=; Max-Age=0\r\n\r\n",
    ),
    (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"),
];

/// A whole conversation. It fails where the director does not go along.
fn converse(talk: &mut Talk, road: &impl Road, exchanges: &[(&[u8], &[u8])]) -> Result<()> {
    for (index, (request, response)) in exchanges.iter().enumerate() {
        if index == 0 {
            talk.open(road, request).context("open")?;
        } else {
            talk.ask(road, request).with_context(|| format!("request {index}"))?;
        }
        talk.answer(road, response).with_context(|| format!("response {index}"))?;
    }
    talk.close(road).context("close")
}

/// A client's connections, one behind the other on the same few ports.
struct Connections<'a> {
    setting: &'a Setting,
    world: &'a World,
    count: u32,
}

impl Connections<'_> {
    fn on(&mut self, port: u16) -> Talk {
        self.count += 1;
        // Nothing that the one before could have meant.
        Talk::new(self.setting, self.world, port).beginning(self.count.wrapping_mul(0x3765_4321))
    }
}

fn play(hook: Program, threads: usize, mutants: usize) -> Result<()> {
    let lab =
        Lab::builder("mutants").hook(if hook == Program::Tc { Hook::Tc } else { Hook::Xdp }).backends(1).build()?;
    let world = World::of(&lab)?;
    let setting = Setting::of(&lab, ROOM);
    lab.director().run(|| {
        let mut programs = Programs::load(ROOM)?;
        programs.configure(&setting)?;
        let start = Instant::now();
        let mut connections = Connections { setting: &setting, world: &world, count: 0 };
        let base = base_line(&mut programs, &mut connections)?;
        let first = programs.counters()?;
        let mut looked = first.clone();
        let mut codes = Codes::default();
        let (mut done, mut round) = (0, 0);
        while done < mutants {
            let port = FIRST_PORT + (round % PORTS) as u16;
            let talk = connections.on(port);
            for one in storm(&lab, &programs, hook, threads, round, &talk) {
                codes += one.with_context(|| format!("round {round}"))?;
            }
            programs.forgive_backends(&setting)?;
            programs.forget_challenge(&talk.key())?;
            let before = programs.counters()?;
            let clean = Hail::new(&programs, hook, 0, 0, 0);
            let worked = converse(&mut connections.on(port), &clean, &EXCHANGES[..2]);
            codes += clean.over()?;
            if let Err(error) = worked {
                let counted = programs.counters()?.named(&before);
                bail!("round {round}: a flow is wedged: {error:#}; counted: {counted:?}");
            }
            round += 1;
            if round % LOOK == 0 || done + codes.mutants >= mutants {
                let now = programs.counters()?;
                let counted = Codes { mutants: codes.mutants, ..Codes::counted(&now, &looked) };
                ensure!(
                    counted == codes,
                    "up to round {round}: the programs returned {codes:?}, and counted {counted:?}"
                );
                done += codes.mutants;
                (looked, codes) = (now, Codes::default());
                look(&programs, &setting).with_context(|| format!("after round {round}"))?;
                programs.age(ROOM.flows)?;
            }
        }
        let after = programs.counters()?;
        let end = base_line(&mut programs, &mut connections)?;
        ensure!(end == base, "there was {base:?}, and is {end:?}");
        report(hook, threads, done, start, &after.named(&first))
    })
}

/// One conversation in the hail, from each thread.
fn storm(
    lab: &Lab,
    programs: &Programs,
    hook: Program,
    threads: usize,
    round: usize,
    talk: &Talk,
) -> Vec<Result<Codes>> {
    let mut random = Random(round as u64);
    let exchanges: Vec<_> = (0..1 + random.below(4)).map(|_| EXCHANGES[random.below(EXCHANGES.len())]).collect();
    // Five packets open it, each exchange has three, the first two, and three close it.
    let at = random.below(3 * exchanges.len() + 7);
    let one = |thread: usize| -> Result<Codes> {
        let hail = Hail::new(programs, hook, at, MUTANTS, (round * threads + thread) as u64);
        // A mutant may be as good as a packet of the client's own, and end the conversation.
        let _ = converse(&mut talk.clone(), &hail, &exchanges);
        hail.over()
    };
    if threads == 1 {
        return vec![one(0)];
    }
    let one = &one;
    std::thread::scope(|scope| {
        let spawn = |thread| scope.spawn(move || lab.director().run(|| one(thread)));
        let running: Vec<_> = (0..threads).map(spawn).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    })
}

/// Whether all that is held is held by somebody, and all that is counted is there.
fn look(programs: &Programs, setting: &Setting) -> Result<Census> {
    let maps = programs.copy(setting)?;
    balancer_sim::audit(&maps).map_err(|what| anyhow!(what))?;
    astray(&maps)?;
    Ok(Census::of(&maps))
}

/// How much there is when everything old was collected: by as many connections as there is room for, which come and go. The clock hand
/// passes every slot once, and each of them takes the next one.
fn base_line(programs: &mut Programs, connections: &mut Connections) -> Result<Census> {
    programs.age(ROOM.flows)?;
    programs.forgive_backends(connections.setting)?;
    for index in 0..ROOM.flows as usize {
        let port = FIRST_PORT + (index % PORTS) as u16;
        converse(&mut connections.on(port), programs, &EXCHANGES[..1])
            .context("a connection after all was collected")?;
    }
    let census = look(programs, connections.setting)?;
    // What has just ended would linger for two seconds.
    programs.age(ROOM.flows)?;
    Ok(census)
}

fn report(
    hook: Program,
    threads: usize,
    mutants: usize,
    start: Instant,
    counted: &std::collections::BTreeMap<String, u64>,
) -> Result<()> {
    let verdict = |name: &str| Verdict::NAMES.iter().position(|known| *known == name).map(|index| Verdict::ALL[index]);
    let met: Vec<Verdict> = counted.keys().filter_map(|name| verdict(name)).collect();
    let sum = |action: Action| -> u64 {
        counted.iter().filter(|(name, _)| verdict(name).is_some_and(|met| met.action() == action)).map(|(_, n)| n).sum()
    };
    println!(
        "{}, {threads} threads: {} mutants in {:.1} s; {} dropped, {} sent, {} passed, {} up; {} of {} verdicts met",
        hook.name(),
        mutants,
        start.elapsed().as_secs_f64(),
        sum(Action::Drop),
        sum(Action::Send),
        sum(Action::Pass),
        sum(Action::Up),
        met.len(),
        Verdict::ALL.len(),
    );
    println!("{counted:?}");
    ensure!(met.len() >= VERDICTS, "only {} verdicts were met", met.len());
    ensure!(hook == Program::Xdp || sum(Action::Up) == 0, "TC passed something up");
    Ok(())
}
