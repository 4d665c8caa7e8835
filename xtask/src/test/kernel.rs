//! The tests in the running kernel: built once, and then run in lanes.

use std::{
    fs,
    io::{Write as _, stdout},
    path::PathBuf,
    process::{Command, ExitStatus},
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{
    lanes::{self, Group},
    report, with_filter,
};
use crate::{
    executables::{self, Executable},
    machine::say,
    progress,
    workspace::{self, Programs},
};

/// Test programs that run at a time. One leaves a small machine idle for a third of the time; with three, tests would be late
/// on it.
const LANES: usize = 2;

/// After so long a program that still runs says where it is.
const WORD: Duration = Duration::from_secs(60);

/// Builds the tests and runs those that `filter` names, or all. What fails does not keep others from running.
pub(super) fn run(filter: &[String]) -> Result<()> {
    let programs = Programs::build()?;
    let mut runs = Vec::new();
    for executable in executables::build([])? {
        runs.extend(Run::of(executable, filter)?);
    }
    let (alone, beside): (Vec<_>, Vec<_>) = runs.into_iter().partition(|run| run.group == Group::Alone);
    let mut failures = run_all(&alone, 1, &programs);
    failures.extend(run_all(&beside, LANES, &programs));
    // Examples in documentation have no executable: rustdoc makes them, and runs them.
    let mut examples = workspace::cargo(["test", "--release", "--package", "balancer-tests", "--doc"]);
    if let Err(error) = workspace::run(programs.tell(with_filter(&mut examples, filter))) {
        failures.push(format!("{error:#}"));
    }
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

/// A group of a program's tests: one process, in which they take turns.
struct Run {
    title: String,
    group: Group,
    path: PathBuf,
    folder: PathBuf,
    tests: Vec<String>,
}

impl Run {
    fn of(executable: Executable, filter: &[String]) -> Result<Vec<Self>> {
        let mut list = Command::new(&executable.path);
        list.current_dir(&executable.folder).args(["--list", "--format", "terse"]).args(filter);
        let output = list.output().with_context(|| format!("start {}", workspace::show(&list)))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {}\n{errors}", workspace::show(&list), output.status);
        let tests = report::listed(&String::from_utf8_lossy(&output.stdout));
        let groups = lanes::split(&executable.name, tests);
        let is_whole = groups.len() == 1;
        let run = |(group, tests): (Group, _)| Self {
            title: executable.name.clone() + &if is_whole { String::new() } else { format!(", {}", group.name()) },
            group,
            path: executable.path.clone(),
            folder: executable.folder.clone(),
            tests,
        };
        Ok(groups.into_iter().map(run).collect())
    }

    /// Runs to the end and tells of it meanwhile.
    fn play(&self, programs: &Programs, tell: &Sender<Event>) -> Result<Ended> {
        let log = progress::log_file(&format!("tests {}", self.title))?;
        let mut command = Command::new(&self.path);
        programs.tell(&mut command).current_dir(&self.folder);
        command.args(["--test-threads=1", "--exact"]).args(&self.tests);
        let read = || fs::read(&log).map(|log| String::from_utf8_lossy(&log).into_owned());
        let (started, mut last_word) = (Instant::now(), Instant::now());
        self.say(tell, &format!("begins; tests: {}", self.tests.len()));
        let status = progress::run_into(&log, &mut command, || {
            if last_word.elapsed() >= WORD {
                last_word = Instant::now();
                self.say(tell, &self.position(&read().unwrap_or_default(), started));
            }
        })?;
        let log = read().with_context(|| format!("read {}", log.display()))?;
        Ok(Ended { status, took: started.elapsed(), log })
    }

    fn position(&self, log: &str, started: Instant) -> String {
        let begun = report::begun(log);
        let (all, seconds) = (self.tests.len(), started.elapsed().as_secs());
        format!("at test {} of {all} after {seconds} s: {}", begun.len(), begun.last().copied().unwrap_or_default())
    }

    fn say(&self, tell: &Sender<Event>, what: &str) {
        // The receiver stays until the last sender is gone.
        let _ = tell.send(Event::Said(format!("xtask: {}: {what}", self.title)));
    }
}

/// How a program ended, and all that it printed.
struct Ended {
    status: ExitStatus,
    took: Duration,
    log: String,
}

impl Ended {
    /// What is wrong, if something is.
    fn complaint(&self) -> Option<String> {
        if self.status.success() {
            return None;
        }
        let failed = report::failed(&self.log);
        if failed.is_empty() {
            // It was killed, or it aborted: no list of failures then.
            let last = report::begun(&self.log).last().copied().unwrap_or("its start");
            return Some(format!("{} at {last}", self.status));
        }
        Some(failed.join(", "))
    }
}

/// What lanes have to tell. One thread says all of it, so that nothing stands in the middle of something else.
enum Event {
    Said(String),
    Ended { title: String, ended: Result<Ended> },
}

/// Runs all, so many at a time: who is done takes the next. Returns the failures.
fn run_all(runs: &[Run], lanes: usize, programs: &Programs) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let (tell, events) = channel();
    thread::scope(|scope| {
        for _ in 0..lanes {
            let (tell, next) = (tell.clone(), &next);
            scope.spawn(move || {
                while let Some(run) = runs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let ended = run.play(programs, &tell);
                    let _ = tell.send(Event::Ended { title: run.title.clone(), ended });
                }
            });
        }
        drop(tell);
        listen(&events)
    })
}

fn listen(events: &Receiver<Event>) -> Vec<String> {
    let mut failures = Vec::new();
    for event in events {
        let (title, ended) = match event {
            Event::Said(text) => {
                say(&text);
                continue;
            }
            Event::Ended { title, ended } => (title, ended),
        };
        let complaint = match ended {
            Ok(ended) => {
                let outcome = if ended.status.success() { "passed" } else { "FAILED" };
                say(&format!("xtask: {title}: {outcome} after {:.1} s:", ended.took.as_secs_f32()));
                // A closed standard output is no reason to stop.
                let _ = stdout().write_all(ended.log.as_bytes()).and_then(|()| stdout().flush());
                ended.complaint()
            }
            Err(error) => Some(format!("{error:#}")),
        };
        failures.extend(complaint.map(|complaint| format!("{title}: {complaint}")));
    }
    failures
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_failed_is_named_and_where_a_program_died() {
        let failure = "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\nno\n\nfailures:\n    a\n    b::c\n\n";
        let died = "running 2 tests\ntest a ... ok\ntest b ... ";
        for (status, log, complaint) in [
            (0, "test a ... ok\n", None),
            (101 << 8, failure, Some("a, b::c")),
            (9, died, Some("signal: 9 (SIGKILL) at b")),
            (127 << 8, "no such library", Some("exit status: 127 at its start")),
        ] {
            let ended = Ended { status: ExitStatus::from_raw(status), took: Duration::ZERO, log: log.to_owned() };
            assert_eq!(ended.complaint().as_deref(), complaint, "{log}");
        }
    }
}
