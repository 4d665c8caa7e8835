//! The test programs, built here and run in the guest.

use std::{collections::BTreeMap, path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace::{self, Programs};

/// Test targets of `balancer-tests` that guests run.
const TESTS: [&str; 3] = ["budget", "fixtures", "e2e"];

pub(super) struct Binaries {
    pub(super) programs: Programs,
    pub(super) demo: PathBuf,
    /// Test target → its executable.
    pub(super) tests: BTreeMap<String, PathBuf>,
}

impl Binaries {
    pub(super) fn build() -> Result<Self> {
        let programs = Programs::build()?;
        let mut cargo = workspace::cargo(["test", "--release", "--package", "balancer-tests", "--no-run"]);
        cargo
            .args(TESTS.iter().flat_map(|test| ["--test", test]))
            .args(["--message-format", "json-render-diagnostics"]);
        let output = cargo.stderr(Stdio::inherit()).output().context("start cargo")?;
        ensure!(output.status.success(), "{} failed: {}", workspace::show(&cargo), output.status);
        let tests = executables(&String::from_utf8_lossy(&output.stdout));
        for test in TESTS {
            ensure!(tests.contains_key(test), "cargo named no executable of the test {test}");
        }
        let demo = workspace::target()?.join("release/demo");
        Ok(Self { programs, demo, tests })
    }
}

/// The test executables in cargo's messages, one JSON object a line.
fn executables(messages: &str) -> BTreeMap<String, PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
        .filter_map(|message| {
            Some((message["target"]["name"].as_str()?.to_owned(), message["executable"].as_str()?.into()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_tests_are() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"name":"demo"},"profile":{"test":false},"executable":"/t/demo"}
{"reason":"compiler-artifact","target":{"name":"e2e"},"profile":{"test":true},"executable":"/t/deps/e2e-1"}
{"reason":"compiler-artifact","target":{"name":"anyhow"},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executables(messages), [("e2e".to_owned(), PathBuf::from("/t/deps/e2e-1"))].into());
    }
}
