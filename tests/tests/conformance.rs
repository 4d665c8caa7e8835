//! `docs/conformance.md` says which test proves each statement of what "as in Tomcat's parallel deployment" means; here it is
//! held to that: every statement is there once, and every test that it names exists and names the statement itself.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// All statements. A new one begins here.
const STATEMENTS: &[&str] = &[
    "C1", "C2", "C3", "C4", "C6", "C7", "C8", "C9", "C10", "C13", "C14", "C15", "C16", "C18", "C20", "C21", "C22",
    "C23", "C24", "C25", "C28", "C29", "C30", "C31", "C32", "C33", "C34", "C35", "C36", "C38", "C39", "C41", "C42",
    "C43", "D1", "D2", "D3", "D6", "D7", "D8", "D9", "D10", "D11", "D12", "D13", "D14", "D15", "D16", "D17", "D18",
];

/// What a statement may refer to.
const REFERENCES: [&str; 3] = ["Tomcat", "source", "own"];

/// A row of the document's tables.
struct Row {
    id: String,
    reference: String,
    /// Files and the names of tests in them.
    tests: Vec<(String, String)>,
}

/// The rows, or what is wrong with one.
fn rows(text: &str) -> Result<Vec<Row>, String> {
    let is_row = |line: &&str| line.starts_with("| C") || line.starts_with("| D");
    text.lines().filter(is_row).map(row).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
    let &[id, statement, reference, tests] = cells.as_slice() else {
        return Err(format!("{} cells, not 4, in: {line}", cells.len()));
    };
    if statement.is_empty() {
        return Err(format!("{id} states nothing"));
    }
    let tests = tests.split("<br>").map(str::trim).map(|test| {
        let name =
            test.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).and_then(|test| test.split_once("::"));
        let (file, name) = name.ok_or_else(|| format!("{id}: `path/file.rs::test_name` is wanted, not {test}"))?;
        Ok((file.to_owned(), name.to_owned()))
    });
    Ok(Row { id: id.to_owned(), reference: reference.to_owned(), tests: tests.collect::<Result<_, String>>()? })
}

/// What is wrong with the rows; `read` gives the text of a file.
fn complaints(rows: &[Row], read: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut count: BTreeMap<&str, usize> = STATEMENTS.iter().map(|id| (*id, 0)).collect();
    for row in rows {
        match count.get_mut(row.id.as_str()) {
            Some(count) => *count += 1,
            None => found.push(format!("{} is no statement", row.id)),
        }
        if !REFERENCES.contains(&row.reference.as_str()) {
            found.push(format!("{}: `{}` is none of {REFERENCES:?}", row.id, row.reference));
        }
        for (file, name) in &row.tests {
            match read(file).map(|text| naming(&text, name)) {
                None => found.push(format!("{}: there is no {file}", row.id)),
                Some(None) => found.push(format!("{}: {file} has no test {name}", row.id)),
                Some(Some(words)) if !names(&words, &row.id) => {
                    found.push(format!("{}: neither the name nor the comment of {file}::{name} says so", row.id));
                }
                Some(Some(_)) => {}
            }
        }
    }
    found.extend(
        count.iter().filter(|(_, count)| **count != 1).map(|(id, count)| format!("{id} is there {count} times")),
    );
    found
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

#[test]
fn every_statement_is_a_test_that_names_it() {
    let text = fs::read_to_string(root().join("docs/conformance.md")).expect("read docs/conformance.md");
    let rows = rows(&text).expect("rows of docs/conformance.md");
    let found = complaints(&rows, |file| fs::read_to_string(root().join(file)).ok());
    assert!(found.is_empty(), "docs/conformance.md:\n{}", found.join("\n"));
}

/// A check that nothing can fail checks nothing.
#[test]
fn what_is_wrong_is_found() {
    let source = "/// C2.\n#[test]\nfn right() {}\n#[test]\nfn c1_right() {}\n// C1\nfn no_test() {}\n    listed,\n/// C1.\nfn listed(hook: Hook) {}\n/// C12.\n#[test]\nfn other() {}";
    let wrong = |line: &str| -> Vec<String> {
        let rows = match rows(line) {
            Ok(rows) => rows,
            Err(error) => return vec![error],
        };
        let found = complaints(&rows, |file| (file == "a.rs").then(|| source.to_owned()));
        found.into_iter().filter(|complaint| !complaint.contains("is there 0 times")).collect()
    };
    for fine in ["`a.rs::c1_right`", "`a.rs::listed`", "`a.rs::listed`<br>`a.rs::c1_right`"] {
        assert_eq!(wrong(&format!("| C1 | x | Tomcat | {fine} |")), [""; 0], "{fine}");
    }
    let table = [
        ("| C1 | x | Tomcat |  |", "is wanted"),
        ("| C1 | x | Tomcat | none yet |", "is wanted"),
        ("| C1 | x | Tomcat |", "3 cells"),
        ("| C1 |  | Tomcat | `a.rs::listed` |", "states nothing"),
        ("| C1 | x | hearsay | `a.rs::listed` |", "hearsay"),
        ("| C12 | x | Tomcat | `a.rs::other` |", "C12 is no statement"),
        ("| C1 | x | Tomcat | `b.rs::listed` |", "no b.rs"),
        ("| C1 | x | Tomcat | `a.rs::missing` |", "no test missing"),
        ("| C1 | x | Tomcat | `a.rs::no_test` |", "no test no_test"),
        ("| C1 | x | Tomcat | `a.rs::right` |", "neither"),
        ("| C1 | x | Tomcat | `a.rs::other` |", "neither"),
        ("| C1 | x | own | `a.rs::listed` |\n| C1 | x | own | `a.rs::listed` |", "C1 is there 2 times"),
    ];
    for (line, says) in table {
        let found = wrong(line);
        assert!(found.len() == 1 && found[0].contains(says), "{line}: {found:?}, not {says}");
    }
    assert_eq!(complaints(&[], |_| None).len(), STATEMENTS.len());
}
