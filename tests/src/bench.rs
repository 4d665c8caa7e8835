//! Benchmarks: what a packet costs in the programs, and what a request costs beside what people would use instead.
//!
//! Both print the machine, what they ran and a table, and write `target/bench/*.json`. Ratios are of one run, whose variants
//! take turns: a machine that is busy for a while is busy for all of them.

pub mod http;
pub mod packet;

mod machine;
mod report;

pub use machine::Machine;

use std::path::{Path, PathBuf};

/// Where results go.
pub fn folder() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).join("target/bench")
}

/// The value in the middle; of an even number, the lower of the two.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// The mean of the middle half: as little impressed by outliers as the median, but finer than the clock, whose ticks here
/// are 10 ns.
fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let quarter = values.len() / 4;
    let half = values.get(quarter..values.len() - quarter).unwrap_or_default();
    half.iter().sum::<f64>() / half.len() as f64
}
