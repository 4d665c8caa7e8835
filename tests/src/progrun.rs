//! Runs the kernel programs on single packets, without a network: `BPF_PROG_TEST_RUN`.
//!
//! The object is the one inside the daemon, loaded onto maps of its own that are never pinned. A run names the interface
//! that the packet came in by, and helpers look routes and neighbours up there: so whoever runs a program has entered the
//! director's namespace of a lab ([`World`]). What a program sends by redirection is not sent in a test run, and comes back
//! as the frame; what it sends as a copy really leaves, and is caught at the interface ([`Capture`]).

mod books;
mod capture;
mod code;
mod counters;
pub mod frames;
mod maps;
mod null;
mod replay;
mod setting;
pub mod talk;
mod world;

pub use books::{Census, astray};
pub use capture::{Capture, Caught};
pub use counters::{Counters, counter_name};
pub use frames::Envelope;
pub use maps::{BUCKET_WORDS, FlowBytes};
pub use null::yardstick;
pub use replay::{Callee, Original, Replay};
pub use setting::{COOKIE, ISN_KEY, KEY, SERVICE, Setting};
pub use world::{Link, World};

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use aya::programs::{ProgramInfo, SchedClassifier, TestRun, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use balancer_ebpf::layout::{hint_buckets, map};
use balancer_user::kernel::object;

/// Bytes that a program's answer may have; the kernel takes no longer packet in either.
const MOST_BYTES: usize = 4096;

/// Which of the two programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    Tc,
    Xdp,
}

impl Program {
    pub const ALL: [Self; 2] = [Self::Tc, Self::Xdp];

    /// Its name in the object.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tc => object::TC,
            Self::Xdp => object::XDP,
        }
    }
}

/// Entries of the maps that are sized at loading.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub flows: u32,
    pub stashes: u32,
    /// A power of two.
    pub buckets: u32,
}

/// What a run answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What the program returned.
    pub code: u32,
    pub frame: Vec<u8>,
    /// What the kernel measured, itself included.
    pub duration: Duration,
}

/// The loaded programs and their maps.
pub struct Programs {
    ebpf: Ebpf,
}

impl Programs {
    /// Loads and verifies both programs.
    pub fn load(room: Room) -> Result<Self> {
        Self::load_from(None, room)
    }

    /// The same with those of another object than the daemon's.
    pub fn load_from(file: Option<&Path>, room: Room) -> Result<Self> {
        let bytes = object::bytes(file).map_err(|failure| anyhow!("{}", failure.error))?;
        let mut loader = EbpfLoader::new();
        loader
            .map_max_entries(map::FLOWS, room.flows)
            .map_max_entries(map::FLOW_KEYS, room.flows)
            .map_max_entries(map::FLOW_HINTS, hint_buckets(room.flows))
            .map_max_entries(map::LEG_OWNERS, room.flows)
            .map_max_entries(map::LEGS, room.flows)
            .map_max_entries(map::STASHES, room.stashes)
            .map_max_entries(map::SESSIONS, room.buckets);
        let mut ebpf = loader.load(&bytes).context("load the object and make its maps: this needs root")?;
        tc(&mut ebpf)?.load().context("load balancer_tc")?;
        for name in object::ERRANDS {
            let classifier: &mut SchedClassifier =
                ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?;
            classifier.load().with_context(|| format!("load {name}"))?;
        }
        xdp(&mut ebpf)?.load().context("load balancer_xdp")?;
        Ok(Self { ebpf })
    }

    /// What the kernel says of a program.
    pub fn info(&self, name: &str) -> Result<ProgramInfo> {
        let found = self.ebpf.program(name).with_context(|| format!("no program {name}"))?;
        found.info().with_context(|| format!("ask the kernel about {name}"))
    }

    /// Runs a program once on a fresh copy of `frame`, as if it came in by `interface`.
    pub fn run(&self, program: Program, interface: u32, frame: &[u8]) -> Result<Answer> {
        let found = self.ebpf.program(program.name()).with_context(|| format!("no program {}", program.name()))?;
        let answer = match program {
            Program::Tc => run(<&SchedClassifier>::try_from(found)?, &skb_context(interface), frame),
            Program::Xdp => run(<&Xdp>::try_from(found)?, &xdp_context(interface, frame.len()), frame),
        };
        answer.with_context(|| format!("run {}", program.name()))
    }
}

fn tc(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier> {
    Ok(ebpf.program_mut(object::TC).context("the object has no TC program")?.try_into()?)
}

fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp> {
    Ok(ebpf.program_mut(object::XDP).context("the object has no XDP program")?.try_into()?)
}

/// Runs any program once on a fresh copy of `frame`.
pub fn run<P>(program: &P, context: &[u8], frame: &[u8]) -> Result<Answer>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = aya::programs::TestRunResult>,
{
    repeat(program, context, frame, 1)
}

/// Runs any program so often in a row: it finds the frame as it left it. The duration is one run's on average.
fn repeat<P>(program: &P, context: &[u8], frame: &[u8], times: u32) -> Result<Answer>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = aya::programs::TestRunResult>,
{
    let mut out = vec![0; MOST_BYTES];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(context),
        repeat: times,
        ..TestRunOptions::new()
    };
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
    out.truncate(result.data_size_out as usize);
    Ok(Answer { code: result.return_value, frame: out, duration: result.duration })
}

/// The beginning of a `struct __sk_buff` (include/uapi/linux/bpf.h): the tenth and eleventh word name the interface; what is
/// left out counts as zero.
pub fn skb_context(interface: u32) -> [u8; 44] {
    let mut context = [0; 44];
    context[36..40].copy_from_slice(&interface.to_ne_bytes());
    context[40..44].copy_from_slice(&interface.to_ne_bytes());
    context
}

/// A `struct xdp_md` without its last word: data, data_end, data_meta, ingress_ifindex, rx_queue_index.
pub fn xdp_context(interface: u32, len: usize) -> [u8; 20] {
    let mut context = [0; 20];
    context[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    context[12..16].copy_from_slice(&interface.to_ne_bytes());
    context
}
