//! The executables of `balancer-tests`' tests, for whoever starts them without cargo.

use std::{path::PathBuf, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace;

/// What cargo would start for a test target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Executable {
    /// The target's name; with its kind behind it if that is not `test`, because a program and its test may be namesakes.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// The package's folder, in which cargo starts it.
    pub(crate) folder: PathBuf,
}

/// Builds the test targets that `choice`, as arguments of cargo, names, or all; in the order of their names.
pub(crate) fn build<'a>(choice: impl IntoIterator<Item = &'a str>) -> Result<Vec<Executable>> {
    let mut cargo = workspace::cargo(["test", "--release", "--package", "balancer-tests", "--no-run"]);
    cargo.args(choice).args(["--message-format", "json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("start cargo")?;
    ensure!(output.status.success(), "{} failed: {}", workspace::show(&cargo), output.status);
    Ok(executables(&String::from_utf8_lossy(&output.stdout)))
}

/// The test executables in cargo's messages, one JSON object a line. Cargo's order is that in which they were built.
fn executables(messages: &str) -> Vec<Executable> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found: Vec<_> = messages
        .filter(|message| message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
        .filter_map(|message| {
            let (name, kind) = (message["target"]["name"].as_str()?, message["target"]["kind"][0].as_str()?);
            let manifest = PathBuf::from(message["manifest_path"].as_str()?);
            Some(Executable {
                name: if kind == "test" { name.to_owned() } else { format!("{name} ({kind})") },
                path: message["executable"].as_str()?.into(),
                folder: manifest.parent()?.to_owned(),
            })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_says_where_tests_are() {
        let messages = r#"
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"demo","kind":["bin"]},"profile":{"test":false},"executable":"/t/demo"}
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"lab","kind":["test"]},"profile":{"test":true},"executable":"/t/deps/lab-1"}
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"lab","kind":["bin"]},"profile":{"test":true},"executable":"/t/deps/lab-2"}
{"reason":"compiler-artifact","manifest_path":"/w/tests/Cargo.toml","target":{"name":"e2e","kind":["test"]},"profile":{"test":true},"executable":"/t/deps/e2e-1"}
{"reason":"compiler-artifact","manifest_path":"/r/anyhow/Cargo.toml","target":{"name":"anyhow","kind":["lib"]},"profile":{"test":false},"executable":null}
{"reason":"build-finished","success":true}"#;
        let expected = [("e2e", "e2e-1"), ("lab", "lab-1"), ("lab (bin)", "lab-2")].map(|(name, file)| Executable {
            name: name.to_owned(),
            path: PathBuf::from("/t/deps").join(file),
            folder: "/w/tests".into(),
        });
        assert_eq!(executables(messages), expected);
    }
}
