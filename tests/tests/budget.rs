//! The verifier's work is a budget: `budget.toml` has what each program cost when somebody last looked.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use balancer_tests::progrun::{Programs, Room};
use balancer_user::kernel::object;

/// Of a hundred: what may be exceeded, and what may be saved, before the figure is out of date.
const MORE: u32 = 15;
const LESS: u32 = 25;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    verified: u32,
}

#[test]
fn programs_stay_within_their_budget() -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("budget.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let budget: BTreeMap<String, Entry> = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    let programs = Programs::load(Room { flows: 16, stashes: 16, buckets: 16 })?;
    let mut complaints = Vec::new();
    for name in [object::TC, object::XDP, object::CLOSE, object::RELEASE] {
        let planned = budget.get(name).with_context(|| format!("budget.toml has no [{name}]"))?.verified;
        let spent = programs.info(name)?.verified_instruction_count();
        let spent =
            spent.context("the kernel does not say how much it verified: it needs to be Linux 5.16 or newer")?;
        println!("{name}: {spent} verified instructions, budget {planned}");
        complaints.extend(complain(name, planned, spent));
    }
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    Ok(())
}

/// What is wrong with `spent` instructions where `planned` stand in the budget.
fn complain(name: &str, planned: u32, spent: u32) -> Option<String> {
    let (ceiling, floor) = (planned / 100 * (100 + MORE), planned / 100 * (100 - LESS));
    if spent > ceiling {
        return Some(format!(
            "{name} takes {spent} verified instructions, {} more than its budget of {planned} and {} above the ceiling: \
             make it cheaper, or write `verified = {spent}` into tests/budget.toml and say why",
            spent - planned,
            spent - ceiling
        ));
    }
    if spent < floor {
        return Some(format!(
            "{name} takes only {spent} verified instructions of {planned}: write `verified = {spent}` into \
             tests/budget.toml, or what was saved will be lost unseen"
        ));
    }
    None
}

#[test]
fn a_budget_is_exceeded_or_out_of_date() {
    for (spent, fine) in [(100_000, true), (115_000, true), (115_001, false), (75_000, true), (74_999, false)] {
        assert_eq!(complain("x", 100_000, spent).is_none(), fine, "{spent}");
    }
}
