//! Figures as a table, and beside those of an earlier run.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Measured, conversation};
use crate::bench::{median, report};
use crate::progrun::Program;

/// What may be lost before it counts as a regression: a share, and nanoseconds below which a clock is of no use.
const TOLERANCE: f64 = 0.20;
const GRAIN: f64 = 12.0;

/// An earlier result.
pub(super) fn read(path: &Path) -> Result<Measured> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("read {}: run `bench packet` once without --compare", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
}

/// A table, beside an earlier one if there is.
pub(super) fn show(result: &Measured, baseline: Option<&Measured>) -> String {
    let mut head = vec!["ns per packet, null program subtracted", "TC", "XDP", "target"];
    if baseline.is_some() {
        head.extend(["TC was", "XDP was"]);
    }
    let net = |measured: &Measured, case: &str, program: Program| {
        let found = measured.figures.iter().find(|figure| figure.case == case && figure.program == program.name());
        report::number(found.map_or(f64::NAN, |figure| figure.net))
    };
    let names = result.figures.iter().filter(|figure| figure.program == Program::Tc.name()).map(|figure| &figure.case);
    let rows: Vec<Vec<String>> = names
        .map(|case| {
            let mut row = vec![case.clone(), net(result, case, Program::Tc), net(result, case, Program::Xdp)];
            row.push(conversation::target(case).map_or_else(String::new, |target| format!("≤ {target}")));
            row.extend(baseline.iter().flat_map(|was| Program::ALL.map(|program| net(was, case, program))));
            row
        })
        .collect();
    let null = |program: Program| {
        let found = result.figures.iter().filter(|figure| figure.program == program.name());
        report::number(median(found.map(|figure| figure.null).collect()))
    };
    let nulls = format!("null program: TC {}, XDP {}", null(Program::Tc), null(Program::Xdp));
    format!("{}\n\n{nulls}; (up): XDP's part of a packet that it passes up to TC", report::table(&head, &rows))
}

/// Fails if anything costs a fifth more than it did.
pub(super) fn judge(result: &Measured, baseline: &Measured) -> Result<()> {
    ensure!(
        result.machine.processor == baseline.machine.processor,
        "the baseline is of another machine: {}",
        baseline.machine
    );
    let mut worse = Vec::new();
    for figure in &result.figures {
        let Some(was) = baseline.figures.iter().find(|was| was.case == figure.case && was.program == figure.program)
        else {
            continue;
        };
        if figure.net > was.net * (1.0 + TOLERANCE) + GRAIN {
            let (case, program) = (&figure.case, &figure.program);
            worse.push(format!("{case} in {program}: {:.0} ns, was {:.0}", figure.net, was.net));
        }
    }
    if !worse.is_empty() {
        bail!("slower by more than a fifth:\n  {}", worse.join("\n  "));
    }
    println!("\nnothing is slower by a fifth than in the baseline ({})", baseline.machine);
    Ok(())
}
