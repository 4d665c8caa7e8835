//! Documents that say which test proves what, held to that: every row is there once, and every test that it names exists and names the row
//! itself. `docs/conformance.md` does so for each statement of what "as in Tomcat's parallel deployment" means, `docs/network.md` for each of
//! the network's pitfalls.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use balancer_ebpf::http::Scanned;
use balancer_ebpf::verdict::{Note, Verdict};

/// All statements. A new one begins here.
const STATEMENTS: &[&str] = &[
    "C1", "C2", "C3", "C4", "C6", "C7", "C8", "C9", "C10", "C13", "C14", "C15", "C16", "C18", "C20", "C21", "C22",
    "C23", "C24", "C25", "C28", "C29", "C30", "C31", "C32", "C33", "C34", "C35", "C36", "C38", "C39", "C41", "C42",
    "C43", "D1", "D2", "D3", "D6", "D7", "D8", "D9", "D10", "D11", "D12", "D13", "D14", "D15", "D16", "D17", "D18",
    "D19", "D20", "D21", "D22",
];

/// All pitfalls, in the order of the design's table.
const PITFALLS: &[&str] = &[
    "N1", "N2", "N3", "N4", "N5", "N6", "N7", "N8", "N9", "N10", "N11", "N12", "N13", "N14", "N15", "N16", "N17",
    "N18", "N19", "N20", "N21", "N22", "N23",
];

/// What a statement may refer to.
const REFERENCES: &[&str] = &["Tomcat", "source", "own"];

/// A document of tables.
struct Document {
    path: &'static str,
    ids: &'static [&'static str],
    /// The cells of a row, behind its id.
    cells: &'static [Cell],
}

/// What stands in a cell.
enum Cell {
    Text,
    OneOf(&'static [&'static str]),
    /// `path/file.rs::test_name`, with `<br>` between several.
    Tests,
    /// The same, or "not yet" and why.
    TestsOrNot,
    /// `path/file.rs`, likewise.
    Files,
    /// Names of counters, likewise, or a dash.
    Counters,
}

const CONFORMANCE: Document = Document {
    path: "docs/conformance.md",
    ids: STATEMENTS,
    cells: &[Cell::Text, Cell::OneOf(REFERENCES), Cell::Tests],
};

const NETWORK: Document = Document {
    path: "docs/network.md",
    ids: PITFALLS,
    cells: &[Cell::Text, Cell::Text, Cell::Files, Cell::TestsOrNot, Cell::Counters],
};

/// What is wrong with a document; `read` gives the text of a file.
fn complaints(document: &Document, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut count: BTreeMap<&str, usize> = document.ids.iter().map(|id| (*id, 0)).collect();
    for line in text.lines().filter(|line| is_row(line)) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [id, cells @ ..] = cells.as_slice() else { continue };
        match count.get_mut(id) {
            Some(count) => *count += 1,
            None => found.push(format!("{id} is no row of {}", document.path)),
        }
        if cells.len() != document.cells.len() {
            found.push(format!("{id} has {} cells, not {}: {line}", cells.len() + 1, document.cells.len() + 1));
            continue;
        }
        for (cell, kind) in cells.iter().zip(document.cells) {
            found.extend(complain(id, cell, kind, &read));
        }
    }
    found.extend(
        count.iter().filter(|(_, count)| **count != 1).map(|(id, count)| format!("{id} is there {count} times")),
    );
    found
}

/// Whether a line is a row of a table whose first cell is a letter and a number.
fn is_row(line: &str) -> bool {
    let id = line.strip_prefix("| ").and_then(|rest| rest.split_once(' ')).map_or("", |(id, _)| id);
    let mut letters = id.chars();
    letters.next().is_some_and(|letter| letter.is_ascii_uppercase())
        && !letters.as_str().is_empty()
        && letters.all(|letter| letter.is_ascii_digit())
}

/// What is wrong with a cell.
fn complain(id: &str, cell: &str, kind: &Cell, read: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let each = || cell.split("<br>").map(str::trim);
    match kind {
        Cell::Text if cell.is_empty() => vec![format!("{id} states nothing")],
        Cell::Text => Vec::new(),
        Cell::OneOf(words) if words.contains(&cell) => Vec::new(),
        Cell::OneOf(words) => vec![format!("{id}: `{cell}` is none of {words:?}")],
        Cell::TestsOrNot if cell.strip_prefix("not yet: ").is_some_and(|why| !why.is_empty()) => Vec::new(),
        Cell::Tests | Cell::TestsOrNot => each().filter_map(|test| complain_of_test(id, test, read)).collect(),
        Cell::Files => {
            let missing = |file: &&str| quoted(file).and_then(read).is_none();
            each().filter(missing).map(|file| format!("{id}: there is no {file}")).collect()
        }
        Cell::Counters if cell == "—" => Vec::new(),
        Cell::Counters => {
            let unknown = |name: &&str| !quoted(name).is_some_and(counts);
            each().filter(unknown).map(|name| format!("{id}: {name} counts nothing")).collect()
        }
    }
}

fn complain_of_test(id: &str, test: &str, read: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let Some((file, name)) = quoted(test).and_then(|test| test.split_once("::")) else {
        return Some(format!("{id}: `path/file.rs::test_name` is wanted, not {test}"));
    };
    match read(file).map(|text| naming(&text, name)) {
        None => Some(format!("{id}: there is no {file}")),
        Some(None) => Some(format!("{id}: {file} has no test {name}")),
        Some(Some(words)) if !names(&words, id) => {
            Some(format!("{id}: neither the name nor the comment of {file}::{name} says so"))
        }
        Some(Some(_)) => None,
    }
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
}

