//! What a benchmark says at its end: on the terminal, in its file, and from there on the page.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::busy::Stretch;
use super::table::Table;
use super::{Extent, Machine};

/// A benchmark's result for people.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    /// `--quick` or `--full`.
    pub(super) extent: String,
    /// What ran, by name and version, and how.
    pub(super) ran: Vec<String>,
    pub(super) tables: Vec<Table>,
    pub(super) targets: Vec<Target>,
    #[serde(skip)]
    time: Option<Stretch>,
}

/// What was to be reached, and what was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) what: String,
    pub(super) wanted: String,
    pub(super) figure: String,
    pub(super) met: bool,
}

/// The file: what people read, and the figures that it was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Saved<F> {
    pub(super) report: Report,
    pub(super) figures: F,
}

impl Target {
    /// A figure that may be at most so much.
    pub(super) fn at_most(what: impl Into<String>, most: f64, unit: &str, figure: f64) -> Self {
        Self::new(what.into(), '≤', most, unit, figure, figure <= most)
    }

    /// A figure that has to be at least so much.
    pub(super) fn at_least(what: impl Into<String>, least: f64, unit: &str, figure: f64) -> Self {
        Self::new(what.into(), '≥', least, unit, figure, figure >= least)
    }

    fn new(what: String, sign: char, bound: f64, unit: &str, figure: f64, met: bool) -> Self {
        let figure = super::table::number(figure);
        Self { what, wanted: format!("{sign} {bound}{unit}"), figure: format!("{figure}{unit}"), met }
    }

    /// A table of them.
    pub(super) fn table(targets: &[Self]) -> Table {
        let mut table = Table::new("Targets", &["what", "wanted", "measured", ""]);
        for Self { what, wanted, figure, met } in targets {
            let verdict = if *met { "met" } else { "**missed**" };
            table.row(what, [wanted.clone(), figure.clone(), verdict.to_owned()]);
        }
        table
    }
}

impl Report {
    /// The beginning of a benchmark.
    pub(super) fn begin(extent: Extent) -> Result<Self> {
        let extent = extent.choose("--quick", "--full").to_owned();
        let (machine, time) = (Machine::here()?, Some(Stretch::begin()?));
        Ok(Self { machine, extent, ran: Vec::new(), tables: Vec::new(), targets: Vec::new(), time })
    }

    /// Prints it, and writes it with its figures.
    pub(super) fn finish(mut self, name: &str, figures: &impl Serialize) -> Result<()> {
        self.print(name)?;
        let path = path(name);
        std::fs::create_dir_all(super::folder()).context("create the folder of results")?;
        let saved = Saved { report: self, figures };
        let text = serde_json::to_string_pretty(&saved).context("make JSON of the result")?;
        std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
        println!("{}\n", path.display());
        Ok(())
    }

    /// Prints it, with what other work there was meanwhile.
    pub(super) fn print(&mut self, name: &str) -> Result<()> {
        if let Some(time) = self.time {
            self.machine.others = time.others()?;
        }
        println!("{name} {}: {}", self.extent, self.machine);
        for line in &self.ran {
            println!("  {line}");
        }
        for table in &self.tables {
            println!("\n{}", table.text());
        }
        if !self.targets.is_empty() {
            println!("\n{}", Target::table(&self.targets).text());
        }
        println!();
        Ok(())
    }
}

/// A benchmark's file.
pub(super) fn path(name: &str) -> PathBuf {
    super::folder().join(format!("{name}.json"))
}

/// What a benchmark wrote, or another file of that kind.
pub(super) fn read<F: DeserializeOwned>(path: &std::path::Path) -> Result<Saved<F>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_at_its_bound() {
        assert!(Target::at_most("a", 110.0, " ns", 110.0).met);
        assert!(!Target::at_most("a", 110.0, " ns", 110.1).met);
        assert!(Target::at_least("a", 1.7, " ×", 1.7).met);
        assert!(!Target::at_least("a", 1.7, " ×", f64::NAN).met, "what was not measured is not met");
        let target = Target::at_most("a", 0.125, " of it", 0.2);
        assert_eq!((target.wanted.as_str(), target.figure.as_str()), ("≤ 0.125 of it", "0.20 of it"));
    }
}
