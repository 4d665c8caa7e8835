//! The verifier's work is a budget: `budget.toml` has what each program cost on each kernel when somebody last looked.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};

use balancer_tests::progrun::{Programs, Room};
use balancer_user::host;
use balancer_user::kernel::object;

/// The table, which travels inside the test: a guest of `cargo xtask test --kernel` has no source.
const TABLE: &str = include_str!("../budget.toml");

/// Of a hundred: what may be exceeded, and what may be saved, before the figure is out of date.
const MORE: u32 = 15;
const LESS: u32 = 25;

/// Kernel series → program → verified instructions.
type Table = BTreeMap<String, BTreeMap<String, u32>>;

#[test]
fn programs_stay_within_their_budget() -> Result<()> {
    let table: Table = toml::from_str(TABLE).context("read tests/budget.toml")?;
    let release = host::kernel_release()?;
    let (series, budget) = column(&table, &release).context("tests/budget.toml is empty")?;
    let programs = Programs::load(Room { flows: 16, stashes: 16, buckets: 16 })?;
    let mut complaints = Vec::new();
    for name in [object::TC, object::XDP].into_iter().chain(object::ERRANDS) {
        let planned = *budget.get(name).with_context(|| format!("budget.toml has no {name} in [\"{series}\"]"))?;
        let spent = programs.info(name)?.verified_instruction_count();
        let spent =
            spent.context("the kernel does not say how much it verified: it needs to be Linux 5.16 or newer")?;
        println!("{name}: {spent} verified instructions on Linux {release}, budget {planned} of [\"{series}\"]");
        complaints.extend(complain(name, series, planned, spent));
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// The series whose figures count for a kernel: its own, else the newest before it, else the oldest that there is.
fn column<'t>(table: &'t Table, release: &str) -> Option<(&'t str, &'t BTreeMap<String, u32>)> {
    let running = numbers(release);
    let mut columns: Vec<_> = table.iter().map(|(series, budget)| (series.as_str(), budget)).collect();
    columns.sort_by_key(|(series, _)| numbers(series));
    let before = columns.iter().rev().find(|(series, _)| numbers(series) <= running);
    before.or(columns.first()).copied()
}

/// Major and minor number of a release or a series.
fn numbers(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// What is wrong with `spent` instructions where `planned` stand in the budget.
fn complain(name: &str, series: &str, planned: u32, spent: u32) -> Option<String> {
    let (ceiling, floor) = (planned / 100 * (100 + MORE), planned / 100 * (100 - LESS));
    if spent > ceiling {
        return Some(format!(
            "on Linux {series} {name} takes {spent} verified instructions, {} more than its budget of {planned} and {} above the ceiling: \
             make it cheaper, or write `{name} = {spent}` into [\"{series}\"] of tests/budget.toml and say why",
            spent - planned,
            spent - ceiling
        ));
    }
    if spent < floor {
        return Some(format!(
            "on Linux {series} {name} takes only {spent} verified instructions of {planned}: write `{name} = {spent}` into \
             [\"{series}\"] of tests/budget.toml, or what was saved will be lost unseen"
        ));
    }
    None
}

#[test]
fn a_budget_is_exceeded_or_out_of_date() {
    for (spent, fine) in [(100_000, true), (115_000, true), (115_001, false), (75_000, true), (74_999, false)] {
        assert_eq!(complain("x", "6.1", 100_000, spent).is_none(), fine, "{spent}");
    }
}

#[test]
fn a_kernel_has_the_figures_of_its_series_or_of_the_one_before() {
    let table: Table = ["6.1", "6.12", "6.18"].map(|series| (series.to_owned(), BTreeMap::new())).into();
    for (release, expected) in [
        ("6.1.0-56-cloud-amd64", "6.1"),
        ("6.12.117+deb12-cloud-amd64", "6.12"),
        ("6.11.3", "6.1"),
        ("6.17.0-5-generic", "6.12"),
        ("7.0-rc1", "6.18"),
        ("5.15.0", "6.1"),
    ] {
        assert_eq!(column(&table, release).map(|(series, _)| series), Some(expected), "{release}");
    }
}
