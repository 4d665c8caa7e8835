//! The demo application on a backend host of a lab.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::client::Connection;
use crate::lab::Lab;
use crate::lab::process::Process;

/// A running instance of the demo. Dropping it kills it.
#[derive(Debug)]
pub struct Demo {
    process: Process,
}

impl Demo {
    /// Starts the demo on backend host `index` as `version` and waits until it answers. `program` is the binary:
    /// `env!("CARGO_BIN_EXE_demo")` in a test.
    pub fn start(lab: &Lab, program: impl AsRef<Path>, index: usize, version: &str) -> Result<Self> {
        Self::start_with(lab, program, index, version, &[])
    }

    /// The same with more arguments.
    pub fn start_with(
        lab: &Lab,
        program: impl AsRef<Path>,
        index: usize,
        version: &str,
        arguments: &[&str],
    ) -> Result<Self> {
        let node = lab.backend(index);
        let mut command = node.command(program.as_ref());
        let listen = lab.application(index).to_string();
        command.args(["--listen", &listen, "--version", version, "--name", node.role()]).args(arguments);
        let mut process = node.spawn("demo", &mut command)?;
        wait_until_healthy(lab, index, &mut process, Duration::from_secs(5))
            .with_context(|| format!("start the demo as {version} on {}", node.role()))?;
        Ok(Self { process })
    }

    /// The process, to stop, continue or kill it.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Waits until `/health` on backend host `index` answers 200, asked from the director as the balancer will.
pub(crate) fn wait_until_healthy(lab: &Lab, index: usize, process: &mut Process, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        let answer = Connection::open(lab.director(), lab.application(index))
            .and_then(|mut connection| connection.get("/health", None));
        match answer {
            Ok(response) if response.status == 200 => return Ok(()),
            _ if Instant::now() < deadline => {}
            answer => bail!("not healthy after {patience:?}: {answer:?}; it says:\n{}", process.log()),
        }
        if let Some(status) = process.ended()? {
            bail!("it ended with {status} and says:\n{}", process.log());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}
