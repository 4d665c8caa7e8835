//! `BENCHMARKS.md`: between a benchmark's marks stands what its file says; the words around them are people's.

use anyhow::{Context, Result, ensure};
use serde::de::IgnoredAny;

use super::report::{self, Report, Saved, Target};
use super::root;

/// All benchmarks, in the order of the page.
pub const NAMES: [&str; 6] = ["packet", "http", "flip", "sessions", "bulk", "flood"];

/// Fills the page from the files that are there; what has not been measured stays as it is.
pub fn fill() -> Result<()> {
    let path = root().join("BENCHMARKS.md");
    let mut page = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let mut targets = Vec::new();
    for name in NAMES {
        let file = report::path(name);
        if !file.exists() {
            println!("{name}: not measured here, {} is not there", file.display());
            continue;
        }
        let Saved { report, .. }: Saved<IgnoredAny> = report::read(&file)?;
        page = replaced(&page, name, &section(&report))?;
        targets.extend(report.targets);
    }
    if !targets.is_empty() {
        page = replaced(&page, "targets", &Target::table(&targets).markdown())?;
    }
    std::fs::write(&path, page).with_context(|| format!("write {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// A benchmark's part of the page.
fn section(report: &Report) -> String {
    let head = format!("{}, {} ({}).", report.machine, report.machine.day(), report.extent);
    let ran = report.ran.iter().map(|line| format!("- {line}")).collect::<Vec<_>>().join("\n");
    let tables = report.tables.iter().map(|table| table.markdown());
    [head, ran].into_iter().chain(tables).collect::<Vec<_>>().join("\n\n")
}

/// The page with other text between two marks.
fn replaced(page: &str, name: &str, text: &str) -> Result<String> {
    let [begin, end] = [format!("<!-- {name} -->"), format!("<!-- end of {name} -->")];
    let parts = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?)));
    let (before, (_, after)) = parts.with_context(|| format!("BENCHMARKS.md has no {begin} … {end}"))?;
    ensure!(!after.contains(&begin), "BENCHMARKS.md has {begin} twice");
    Ok(format!("{before}{begin}\n\n{text}\n\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() -> Result<()> {
        let page = "Before.\n<!-- http -->\nold\n<!-- end of http -->\nAfter.\n";
        let new = replaced(page, "http", "new")?;
        assert_eq!(new, "Before.\n<!-- http -->\n\nnew\n\n<!-- end of http -->\nAfter.\n");
        assert_eq!(replaced(&new, "http", "new")?, new, "filling it again changes nothing");
        assert!(replaced(page, "flip", "new").is_err());
        Ok(())
    }

    #[test]
    fn the_page_has_a_place_for_each_benchmark() -> Result<()> {
        let page = std::fs::read_to_string(root().join("BENCHMARKS.md"))?;
        NAMES.into_iter().chain(["targets"]).try_for_each(|name| replaced(&page, name, "").map(drop))
    }
}
