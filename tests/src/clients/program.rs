//! A client that is a program: it prints a [`Visit`] a line until a file appears.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Client, Visit};
use crate::lab::Lab;
use crate::lab::process::Process;

/// How long a client's last requests may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program.
#[derive(Debug)]
pub struct Program {
    process: Process,
    stop: PathBuf,
}

impl Program {
    /// Starts `interpreter arguments… URL STOP KEEPERS NEWCOMERS` at the client.
    pub fn start(lab: &Lab, name: &str, interpreter: &str, arguments: &[&str]) -> Result<Self> {
        let stop = lab.dir().join(format!("{name}.stop"));
        let mut command = lab.client().command(interpreter);
        command.args(arguments).arg(format!("http://{}/whoami", lab.service())).arg(&stop);
        command.args([super::KEEPERS, super::NEWCOMERS].map(|count| count.to_string()));
        let process = lab.client().spawn(name, &mut command);
        Ok(Self { process: process.with_context(|| format!("start {interpreter}: is it installed?"))?, stop })
    }

    /// Where the programs in other languages are.
    pub fn source(name: &str) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        folder.join(name).to_string_lossy().into_owned()
    }
}

impl Client for Program {
    fn visits(&self) -> Result<Vec<Visit>> {
        Visit::parse_all(&self.process.log())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        std::fs::write(&self.stop, "").context("tell the client to end")?;
        let status =
            self.process.wait(PATIENCE)?.with_context(|| format!("it does not end: {}", self.process.log()))?;
        ensure!(status.success(), "{status}: {}", self.process.log());
        self.visits()
    }
}
