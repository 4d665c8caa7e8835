//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The demo application, which cargo builds with these tests.
pub(crate) const DEMO: &str = env!("CARGO_BIN_EXE_demo");

/// The balancer: the one that `cargo xtask test` names, else the one beside these tests.
pub(crate) fn balancer() -> Result<PathBuf> {
    let path = match std::env::var_os("BALANCER_BIN") {
        Some(path) => PathBuf::from(path),
        None => {
            let this = std::env::current_exe().context("find this test's own file")?;
            // target/PROFILE/deps/e2e-… → target/PROFILE/balancer
            this.ancestors().nth(2).context("this test lies in no target folder")?.join("balancer")
        }
    };
    ensure!(
        path.is_file(),
        "{} is not there: run `cargo xtask test`, or build it and set BALANCER_BIN",
        path.display()
    );
    Ok(path)
}
