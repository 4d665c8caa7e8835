//! A process that belongs to a lab and ends with its handle, whatever happens in between.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// A running program, its output in a file. Dropping the handle kills it and waits for it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output in `log`, in a process group of its own: Ctrl-C in a terminal
    /// must reach the lab alone, which then ends its processes in order.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        use std::os::unix::process::CommandExt;

        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("open the log {}", log.display()))?;
        let errors = output.try_clone().context("duplicate the log's descriptor")?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", command.get_program().display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// The process id, valid as long as the handle lives.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to this one process.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().cast_signed()).context("a process id of 0")?;
        kill_process(pid, signal).with_context(|| format!("send {signal:?} to {}", self.child.id()))
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("ask whether the process has ended")
    }

    /// Waits for its end, `None` if it is still there after `patience`.
    pub fn wait(&mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to end (SIGTERM) and kills it if it does not within `patience`.
    pub fn stop(mut self, patience: Duration) -> Result<Option<ExitStatus>> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.wait(patience)
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended and been waited for, and then nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The directory goes with the lab, so a failed test shows the end of each log in it.
pub(super) fn print_logs(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for path in
        entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "log"))
    {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let end = &lines[lines.len().saturating_sub(40)..];
        if !end.is_empty() {
            eprintln!("--- end of {}\n{}", path.display(), end.join("\n"));
        }
    }
}