fn counts(name: &str) -> bool {
    [Verdict::NAMES, Note::NAMES, Scanned::NAMES].iter().any(|names| names.contains(&name))
}

/// A test's name and the comment above it. A test is a function with an attribute that says so, or one that a macro makes a
/// test of for each hook, from its name on a line of its own.
fn naming(text: &str, name: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("fn {name}(")))?;
    let above = || lines[..at].iter().rev().take_while(|line| line.starts_with("//") || line.starts_with("#["));
    let is_listed = lines.iter().any(|line| line.strip_suffix(',') == Some(name));
    // Inside `proptest!` the attribute stands there as well.
    let is_test = is_listed || above().any(|line| *line == "#[test]");
    let comment: Vec<&str> = above().filter(|line| line.starts_with("//")).copied().collect();
    is_test.then(|| format!("{name} {}", comment.join(" ")))
}

/// Whether the words have the id as a whole, in any case.
fn names(words: &str, id: &str) -> bool {
    words.split(|letter: char| !letter.is_ascii_alphanumeric()).any(|word| word.eq_ignore_ascii_case(id))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn hold(document: &Document) {
    let path = root().join(document.path);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    let found = complaints(document, &text, |file| fs::read_to_string(root().join(file)).ok());
    assert!(found.is_empty(), "{}:\n{}", document.path, found.join("\n"));
}

#[test]
fn every_statement_is_a_test_that_names_it() {
    hold(&CONFORMANCE);
}

#[test]
fn every_pitfall_has_its_tests_or_says_that_it_has_none() {
    hold(&NETWORK);
}

/// A check that nothing can fail checks nothing.
#[test]
fn what_is_wrong_is_found() {
    let source = "/// C2, N2.\n#[test]\nfn right() {}\n#[test]\nfn c1_right() {}\n// C1\nfn no_test() {}\n    listed,\n/// C1.\nfn listed(hook: Hook) {}\n/// C12.\n#[test]\nfn other() {}";
    let wrong = |document: &Document, line: &str| -> Vec<String> {
        let found = complaints(document, line, |file| (file == "a.rs").then(|| source.to_owned()));
        found.into_iter().filter(|complaint| !complaint.contains("is there 0 times")).collect()
    };
    for fine in ["`a.rs::c1_right`", "`a.rs::listed`", "`a.rs::listed`<br>`a.rs::c1_right`"] {
        assert_eq!(wrong(&CONFORMANCE, &format!("| C1 | x | Tomcat | {fine} |")), [""; 0], "{fine}");
    }
    for fine in ["`a.rs::right` | `not_ours`<br>`trimmed`", "`a.rs::right` | —", "not yet: it is late | `not_ours`"] {
        assert_eq!(wrong(&NETWORK, &format!("| N2 | x | y | `a.rs` | {fine} |")), [""; 0], "{fine}");
    }
    let table = [
        (CONFORMANCE, "| C1 | x | Tomcat |  |", "is wanted"),
        (CONFORMANCE, "| C1 | x | Tomcat | not yet: no |", "is wanted"),
        (CONFORMANCE, "| C1 | x | Tomcat |", "3 cells"),
        (CONFORMANCE, "| C1 |  | Tomcat | `a.rs::listed` |", "states nothing"),
        (CONFORMANCE, "| C1 | x | hearsay | `a.rs::listed` |", "hearsay"),
        (CONFORMANCE, "| C12 | x | Tomcat | `a.rs::other` |", "C12 is no row"),
        (CONFORMANCE, "| N2 | x | Tomcat | `a.rs::right` |", "N2 is no row"),
        (CONFORMANCE, "| C1 | x | Tomcat | `b.rs::listed` |", "no b.rs"),
        (CONFORMANCE, "| C1 | x | Tomcat | `a.rs::missing` |", "no test missing"),
        (CONFORMANCE, "| C1 | x | Tomcat | `a.rs::no_test` |", "no test no_test"),
        (CONFORMANCE, "| C1 | x | Tomcat | `a.rs::right` |", "neither"),
        (CONFORMANCE, "| C1 | x | Tomcat | `a.rs::other` |", "neither"),
        (CONFORMANCE, "| C1 | x | own | `a.rs::listed` |\n| C1 | x | own | `a.rs::listed` |", "C1 is there 2 times"),
        (NETWORK, "| N2 | x | y | `b.rs` | `a.rs::right` | — |", "no `b.rs`"),
        (NETWORK, "| N2 | x | y | `a.rs` | `a.rs::right` | `no_such` |", "`no_such` counts nothing"),
        (NETWORK, "| N2 | x | y | `a.rs` | `a.rs::right` |  |", "counts nothing"),
        (NETWORK, "| N2 | x | y | `a.rs` | not yet: | — |", "is wanted"),
    ];
    for (document, line, says) in table {
        let found = wrong(&document, line);
        assert!(found.len() == 1 && found[0].contains(says), "{line}: {found:?}, not {says}");
    }
    assert_eq!(complaints(&CONFORMANCE, "", |_| None).len(), STATEMENTS.len());
}
