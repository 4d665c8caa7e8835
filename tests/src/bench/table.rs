//! Tables, for a terminal and for a page.

use serde::{Deserialize, Serialize};

/// The first column is to the left, the others, which are numbers, to the right.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Table {
    pub(super) title: String,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// What has to be known to read it.
    note: String,
}

impl Table {
    pub(super) fn new(title: impl Into<String>, head: &[&str]) -> Self {
        let head = head.iter().map(|cell| (*cell).to_owned()).collect();
        Self { title: title.into(), head, rows: Vec::new(), note: String::new() }
    }

    #[must_use]
    pub(super) fn note(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }

    pub(super) fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = String>) {
        self.rows.push([name.into()].into_iter().chain(cells).collect());
    }

    /// For a terminal.
    pub(super) fn text(&self) -> String {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
        let lines = [&self.head, &rule].into_iter().chain(&self.rows).map(|cells| padded(cells, &widths).join("  "));
        let lines = lines.map(|line| line.trim_end().to_owned());
        let note = (!self.note.is_empty()).then(|| self.note.clone());
        [self.title.clone(), String::new()].into_iter().chain(lines).chain(note).collect::<Vec<_>>().join("\n")
    }

    /// For a page.
    pub(super) fn markdown(&self) -> String {
        let widths = self.widths();
        let rule = |(column, width): (usize, &usize)| match column {
            0 => "-".repeat(*width),
            _ => "-".repeat(width.saturating_sub(1)) + ":",
        };
        let rule: Vec<String> = widths.iter().enumerate().map(rule).collect();
        let line = |cells: &Vec<String>| format!("| {} |", padded(cells, &widths).join(" | "));
        let lines = [&self.head, &rule].into_iter().chain(&self.rows).map(line).collect::<Vec<_>>().join("\n");
        let note = if self.note.is_empty() { String::new() } else { format!("\n\n{}", self.note) };
        format!("**{}**\n\n{lines}{note}", self.title)
    }

    fn widths(&self) -> Vec<usize> {
        let width = |column: usize| {
            let cells = self.rows.iter().chain([&self.head]).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        (0..self.head.len()).map(width).collect()
    }
}

fn padded(cells: &[String], widths: &[usize]) -> Vec<String> {
    let pad = |(column, (cell, width)): (usize, (&String, &usize))| match column {
        0 => format!("{cell:<width$}"),
        _ => format!("{cell:>width$}"),
    };
    cells.iter().zip(widths).enumerate().map(pad).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("Speeds", &["who", "requests/s"]).note("In a hurry.");
        table.row("direct", [number(1234.5)]);
        table.row("TC", [number(f64::NAN)]);
        table
    }

    #[test]
    fn a_terminal_gets_columns() {
        let lines =
            ["Speeds", "", "who     requests/s", "------  ----------", "direct        1234", "TC               -"];
        assert_eq!(table().text(), [&lines[..], &["In a hurry."]].concat().join("\n"));
    }

    #[test]
    fn a_page_gets_markdown() {
        let rows = "| who    | requests/s |\n| ------ | ---------: |\n| direct |       1234 |\n| TC     |          - |";
        assert_eq!(table().markdown(), format!("**Speeds**\n\n{rows}\n\nIn a hurry."));
    }

    #[test]
    fn numbers_have_three_digits_or_what_is_before_the_point() {
        let numbers = [0.123, 1.0, 12.34, 99.99, 1234.5, -12.34, f64::INFINITY].map(number);
        assert_eq!(numbers, ["0.12", "1.00", "12.3", "100.0", "1234", "-12.3", "-"]);
    }
}
