//! Long steps on the terminal: one line each, with the seconds that have passed; what they print goes to a file.

use std::{
    fs::{self, File},
    io::{IsTerminal as _, Write as _, stderr},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace;

/// Lines of a failed step's output that are shown at once; the rest is in its log.
const SHOWN: usize = 25;

/// Runs `command` as a step called `title`. If it fails, the end of its output is part of the error.
pub(crate) fn run(title: &str, command: &mut Command) -> Result<()> {
    let log = log_file(title)?;
    let line = Line::start(title);
    let status = run_into(&log, command, || line.tick())?;
    line.end(if status.success() { "" } else { "  failed" });
    if status.success() {
        return Ok(());
    }
    bail!(
        "{} failed ({status}); the whole output is in {}, and ends with:\n{}",
        workspace::show(command),
        log.display(),
        tail(&fs::read_to_string(&log).unwrap_or_default(), SHOWN)
    )
}

/// Runs `command` to its end and calls `tick` meanwhile. What it prints is in `log`, in the order in which it came.
pub(crate) fn run_into(log: &Path, command: &mut Command, mut tick: impl FnMut()) -> Result<ExitStatus> {
    let output = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let errors = output.try_clone().context("share the log")?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .with_context(|| format!("start {}", workspace::show(command)))?;
    loop {
        if let Some(status) = child.try_wait().context("wait for a step")? {
            return Ok(status);
        }
        tick();
        sleep(Duration::from_millis(50));
    }
}

/// One line of progress. On a terminal it counts the seconds; in a file it is written once before and once after.
pub(crate) struct Line {
    title: String,
    started: Instant,
    live: bool,
}

impl Line {
    pub(crate) fn start(title: &str) -> Self {
        let line = Self { title: title.to_owned(), started: Instant::now(), live: stderr().is_terminal() };
        if !line.live {
            crate::machine::say(&format!("xtask: {title} …"));
        }
        line
    }

    pub(crate) fn tick(&self) {
        if self.live {
            self.draw("", "");
        }
    }

    pub(crate) fn end(&self, remark: &str) {
        self.draw(remark, "\n");
    }

    fn draw(&self, remark: &str, end: &str) {
        let back = if self.live { "\r" } else { "" };
        let seconds = self.started.elapsed().as_secs_f32();
        // A closed standard error is no reason to stop.
        let _ = write!(stderr(), "{back}xtask: {:<60} {seconds:6.1} s{remark}{end}", self.title);
    }
}

/// Below the target folder, named after the step.
pub(crate) fn log_file(title: &str) -> Result<PathBuf> {
    let folder = workspace::target()?.join("xtask");
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(named_after(&folder, title))
}

fn named_after(folder: &Path, title: &str) -> PathBuf {
    let name: String = title.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect();
    folder.join(name + ".log")
}

/// The last `count` lines.
pub(crate) fn tail(text: &str, count: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_text() {
        for (text, expected) in [("", ""), ("a", "a"), ("a\nb\n", "a\nb"), ("a\nb\nc\n", "b\nc")] {
            assert_eq!(tail(text, 2), expected, "{text:?}");
        }
    }

    #[test]
    fn a_log_file_has_no_blanks_or_slashes() {
        assert_eq!(named_after(Path::new("/t"), "install a/b c"), Path::new("/t/install-a-b-c.log"));
    }
}
