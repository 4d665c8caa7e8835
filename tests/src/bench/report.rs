//! Tables and files.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;

/// A table for a terminal: the first column to the left, numbers to the right.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(head.get(column).map(|cell| cell.chars().count())).max().unwrap_or(0)
    };
    let line = |cells: &[String]| -> String {
        let cells = cells.iter().enumerate().map(|(column, cell)| match column {
            0 => format!("{cell:<width$}", width = width(0)),
            _ => format!("{cell:>width$}", width = width(column)),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule: Vec<String> = (0..head.len()).map(|column| "-".repeat(width(column))).collect();
    let lines = [&head, &rule].into_iter().chain(rows).map(|cells| line(cells));
    lines.collect::<Vec<_>>().join("\n")
}

/// Writes a result and returns where it is.
pub(super) fn write(name: &str, result: &impl Serialize) -> Result<PathBuf> {
    let folder = super::folder();
    std::fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    let path = folder.join(name);
    let text = serde_json::to_string_pretty(result).context("make JSON of the result")?;
    std::fs::write(&path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// A number of which the size matters, not the digits.
pub(super) fn number(value: f64) -> String {
    match value {
        value if !value.is_finite() => "-".to_owned(),
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 10.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
