//! Nanoseconds per packet, in the programs as the kernel has loaded them.
//!
//! Programs change packets and flows, so nothing is repeated inside the kernel: each sample is a test run of its own, on a
//! fresh copy of the packet, with the flow put back as it was. The clock is the kernel's (`duration`), and a program that
//! does nothing is sampled in turn with it. A round's figure is the difference of the means of their middle halves; what is
//! reported is the median of the rounds.

mod compare;
mod conversation;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use aya::programs::{SchedClassifier, Xdp};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::{Machine, median, middle, report};
use crate::lab::Lab;
use crate::progrun::{self, Program, Programs, Room, Setting, World};

use conversation::{Case, Restore};

/// What may be asked for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Fewer samples: seconds instead of half a minute.
    pub quick: bool,
    /// Compare with an earlier result, and leave that as it is.
    pub compare: bool,
    /// The earlier result; without it the one that was written last.
    pub baseline: Option<PathBuf>,
}

/// What one kind of packet costs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub case: String,
    pub program: String,
    /// Nanoseconds, less those of a program that does nothing.
    pub net: f64,
    /// Of a program that does nothing.
    pub null: f64,
    /// Lowest and highest of the rounds.
    pub low: f64,
    pub high: f64,
}

/// A whole result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measured {
    pub machine: Machine,
    pub rounds: usize,
    pub samples: usize,
    pub figures: Vec<Figure>,
}

const ROOM: Room = Room { flows: 1024, stashes: 64, buckets: 1024 };
/// Measures, prints, writes or compares.
pub fn run(options: &Options) -> Result<()> {
    let baseline = match (options.compare, &options.baseline) {
        (true, path) => Some(compare::read(path.as_deref().unwrap_or(&super::folder().join("packet.json")))?),
        (false, _) => None,
    };
    let lab = Lab::builder("bench").backends(1).build()?;
    let world = World::of(&lab)?;
    let setting = Setting::of(&lab, ROOM);
    let (rounds, samples) = if options.quick { (5, 1_000) } else { (15, 4_000) };
    let figures = lab.director().run(|| measure(&setting, &world, rounds, samples))?;
    let result = Measured { machine: Machine::here()?, rounds, samples, figures };
    println!("{}\n{} rounds of {} samples\n", result.machine, rounds, samples);
    println!("{}", compare::show(&result, baseline.as_ref()));
    match baseline {
        Some(baseline) => compare::judge(&result, &baseline),
        None => {
            println!("\n{}", report::write("packet.json", &result)?.display());
            Ok(())
        }
    }
}

/// Both programs and, beside them, those that do nothing.
struct Bench {
    programs: Programs,
    null_tc: SchedClassifier,
    null_xdp: Xdp,
}

fn measure(setting: &Setting, world: &World, rounds: usize, samples: usize) -> Result<Vec<Figure>> {
    let mut cpus = CpuSet::new();
    cpus.set(0);
    sched_setaffinity(None, &cpus).context("stay on one CPU")?;
    let mut programs = Programs::load(ROOM)?;
    programs.configure(setting)?;
    let cases = conversation::cases(&mut programs, setting, world)?;
    check(&mut programs, &cases)?;
    let mut bench = Bench { programs, null_tc: progrun::null_tc()?, null_xdp: progrun::null_xdp()? };
    let mut means = vec![Vec::new(); cases.len() * Program::ALL.len()];
    for _ in 0..rounds {
        let works = cases.iter().flat_map(|case| Program::ALL.map(|program| (case, program)));
        for ((case, program), means) in works.zip(&mut means) {
            let pair = bench.sample(case, program, samples);
            means.push(pair.with_context(|| format!("measure `{}` in {}", case.name, program.name()))?);
        }
    }
    let works = cases.iter().flat_map(|case| Program::ALL.map(|program| (case, program)));
    Ok(works.zip(means).map(|((case, program), means)| figure(case, program, &means)).collect())
}

/// Whether each packet meets the fate that it is measured for.
fn check(programs: &mut Programs, cases: &[Case]) -> Result<()> {
    for case in cases {
        for program in Program::ALL {
            let before = programs.counters()?;
            programs.run(program, case.interface, &case.frame)?;
            let (verdict, notes) = programs.counters()?.of_packet(&before)?;
            let wanted = if program == Program::Xdp { case.xdp } else { case.tc };
            ensure!(verdict == wanted, "`{}` in {}: {verdict:?} {notes:?}", case.name, program.name());
            restore(programs, &case.restore)?;
        }
    }
    Ok(())
}

/// Puts back what a packet changed.
fn restore(programs: &mut Programs, restore: &Restore) -> Result<()> {
    match restore {
        Restore::Nothing => Ok(()),
        Restore::Flow(slot, flow) => programs.set_flow(*slot, **flow),
        Restore::Begun(key) => {
            let slot = programs.slot(key)?.context("the flow did not begin")?;
            programs.forget(key)?;
            programs.set_flow(slot, [0; _])
        }
    }
}

fn figure(case: &Case, program: Program, means: &[(f64, f64)]) -> Figure {
    let net: Vec<f64> = means.iter().map(|(gross, null)| gross - null).collect();
    Figure {
        case: case.name.to_owned(),
        program: program.name().to_owned(),
        net: median(net.clone()),
        null: median(means.iter().map(|(_, null)| *null).collect()),
        low: net.iter().copied().fold(f64::INFINITY, f64::min),
        high: net.iter().copied().fold(f64::NEG_INFINITY, f64::max),
    }
}

impl Bench {
    /// One round's nanoseconds of a program and of one that does nothing.
    fn sample(&mut self, case: &Case, program: Program, samples: usize) -> Result<(f64, f64)> {
        let (mut gross, mut null) = (Vec::with_capacity(samples), Vec::with_capacity(samples));
        for _ in 0..samples {
            let skb = progrun::skb_context(case.interface);
            let xdp = progrun::xdp_context(case.interface, case.frame.len());
            let nothing = match program {
                Program::Tc => progrun::run(&self.null_tc, &skb, &case.frame)?,
                Program::Xdp => progrun::run(&self.null_xdp, &xdp, &case.frame)?,
            };
            null.push(nothing.duration.as_nanos() as f64);
            let answer = self.programs.run(program, case.interface, &case.frame)?;
            gross.push(answer.duration.as_nanos() as f64);
            restore(&mut self.programs, &case.restore)?;
        }
        Ok((middle(gross), middle(null)))
    }
}
