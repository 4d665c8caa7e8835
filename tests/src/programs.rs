//! Where the programs under test are.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// The demo application, which cargo builds with these tests.
pub fn demo() -> Result<PathBuf> {
    beside("demo")
}

/// The balancer: the one that `cargo xtask test` names, else the one beside these tests.
pub fn balancer() -> Result<PathBuf> {
    match std::env::var_os("BALANCER_BIN") {
        Some(path) => found(path.into()),
        None => beside("balancer"),
    }
}

fn beside(name: &str) -> Result<PathBuf> {
    let this = std::env::current_exe().context("find this test's own file")?;
    // target/PROFILE/deps/e2e-… → target/PROFILE/NAME
    found(this.ancestors().nth(2).context("this test lies in no target folder")?.join(name))
}

fn found(path: PathBuf) -> Result<PathBuf> {
    ensure!(
        path.is_file(),
        "{} is not there: run `cargo xtask test`, or build it and set BALANCER_BIN",
        path.display()
    );
    Ok(path)
}
