//! wrk with a script: each thread is a user with one connection.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{Client, KEEPERS, NEWCOMERS, Program, Visit};
use crate::lab::Lab;
use crate::lab::process::Process;

/// A running wrk.
#[derive(Debug)]
pub struct Wrk(Process);

/// What a line that the script wrote begins with; the others are wrk's summary.
const MARK: &str = "{\"user\"";

impl Wrk {
    /// Starts it at the client.
    pub fn start(lab: &Lab) -> Result<Self> {
        let users = (KEEPERS + NEWCOMERS).to_string();
        let mut command = lab.client().command("wrk");
        command.args([
            "-t",
            &users,
            "-c",
            &users,
            "-d120s",
            "--timeout",
            "10s",
            "-s",
            &Program::source("users_of_wrk.lua"),
        ]);
        command.arg(format!("http://{}/whoami", lab.service())).args(["--", &KEEPERS.to_string()]);
        Ok(Self(lab.client().spawn("wrk-users", &mut command).context("start wrk: is it installed?")?))
    }
}

impl Client for Wrk {
    fn visits(&self) -> Result<Vec<Visit>> {
        let log = self.0.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..=end]);
        Visit::parse_all(
            &whole.lines().filter(|line| line.starts_with(MARK)).flat_map(|line| [line, "\n"]).collect::<String>(),
        )
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        self.0.signal(Signal::INT)?;
        let status = self.0.wait(Duration::from_secs(10))?.context("wrk does not end")?;
        let summary = self.0.log().lines().filter(|line| !line.starts_with(MARK)).collect::<Vec<_>>().join("\n");
        ensure!(status.success(), "wrk: {status}: {summary}");
        // What failed below HTTP is told here only.
        ensure!(!summary.contains("Socket errors"), "wrk had errors: {summary}");
        self.visits()
    }
}
