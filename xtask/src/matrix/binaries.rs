//! The test programs, built here and run in the guest.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    executables,
    workspace::{self, Programs},
};

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
        let tests = executables::build(TESTS.iter().flat_map(|test| ["--test", test]))?;
        let tests: BTreeMap<_, _> = tests.into_iter().map(|test| (test.name, test.path)).collect();
        for test in TESTS {
            ensure!(tests.contains_key(test), "cargo named no executable of the test {test}");
        }
        let demo = workspace::target()?.join("release/demo");
        Ok(Self { programs, demo, tests })
    }
}
