//! The present programs beside others: what became slower, and by how much.

use anyhow::{Context, Result, bail, ensure};

use super::clock::yardstick;
use super::{Against, Figure, Measured, Scene, YARDS, conversation, subject};
use crate::bench::Machine;
use crate::bench::report::{self, Saved, Target};
use crate::bench::table::{Table, number};
use crate::progrun::Program;
use subject::Subject;

/// What may be lost before it counts as a regression: a share, and nanoseconds that one run may be off by beside another, where
/// both run in turn and where they do not.
const TOLERANCE: f64 = 0.20;
const GRAIN: f64 = 4.0;
const GRAIN_OF_FILES: f64 = 12.0;

/// Rounds of the first look, and of the second at what seemed to be slower in it.
const FIRST: usize = 5;
const SECOND: usize = 15;

/// What is compared with, by name, and how exactly.
pub(super) struct Former {
    name: String,
    grain: f64,
}

/// Compares and fails if a packet costs a fifth more than it did.
pub(super) fn run(against: &Against, scene: Scene<'_>) -> Result<()> {
    println!("{}", Machine::here()?);
    match against {
        Against::Object { revision, file } => {
            let present = Subject::new(None, scene)?;
            let former = Subject::new(Some(file), scene).with_context(|| {
                format!(
                    "the programs of {revision} cannot be driven as the present ones are; if the maps have another layout since, \
                     compare with a file that was written there (`bench packet`, then --baseline FILE)"
                )
            })?;
            let mut subjects = [present, former];
            let mut look = |rounds: usize, wanted: &dyn Fn(&str, Program) -> bool| {
                let figures = subject::rounds(&mut subjects, rounds, wanted)?;
                let [now, was] = figures.try_into().ok().context("two subjects have two sets of figures")?;
                anyhow::Ok((now, was))
            };
            let former = Former { name: revision.clone(), grain: GRAIN };
            let (now, was) = look(FIRST, &|_, _| true)?;
            println!("{}", former.table(&now, &was).text());
            let suspects = former.slower(&now, &was);
            if suspects.is_empty() {
                return former.acquit();
            }
            println!("\nlooking again at what seems to be slower");
            let suspected = |case: &str, program: Program| {
                suspects.iter().any(|(now, _)| now.case == case && now.program == program.name())
            };
            let (now, was) = look(SECOND, &suspected)?;
            former.judge(&now, &was)
        }
        Against::Figures(file) => {
            let Saved { report, figures: was }: Saved<Measured> = report::read(file)?;
            ensure!(
                report.machine.processor == Machine::here()?.processor,
                "these figures are of another machine, and no yardstick makes one of two: {}",
                report.machine
            );
            let mut present = [Subject::new(None, scene)?];
            let now = subject::rounds(&mut present, FIRST, &|_, _| true)?.concat();
            let was = scaled(&was, yardstick(YARDS)?);
            let former = Former { name: file.display().to_string(), grain: GRAIN_OF_FILES };
            println!("{}", former.table(&now, &was).text());
            former.judge(&now, &was)
        }
    }
}

/// What figures would have been on a machine whose yardstick takes so long.
fn scaled(was: &Measured, yardstick: f64) -> Vec<Figure> {
    let scale = yardstick / was.yardstick;
    was.figures.iter().map(|figure| Figure { net: figure.net * scale, ..figure.clone() }).collect()
}

impl Former {
    fn table(&self, now: &[Figure], was: &[Figure]) -> Table {
        let name = &self.name;
        let mut table =
            Table::new(format!("ns per packet, now and in {name}"), &["packet", "program", "now", "was", "×"]);
        for (now, was) in pairs(now, was) {
            let numbers = [now.net, was.net, now.net / was.net].map(number);
            table.row(&now.case, [now.program.clone()].into_iter().chain(numbers));
        }
        table
    }

    /// What costs more than may be.
    fn slower<'f>(&self, now: &'f [Figure], was: &'f [Figure]) -> Vec<(&'f Figure, &'f Figure)> {
        pairs(now, was).filter(|(now, was)| now.net > was.net * (1.0 + TOLERANCE) + self.grain).collect()
    }

    fn judge(&self, now: &[Figure], was: &[Figure]) -> Result<()> {
        let slower = self.slower(now, was);
        if slower.is_empty() {
            return self.acquit();
        }
        let line = |(now, was): &(&Figure, &Figure)| {
            let more = (now.net / was.net - 1.0) * 100.0;
            format!(
                "{} in {}: {:.0} ns, {more:.0} % more than the {:.0} ns in {}",
                now.case, now.program, now.net, was.net, self.name
            )
        };
        bail!("slower by more than a fifth:\n  {}", slower.iter().map(line).collect::<Vec<_>>().join("\n  "))
    }

    fn acquit(&self) -> Result<()> {
        println!("\nno packet costs a fifth more than in {}", self.name);
        Ok(())
    }
}

/// Figures of the same packet in the same program.
fn pairs<'f>(now: &'f [Figure], was: &'f [Figure]) -> impl Iterator<Item = (&'f Figure, &'f Figure)> {
    now.iter().filter_map(|now| Some((now, was.iter().find(|was| was.case == now.case && was.program == now.program)?)))
}

/// What was to be reached: the better of the two programs counts, since each is a complete data path, and which one an interface gets
/// is a setting. Of a row of packets that have one target, the slowest.
pub(super) fn targets(measured: &Measured) -> Vec<Target> {
    let mut rows: Vec<(u32, &str, f64)> = Vec::new();
    for figure in measured.figures.iter().filter(|figure| figure.program == Program::Tc.name()) {
        let Some(target) = conversation::target(&figure.case) else { continue };
        let best =
            Program::ALL.map(|program| measured.net(&figure.case, program)).into_iter().fold(f64::INFINITY, f64::min);
        rows.push((target, &figure.case, best));
    }
    rows.into_iter().map(|(target, case, best)| Target::at_most(case, target.into(), " ns", best)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(case: &str, net: f64) -> Figure {
        Figure { case: case.to_owned(), program: Program::Tc.name().to_owned(), net, null: 70.0, low: net, high: net }
    }

    #[test]
    fn a_fifth_more_is_a_regression_and_a_grain_is_none() {
        let former = Former { name: "main".to_owned(), grain: GRAIN };
        let was = [figure("a", 100.0), figure("b", 10.0), figure("gone", 1.0)];
        assert!(former.judge(&[figure("a", 123.0), figure("b", 15.0), figure("new", 999.0)], &was).is_ok());
        let error = former.judge(&[figure("a", 130.0), figure("b", 10.0)], &was).map_err(|error| error.to_string());
        let wanted = "slower by more than a fifth:\n  a in balancer_tc: 130 ns, 30 % more than the 100 ns in main";
        assert_eq!(error.err().as_deref(), Some(wanted));
    }

    #[test]
    fn a_file_of_a_slower_hour_is_scaled() {
        let was = Measured { yardstick: 400.0, figures: vec![figure("a", 100.0)] };
        assert_eq!(scaled(&was, 200.0)[0].net, 50.0);
    }

    #[test]
    fn the_better_program_counts_for_a_target() {
        let xdp = Figure { program: Program::Xdp.name().to_owned(), ..figure("not ours", 20.0) };
        let measured = Measured { yardstick: 1.0, figures: vec![figure("not ours", 50.0), xdp, figure("other", 1.0)] };
        assert_eq!(targets(&measured), [Target::at_most("not ours", 25.0, " ns", 20.0)]);
    }
}
