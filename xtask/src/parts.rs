//! Parts of a long check that all run, whichever fails, with a summary at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::machine::say;

#[derive(Default)]
pub(crate) struct Parts {
    done: Vec<Part>,
}

struct Part {
    title: String,
    took: Duration,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed(String),
    LeftOut(&'static str),
}

impl Parts {
    /// Runs a part. Its failure is kept for the end, so that one run tells everything that is wrong.
    pub(crate) fn run(&mut self, title: &str, part: impl FnOnce() -> Result<()>) {
        say(&format!("\nxtask: {title}"));
        let started = Instant::now();
        let outcome = match part() {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                say(&format!("xtask: {title}: {error:#}"));
                Outcome::Failed(format!("{error:#}"))
            }
        };
        self.done.push(Part { title: title.to_owned(), took: started.elapsed(), outcome });
    }

    /// Notes that a part does not run, and why.
    pub(crate) fn leave_out(&mut self, title: &str, reason: &'static str) {
        self.done.push(Part { title: title.to_owned(), took: Duration::ZERO, outcome: Outcome::LeftOut(reason) });
    }

    /// Prints the summary; fails if a part did.
    pub(crate) fn finish(self) -> Result<()> {
        say(&format!("\n{}", self.summary()));
        let failed: Vec<_> = self.done.iter().filter(|part| matches!(part.outcome, Outcome::Failed(_))).collect();
        if failed.is_empty() {
            return Ok(());
        }
        bail!("failed: {}", failed.iter().map(|part| part.title.as_str()).collect::<Vec<_>>().join(", "))
    }

    fn summary(&self) -> String {
        let line = |part: &Part| {
            let outcome = match &part.outcome {
                Outcome::Passed => "passed".to_owned(),
                Outcome::Failed(error) => format!("FAILED: {}", error.lines().next().unwrap_or_default()),
                Outcome::LeftOut(reason) => format!("left out: {reason}"),
            };
            format!("xtask: {:<36} {:6.1} s  {outcome}", part.title, part.took.as_secs_f32())
        };
        self.done.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_parts_run_and_one_failure_fails_the_whole() {
        let mut parts = Parts::default();
        let mut ran = 0;
        parts.run("first", || bail!("broken\nin detail"));
        parts.run("second", || {
            ran += 1;
            Ok(())
        });
        parts.leave_out("third", "no root");
        assert_eq!(ran, 1);
        let summary = parts.summary();
        for expected in ["first", "FAILED: broken", "second", "passed", "third", "left out: no root"] {
            assert!(summary.contains(expected), "{expected} in {summary}");
        }
        assert!(!summary.contains("in detail"));
        assert_eq!(parts.finish().map_err(|error| error.to_string()), Err("failed: first".to_owned()));
    }

    #[test]
    fn what_is_left_out_does_not_fail() {
        let mut parts = Parts::default();
        parts.leave_out("kernel", "no root");
        assert!(parts.finish().is_ok());
    }
}
