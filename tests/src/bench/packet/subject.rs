//! Programs that are measured, and their packets.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::clock::Clock;
use super::conversation::{self, Case, Restore};
use super::{Figure, ROOM, Scene, figure};
use crate::bench::statistics::middle;
use crate::progrun::{Program, Programs};

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
        let Self { programs, cases } = self;
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

    fn sample(&mut self, index: usize, program: Program) -> Result<f64> {
        let case = &self.cases[index];
        let answer = self.programs.run(program, case.interface, &case.frame)?;
        restore(&mut self.programs, &case.restore)?;
        Ok(answer.duration.as_nanos() as f64)
    }
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

/// Measures the same packets in all subjects, in turn; the figures of each. Cases that are not wanted are left out.
pub(super) fn rounds(
    clock: &Clock,
    subjects: &mut [Subject],
    rounds: usize,
    samples: usize,
    wanted: &dyn Fn(&str, Program) -> bool,
) -> Result<Vec<Vec<Figure>>> {
    let names: Vec<String> =
        subjects.first().context("nobody is measured")?.cases.iter().map(|case| case.name.clone()).collect();
    let works: Vec<(usize, Program)> = (0..names.len())
        .flat_map(|index| Program::ALL.map(|program| (index, program)))
        .filter(|(index, program)| wanted(&names[*index], *program))
        .collect();
    let mut means = vec![vec![Vec::new(); works.len()]; subjects.len()];
    for _ in 0..rounds {
        for (work, (index, program)) in works.iter().copied().enumerate() {
            let round = round(clock, subjects, index, program, samples);
            let round = round.with_context(|| format!("measure `{}` in {}", names[index], program.name()))?;
            for (means, mean) in means.iter_mut().zip(round) {
                means[work].push(mean);
            }
        }
    }
    let figures = |means: &Vec<Vec<(f64, f64)>>| {
        works.iter().zip(means).map(|((index, program), means)| figure(&names[*index], *program, means)).collect()
    };
    Ok(means.iter().map(figures).collect())
}

/// One round of one packet: for each subject its nanoseconds, and those of a program that does nothing.
fn round(
    clock: &Clock,
    subjects: &mut [Subject],
    index: usize,
    program: Program,
    samples: usize,
) -> Result<Vec<(f64, f64)>> {
    let mut null = Vec::with_capacity(samples);
    let mut gross = vec![Vec::with_capacity(samples); subjects.len()];
    for _ in 0..samples {
        for (subject, gross) in subjects.iter_mut().zip(&mut gross) {
            let case = &subject.cases[index];
            null.push(clock.null(program, case.interface, &case.frame)?);
            gross.push(subject.sample(index, program)?);
        }
    }
    let null = middle(null);
    Ok(gross.into_iter().map(|gross| (middle(gross), null)).collect())
}
