//! The kernel programs of another revision, built as the present ones are, in a folder of their own.
//!
//! What has been built is kept by the revision's hash, and the compiler's own results for the next one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{kernel, progress, setup, toolchain, workspace};

/// The object's file.
pub(crate) fn programs(revision: &str) -> Result<PathBuf> {
    let hash = hash(revision)?;
    let folder = workspace::target()?.join("bench/revisions");
    let object = folder.join(&hash);
    if object.exists() {
        return Ok(object);
    }
    let tree = folder.join("tree");
    unpack(&hash, &tree)?;
    let (toolchain, linker) = toolchain::find(setup::minimum()?)?;
    let target = kernel::Target { arch: std::env::consts::ARCH, is_big_endian: cfg!(target_endian = "big") };
    let (mut cargo, built) = kernel::build(&toolchain, &linker, &target, &folder.join("target"))?;
    progress::run(&format!("build the kernel programs of {revision} ({hash:.12})"), cargo.current_dir(&tree))?;
    fs::copy(&built, &object).with_context(|| format!("copy {}", built.display()))?;
    Ok(object)
}

fn hash(revision: &str) -> Result<String> {
    let commit = format!("{revision}^{{commit}}");
    let output =
        Command::new("git").args(["rev-parse", "--verify", "--quiet", &commit]).output().context("start git")?;
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
    ensure!(archive.wait().context("wait for git archive")?.success(), "git archive failed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_that_is_not_there_is_named() {
        let error = hash("no-such-revision").map_err(|error| error.to_string());
        assert!(error.is_err_and(|error| error.contains("no-such-revision")));
    }
}
