//! Tables that a person reads: aligned, without frames, coloured only on a terminal.

use comfy_table::{Attribute, Cell, CellAlignment, Color, Table, presets::NOTHING};

use crate::wire::VersionState;

/// A table with these headings; those that begin with `>` are aligned to the right.
pub(super) fn new(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(
        headings.iter().map(|heading| Cell::new(heading.trim_start_matches('>')).add_attribute(Attribute::Dim)),
    );
    for (at, heading) in headings.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
            if heading.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// Prints it without the blanks at line ends.
pub(super) fn text(table: &Table) -> String {
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

pub(super) fn state(state: VersionState) -> Cell {
    let cell = Cell::new(state.as_str());
    match state {
        VersionState::Active => cell.fg(Color::Green),
        VersionState::Failed => cell.fg(Color::Red),
        VersionState::Held | VersionState::Canary => cell.fg(Color::Yellow),
        VersionState::Draining | VersionState::Staged => cell,
    }
}

/// Seconds as a person says them: the two largest units.
pub(super) fn seconds(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(size, _)| seconds >= *size) else { return "0s".to_owned() };
    let mut left = seconds;
    let mut text = String::new();
    for (size, unit) in units.iter().skip(first).take(2) {
        if left >= *size {
            text.push_str(&format!("{}{unit}", left / size));
            left %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (given, expected) in [(0, "0s"), (59, "59s"), (60, "1m"), (3_661, "1h1m"), (90_061, "1d1h"), (86_401, "1d")]
        {
            assert_eq!(seconds(given), expected);
        }
    }
}
