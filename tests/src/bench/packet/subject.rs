//! Programs that are measured, and their packets.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use balancer_ebpf::verdict::Verdict;

use super::conversation::{self, BEGINNINGS, Case};

use super::{Figure, ROOM, Scene, figure};
use crate::bench::statistics::middle;
use crate::progrun::{Callee, Original, Program, Programs, Replay};

/// Packets in a row, of which a sample is the mean. Of XDP there are more: in front of each row the kernel waits until nobody runs its
/// dispatcher (`bpf_prog_change_xdp`, Linux 5.6), for tens of milliseconds.
pub(super) const fn row(program: Program) -> u32 {
    match program {
        Program::Tc => BEGINNINGS as u32,
        Program::Xdp => 4096,
    }
}

/// The samples of a round.
const fn samples_of(program: Program) -> usize {
    match program {
        Program::Tc => 40,
        Program::Xdp => 3,
    }
}

/// Both programs of one object, their flows, and the packets for these.
pub(super) struct Subject {
    programs: Programs,
    cases: Vec<Case>,
}

impl Subject {
    /// The daemon's own programs, or those of another object.
    pub(super) fn new(object: Option<&Path>, scene: Scene<'_>) -> Result<Self> {
        let mut programs = Programs::load_from(object, ROOM)?;
        programs.configure(scene.setting)?;
        let cases = conversation::cases(&mut programs, scene)?;
        let mut subject = Self { programs, cases };
        subject.check()?;
        Ok(subject)
    }

    /// Whether each packet meets the fate that it is measured for.
    fn check(&mut self) -> Result<()> {
        let Self { programs, cases, .. } = self;
        for case in cases {
            for program in Program::ALL {
                for frame in &case.frames {
                    let before = programs.counters()?;
                    programs.run(program, case.interface, frame)?;
                    let (verdict, notes) = programs.counters()?.of_packet(&before)?;
                    ensure!(
                        verdict == case.wanted(program),
                        "`{}` in {}: {verdict:?} {notes:?}",
                        case.name,
                        program.name()
                    );
                }
                if let Some((slot, flow)) = &case.flow {
                    programs.set_flow(*slot, **flow)?;
                }
                case.take_away(programs)?;
            }
        }
        Ok(())
    }

    /// Prepares the packets of a case to be run in a row, and sees to it that none of them meets another fate there.
    fn replay(&mut self, index: usize, program: Program) -> Result<Replay> {
        let case = &self.cases[index];
        let flow = case.flow.as_ref().map(|(slot, flow)| (*slot, &**flow));
        let originals: Vec<Original<'_>> = case.frames.iter().map(|frame| Original { frame, flow }).collect();
        let replay = Replay::new(&self.programs, program, case.interface, &originals)?;
        let before = self.programs.counters()?;
        replay.run(Callee::Measured, row(program))?;
        let after = self.programs.counters()?;
        ensure!(
            after.count(case.wanted(program)) - before.count(case.wanted(program)) == u64::from(row(program)),
            "`{}` in a row in {}: {:?}",
            case.name,
            program.name(),
            after.named(&before)
        );
        case.take_away(&mut self.programs)?;
        Ok(replay)
    }

    fn sample(&mut self, index: usize, replay: &Replay, row: u32) -> Result<(f64, f64)> {
        let null = replay.run(Callee::Nothing, row)?.as_nanos() as f64;
        let gross = replay.run(Callee::Measured, row)?.as_nanos() as f64;
        self.cases[index].take_away(&mut self.programs)?;
        Ok((gross, null))
    }
}

impl Case {
    fn wanted(&self, program: Program) -> Verdict {
        if program == Program::Xdp { self.xdp } else { self.tc }
    }

    /// Takes away the flows that have begun.
    fn take_away(&self, programs: &mut Programs) -> Result<()> {
        for key in &self.begun {
            if let Some(slot) = programs.slot(key)? {
                programs.forget(key)?;
                programs.set_flow(slot, [0; _])?;
            }
        }
        Ok(())
    }
}

/// Measures the same packets in all subjects, in turn; the figures of each. Cases that are not wanted are left out.
///
/// A case's rounds follow each other, for the cookies in some packets are good for a minute.
pub(super) fn rounds(
    subjects: &mut [Subject],
    rounds: usize,
    wanted: &dyn Fn(&str, Program) -> bool,
) -> Result<Vec<Vec<Figure>>> {
    let mut figures = vec![Vec::new(); subjects.len()];
    for index in 0..subjects.first().context("nobody is measured")?.cases.len() {
        let name = subjects[0].cases[index].name.clone();
        for program in Program::ALL.into_iter().filter(|program| wanted(&name, *program)) {
            let means = case(subjects, index, program, rounds);
            let means = means.with_context(|| format!("measure `{name}` in {}", program.name()))?;
            for (figures, means) in figures.iter_mut().zip(means) {
                figures.push(figure(&name, program, &means));
            }
        }
    }
    Ok(figures)
}

/// The rounds of one packet: for each subject its nanoseconds in each, and those of a program that does nothing.
fn case(subjects: &mut [Subject], index: usize, program: Program, rounds: usize) -> Result<Vec<Vec<(f64, f64)>>> {
    let replays = subjects.iter_mut().map(|subject| subject.replay(index, program)).collect::<Result<Vec<_>>>()?;
    let mut means = vec![Vec::with_capacity(rounds); subjects.len()];
    for _ in 0..rounds {
        let mut samples = vec![(Vec::new(), Vec::new()); subjects.len()];
        for _ in 0..samples_of(program) {
            for ((subject, replay), (gross, null)) in subjects.iter_mut().zip(&replays).zip(&mut samples) {
                let sample = subject.sample(index, replay, row(program))?;
                gross.push(sample.0);
                null.push(sample.1);
            }
        }
        for (means, (gross, null)) in means.iter_mut().zip(samples) {
            means.push((middle(gross), middle(null)));
        }
    }
    Ok(means)
}
