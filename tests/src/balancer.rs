//! The balancer inside a lab: the daemon in the director's namespace, and its CLI.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use rustix::process::Signal;
use serde_json::Value;

use crate::lab::process::Process;
use crate::lab::{Lab, remove_pins};

/// The variable that tells the CLI which daemon to talk to.
pub const SOCKET_VARIABLE: &str = "BALANCER_SOCKET";

/// How long the daemon may take to load and verify its programs: a second, but half a minute in an emulated machine on a
/// busy host.
const PATIENCE: Duration = Duration::from_secs(120);

/// A daemon and the programs that it attached. Dropping the handle kills the daemon, and only the lab's end takes the
/// programs away: that traffic flows without a daemon is something to test.
#[derive(Debug)]
pub struct Balancer<'a> {
    lab: &'a Lab,
    program: PathBuf,
    config: PathBuf,
    process: Process,
}

impl<'a> Balancer<'a> {
    /// Writes the configuration, starts `program run` and waits until the daemon answers.
    pub fn start(lab: &'a Lab, program: impl AsRef<Path>, config: &str) -> Result<Self> {
        let config = lab.write_config(config)?;
        let process = spawn(lab, program.as_ref(), &config)?;
        let mut balancer = Self { lab, program: program.as_ref().to_owned(), config, process };
        balancer.wait_until_it_answers().context("start the balancer")?;
        Ok(balancer)
    }

    /// What a power cut does to the director: the daemon is gone at once, and all that was in the kernel with it. What is
    /// on the disk stays.
    pub fn power_off(&mut self) -> Result<()> {
        self.end(Signal::KILL, Duration::from_secs(5))?;
        remove_pins(self.lab.name())
    }

    /// A reboot of the director: off, and on again.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off()?;
        self.begin_again().context("start the balancer after the reboot")
    }

    /// Ends the daemon by a signal; what is in the kernel goes on.
    pub fn end(&mut self, signal: Signal, patience: Duration) -> Result<()> {
        if self.process.ended()?.is_none() {
            self.process.signal(signal)?;
            self.process.wait(patience)?.with_context(|| format!("{signal:?} does not end the daemon"))?;
        }
        Ok(())
    }

    /// Starts another daemon, and waits until it answers.
    pub fn begin_again(&mut self) -> Result<()> {
        self.process = spawn(self.lab, &self.program, &self.config)?;
        self.wait_until_it_answers()
    }

    /// The daemon's socket.
    pub fn socket(lab: &Lab) -> PathBuf {
        lab.dir().join("balancer.sock")
    }

    /// The daemon's process, to stop, continue or kill it.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A CLI command, ready to run from outside of the lab, like an operator's: the socket is a file.
    pub fn command_outside(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env(SOCKET_VARIABLE, Self::socket(self.lab));
        command
    }

    /// The same in the director's namespace.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.lab.director().command(&self.program);
        command.args(arguments).env(SOCKET_VARIABLE, Self::socket(self.lab));
        command
    }

    /// Runs a CLI command to its end, whatever that is.
    pub fn try_cli(&self, arguments: &[&str]) -> Result<Output> {
        self.command(arguments).output().with_context(|| format!("run balancer {}", arguments.join(" ")))
    }

    /// Runs a CLI command that has to succeed and returns what it printed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        let output = self.try_cli(arguments)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("balancer {}: {}: {}{}", arguments.join(" "), output.status, text, errors.trim());
        }
        Ok(text)
    }

    /// The same, with JSON for an answer.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.cli(&[arguments, &["--json"]].concat())?;
        serde_json::from_str(&text).with_context(|| format!("balancer {} --json: {text}", arguments.join(" ")))
    }

    /// The counters of the data path that have counted anything.
    pub fn counters(&self) -> Result<BTreeMap<String, u64>> {
        let status = self.json(&["status"])?;
        let counters = status["counters"].as_array().context("the status has no counters")?;
        let named = |counter: &Value| Some((counter["name"].as_str()?.to_owned(), counter["value"].as_u64()?));
        counters.iter().map(|counter| named(counter).with_context(|| format!("a counter is {counter}"))).collect()
    }

    /// Takes programs, pins and daemon away in order.
    pub fn detach(self) -> Result<()> {
        self.cli(&["detach"])?;
        self.process.stop(Duration::from_secs(3)).map(drop)
    }

    fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if answers(&Self::socket(self.lab)) {
                return Ok(());
            }
            if let Some(status) = self.process.ended()? {
                bail!("it ended with {status} and says:\n{}", self.process.log());
            }
            if Instant::now() >= deadline {
                bail!("no answer on its socket for {PATIENCE:?}; it says:\n{}", self.process.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn spawn(lab: &Lab, program: &Path, config: &Path) -> Result<Process> {
    let mut command = lab.director().command(program);
    command.arg("run").arg("--config").arg(config);
    lab.director().spawn("balancer", &mut command)
}

/// Whether somebody speaks HTTP on the socket; which path there is does not matter.
pub fn answers(socket: &Path) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\n\r\n")?;
        let mut beginning = [0; 5];
        match stream.read_exact(&mut beginning) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
            result => result.map(|()| &beginning == b"HTTP/"),
        }
    };
    ask().unwrap_or(false)
}
