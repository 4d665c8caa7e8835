//! A strict reader of the text format of Prometheus, version 0.0.4: what `promtool check metrics` would refuse, and what is only
//! allowed for old clients' sake, is an error.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};

/// Values by series, each written as in the page: `name{label="value"}`.
pub(crate) type Page = BTreeMap<String, f64>;

/// Reads a page.
pub(crate) fn parse(text: &str) -> Result<Page> {
    ensure!(text.ends_with('\n'), "the last line has no end");
    let mut page = Page::new();
    let mut seen = BTreeSet::new();
    // The family that the lines are of: its name, and its type once that was said.
    let mut family: Option<(&str, Option<&str>)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').with_context(|| format!("no help: {line}"))?;
            ensure!(is_name(name) && !help.trim().is_empty(), "a bad help: {line}");
            ensure!(seen.insert(name), "{name} is there twice");
            family = Some((name, None));
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').with_context(|| format!("no type: {line}"))?;
            ensure!(family == Some((name, None)), "the type of {name} does not follow its help");
            ensure!(["counter", "gauge"].contains(&kind), "an unknown type: {line}");
            ensure!(kind != "counter" || name.ends_with("_total"), "a counter is called {name}");
            family = Some((name, Some(kind)));
        } else {
            let Some((name, Some(kind))) = family else { bail!("a sample without a type: {line}") };
            let (series, value) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
            let (of, labels) = match series.split_once('{') {
                Some((of, labels)) => (of, labels.strip_suffix('}').with_context(|| format!("no brace: {line}"))?),
                None => (series, ""),
            };
            ensure!(of == name, "a sample of {of} among those of {name}");
            check_labels(labels).with_context(|| line.to_owned())?;
            let value: f64 = value.parse().with_context(|| format!("no number: {line}"))?;
            ensure!(kind != "counter" || value >= 0.0, "a counter below 0: {line}");
            ensure!(page.insert(series.to_owned(), value).is_none(), "{series} is there twice");
        }
    }
    Ok(page)
}

fn is_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(good)
}

/// `name="value"`, separated by commas; in values, backslashes escape themselves, quotation marks and ends of lines.
fn check_labels(mut text: &str) -> Result<()> {
    let mut names = BTreeSet::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"").context("no value of a label")?;
        ensure!(is_name(name) && names.insert(name), "the label {name}");
        let mut characters = rest.char_indices();
        let end = loop {
            match characters.next().context("a value has no end")? {
                (at, '"') => break at,
                (_, '\\') => ensure!(matches!(characters.next(), Some((_, '\\' | '"' | 'n'))), "a bad escape"),
                _ => {}
            }
        };
        text = &rest[end + 1..];
        if !text.is_empty() {
            text = text.strip_prefix(',').context("no comma between labels")?;
            ensure!(!text.is_empty(), "a comma at the end");
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_found() {
    let head = "# HELP a_total Help.\n# TYPE a_total counter\n";
    let good = format!("{head}a_total{{x=\"1\",y=\"\\\"\\\\\\n\"}} 2\na_total{{x=\"2\"}} 0.5\n");
    let page = parse(&good).unwrap();
    assert_eq!((page.len(), page["a_total{x=\"2\"}"]), (2, 0.5));
    for (text, says) in [
        ("a_total 1\n".to_owned(), "without a type"),
        (format!("{head}a_total 1"), "no end"),
        (format!("{head}{head}a_total 1\n"), "twice"),
        (format!("{head}a_total 1\na_total 1\n"), "twice"),
        (format!("{head}b_total 1\n"), "among those of"),
        (format!("{head}a_total -1\n"), "below 0"),
        (format!("{head}a_total one\n"), "no number"),
        (format!("{head}a_total{{x=\"1\"x=\"2\"}} 1\n"), "no comma"),
        (format!("{head}a_total{{x=\"1\",x=\"2\"}} 1\n"), "the label x"),
        (format!("{head}a_total{{x=\"\\t\"}} 1\n"), "a bad escape"),
        (format!("{head}a_total{{x=\"1\n\"}} 1\n"), "no value"),
        ("# HELP a Help.\n# TYPE a counter\na 1\n".to_owned(), "is called a"),
        ("# TYPE a gauge\na 1\n".to_owned(), "does not follow"),
    ] {
        let error = format!("{:#}", parse(&text).unwrap_err());
        assert!(error.contains(says), "{text}: {error}");
    }
}
