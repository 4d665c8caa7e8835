//! Nanoseconds per packet, in the programs as the kernel has loaded them.
//!
//! Programs change packets and flows, so a program of ours puts both back before each packet ([`crate::progrun::Replay`]). A sample is what one of
//! hundreds of packets in a row took by the kernel's clock (`duration`), with the same in front of a program that does nothing sampled in turn
//! with it. A round's figure is the difference of the means of their middle halves; what is reported is the median of the rounds.
//!
//! `--compare` is about another revision: its programs are sampled in turn with the present ones, on the same machine in the same
//! moment, so that there is no need of a baseline that would be of another machine or of another hour ([`compare`]). Where that revision
//! lays its maps out differently, a file of figures is what is left, and a yardstick says how fast the machine was.

mod clock;
mod compare;
mod conversation;
mod crowd;
pub(super) mod messages;
mod subject;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::Extent;
use super::memory;
use super::report::Report;
use super::statistics::{highest, lowest, median};
use super::table::{Table, number};
use crate::lab::Lab;
use crate::progrun::{Program, Room, Setting, World};

use clock::yardstick;
use subject::Subject;

/// What may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub extent: Extent,
    /// Compare with this, and write nothing.
    pub against: Option<Against>,
    /// Only packets whose name contains this; nothing is written.
    pub only: Option<String>,
}

/// What is compared with.
#[derive(Clone, Debug)]
pub enum Against {
    /// Another revision's programs, which run in turn with the present ones.
    Object { revision: String, file: PathBuf },
    /// Figures of another run.
    Figures(PathBuf),
}

/// What one kind of packet costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    case: String,
    program: String,
    /// Nanoseconds, less those of a program that does nothing.
    net: f64,
    /// Of a program that does nothing.
    null: f64,
    /// Lowest and highest of the rounds.
    low: f64,
    high: f64,
}

/// All of them, and what the yardstick took.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Measured {
    yardstick: f64,
    figures: Vec<Figure>,
}

/// Samples of the yardstick.
const YARDS: usize = 1_000;

const ROOM: Room = Room { flows: 1024, stashes: 64, buckets: 1024 };

/// Measures, and prints and writes or compares.
pub fn run(options: &Options) -> Result<()> {
    let lab = Lab::builder("packet").backends(1).build()?;
    let world = World::of(&lab)?;
    let stay = || {
        let mut cpus = CpuSet::new();
        cpus.set(0);
        sched_setaffinity(None, &cpus).context("stay on one CPU")
    };
    let setting = Setting::of(&lab, ROOM);
    let scene = Scene { setting: &setting, world: &world };
    lab.director().run(|| {
        stay()?;
        match &options.against {
            None => measure(options, scene),
            Some(against) => compare::run(against, scene),
        }
    })
}

/// Where packets come from and go to.
#[derive(Clone, Copy)]
struct Scene<'a> {
    setting: &'a Setting,
    world: &'a World,
}

fn measure(options: &Options, scene: Scene<'_>) -> Result<()> {
    let Options { extent, only, .. } = options;
    let mut report = Report::begin(*extent)?;
    let wanted = |case: &str| only.as_ref().is_none_or(|only| case.contains(only));
    let rounds = extent.choose(5, 15);
    let mut subjects = [Subject::new(None, scene)?];
    let mut figures: Vec<Figure> = subject::rounds(&mut subjects, rounds, &|case, _| wanted(case))?.concat();
    drop(subjects);
    for &flows in extent.choose(&crowd::SIZES[2..], &crowd::SIZES[..]) {
        figures.extend(crowd::measure(scene, flows, rounds, &wanted)?);
    }
    ensure!(!figures.is_empty(), "no packet is called `{}`", only.as_deref().unwrap_or_default());
    let measured = Measured { yardstick: yardstick(YARDS)?, figures };
    report.ran.push(format!(
        "BPF_PROG_TEST_RUN of both loaded programs, {rounds} rounds of thousands of packets in a row, before each of which \
         its head and its flow are put back"
    ));
    report.tables = vec![table(&measured)];
    if only.is_some() {
        return report.print("packet");
    }
    report.ran.push(memory::sentence()?);
    report.targets = compare::targets(&measured);
    report.finish("packet", &measured)
}

/// A figure of each round's two means.
fn figure(case: &str, program: Program, means: &[(f64, f64)]) -> Figure {
    let net = || means.iter().map(|(gross, null)| gross - null);
    Figure {
        case: case.to_owned(),
        program: program.name().to_owned(),
        net: median(net()),
        null: median(means.iter().map(|(_, null)| *null)),
        low: lowest(net()),
        high: highest(net()),
    }
}

impl Measured {
    fn net(&self, case: &str, program: Program) -> f64 {
        let found = self.figures.iter().find(|figure| figure.case == case && figure.program == program.name());
        found.map_or(f64::NAN, |figure| figure.net)
    }
}

fn table(measured: &Measured) -> Table {
    let null = |program: Program| {
        let found = measured.figures.iter().filter(|figure| figure.program == program.name());
        number(median(found.map(|figure| figure.null)))
    };
    let note = format!(
        "Null program: TC {}, XDP {}. (up): XDP's part of a packet that it passes up to TC. Of many flows, each packet is of another one.",
        null(Program::Tc),
        null(Program::Xdp)
    );
    let mut table = Table::new("ns per packet, null program subtracted", &["packet", "TC", "XDP", "target"]).note(note);
    for figure in measured.figures.iter().filter(|figure| figure.program == Program::Tc.name()) {
        let case = &figure.case;
        let target = conversation::target(case).map_or_else(String::new, |target| format!("≤ {target}"));
        table.row(case, Program::ALL.map(|program| number(measured.net(case, program))).into_iter().chain([target]));
    }
    table
}
