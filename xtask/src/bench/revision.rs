//! The kernel programs of another revision, built by that revision's own build script in a folder of its own.
//!
//! `cargo check` is enough for that: it runs build scripts, and compiles nothing of the daemon. What has been built is kept by the
//! revision's hash, and the compiler's own results for the next one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{machine, workspace};

/// The package whose build script builds them, and what it calls them.
const PACKAGE: &str = "balancer-user";
const OBJECT: &str = "balancer-ebpf";

/// The object's file.
pub(crate) fn programs(revision: &str) -> Result<PathBuf> {
    let hash = hash(revision)?;
    let folder = workspace::target()?.join("bench/revisions");
    let object = folder.join(&hash);
    if !object.exists() {
        machine::say(&format!("xtask: building the kernel programs of {revision} ({hash:.12})"));
        let tree = folder.join("tree");
        unpack(&hash, &tree)?;
        let built = build(&tree, &folder.join("target"))
            .with_context(|| format!("build the kernel programs of {revision}"))?;
        fs::copy(&built, &object).with_context(|| format!("copy {}", built.display()))?;
    }
    Ok(object)
}

fn hash(revision: &str) -> Result<String> {
    let commit = format!("{revision}^{{commit}}");
    let output = Command::new("git").args(["rev-parse", "--verify", "--quiet", &commit]).output().context("start git")?;
    ensure!(output.status.success(), "git knows no revision {revision}: a shallow clone has none but its last");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Puts a revision's files into a folder. Their time is now: cargo would take files that are older than what it built for built.
fn unpack(hash: &str, tree: &Path) -> Result<()> {
    if tree.exists() {
        fs::remove_dir_all(tree).with_context(|| format!("remove {}", tree.display()))?;
    }
    fs::create_dir_all(tree).with_context(|| format!("create {}", tree.display()))?;
    let mut archive =
        Command::new("git").args(["archive", hash]).stdout(Stdio::piped()).spawn().context("start git archive")?;
    let files = archive.stdout.take().context("git archive has an output")?;
    workspace::run(Command::new("tar").args(["-x", "-m", "-C"]).arg(tree).stdin(files))?;
    ensure!(archive.wait()?.success(), "git archive failed");
    Ok(())
}

fn build(tree: &Path, target: &Path) -> Result<PathBuf> {
    let mut check = workspace::cargo(["check", "--package", PACKAGE, "--message-format", "json-render-diagnostics"]);
    let output = check.current_dir(tree).env("CARGO_TARGET_DIR", target).stderr(Stdio::inherit()).output();
    let output = output.context("start cargo check")?;
    ensure!(output.status.success(), "cargo check failed: {}", output.status);
    let folder = out_folder(&String::from_utf8_lossy(&output.stdout)).context("no build script ran")?;
    Ok(folder.join(OBJECT))
}

/// Where the package's build script writes, as cargo's messages have it.
fn out_folder(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut scripts = messages.filter(|message| message["reason"] == "build-script-executed");
    let ours = |message: &serde_json::Value| message["package_id"].as_str().is_some_and(|id| id.contains(PACKAGE));
    scripts.find(ours).and_then(|message| message["out_dir"].as_str().map(PathBuf::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_build_scripts_folder_is_in_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","package_id":"path+file:///x/balancer-user#0.1.0"}
{"reason":"build-script-executed","package_id":"registry+x#libc@0.2.0","out_dir":"/libc"}
{"reason":"build-script-executed","package_id":"path+file:///x/balancer-user#0.1.0","out_dir":"/ours"}"#;
        assert_eq!(out_folder(messages), Some(PathBuf::from("/ours")));
        assert_eq!(out_folder("Compiling"), None);
    }

    #[test]
    fn a_revision_that_is_not_there_is_named() {
        let error = hash("no-such-revision").map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("no-such-revision")));
    }
}
