//! wrk: as many requests as the machine can send, without sessions, beside a story.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use balancer_tests::lab::Lab;
use balancer_tests::lab::process::Process;
use rustix::process::Signal;

/// A running wrk with eight kept-alive connections.
pub(crate) struct Wrk(Process);

impl Wrk {
    /// Starts it at the client.
    pub(crate) fn start(lab: &Lab) -> Result<Self> {
        let mut command = lab.client().command("wrk");
        command.args(["-t1", "-c8", "-d120s", "--timeout", "5s"]).arg(format!("http://{}/nosession", lab.service()));
        Ok(Self(lab.client().spawn("wrk", &mut command).context("start wrk: is it installed?")?))
    }

    /// Ends it and returns how many requests were answered: all of them, each with a 200.
    pub(crate) fn finish(mut self) -> Result<u64> {
        self.0.signal(Signal::INT)?;
        let status = self.0.wait(Duration::from_secs(10))?.context("wrk does not end")?;
        let log = self.0.log();
        ensure!(status.success(), "wrk: {status}: {log}");
        ensure!(!log.contains("Socket errors") && !log.contains("Non-2xx"), "wrk had errors: {log}");
        let count = log.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse().ok());
        let count = count.with_context(|| format!("wrk says no number: {log}"))?;
        ensure!(count > 0, "wrk got no answer: {log}");
        Ok(count)
    }
}
