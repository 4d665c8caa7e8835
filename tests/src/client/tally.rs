//! What many browsers saw, and which of it a session must not see.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::browser::Whoami;
use super::load::Expect;

/// How many examples of errors and of wrong answers a tally keeps.
const EXAMPLES: usize = 10;

/// What the browsers saw.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Answers.
    pub responses: u64,
    /// Answers by version.
    pub versions: BTreeMap<String, u64>,
    /// Answers by backend.
    pub backends: BTreeMap<String, u64>,
    /// Sessions that began.
    pub sessions: u64,
    /// Sessions that began anew elsewhere although their cookie was presented.
    pub moved: u64,
    /// Connections opened.
    pub connections: u64,
    /// Requests without an answer of status 200.
    pub errors: u64,
    /// Answers that a session must not have got.
    pub wrong: u64,
    /// Some errors and wrong answers in words.
    pub examples: Vec<String>,
    /// The longest that an answer took.
    pub slowest: Duration,
}

impl Tally {
    /// Fails unless there were answers, all of them right.
    pub fn expect_clean(&self) -> Result<()> {
        ensure!(self.responses > 0, "no answer at all: {self:?}");
        ensure!(self.errors == 0 && self.wrong == 0, "{} errors, {} wrong answers: {self:#?}", self.errors, self.wrong);
        Ok(())
    }

    pub(super) fn count(&mut self, last: Option<&Whoami>, answer: &Whoami, expect: Expect) {
        self.responses += 1;
        *self.versions.entry(answer.version.clone()).or_default() += 1;
        *self.backends.entry(answer.backend.clone()).or_default() += 1;
        self.sessions += u64::from(answer.new);
        let Some(last) = last else { return };
        let same_place = last.version == answer.version && last.backend == answer.backend;
        let goes_on = answer.known && answer.session == last.session && answer.hits == last.hits + 1;
        match (same_place, goes_on) {
            (true, true) => {}
            (false, false) if expect == Expect::Moves && answer.new => self.moved += 1,
            _ => {
                self.wrong += 1;
                self.example(format!("{answer:?} after {last:?}"));
            }
        }
    }

    pub(super) fn error(&mut self, text: String) {
        self.errors += 1;
        self.example(text);
    }

    fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(text);
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        let sum = |into: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>| {
            for (key, count) in from {
                *into.entry(key).or_default() += count;
            }
        };
        self.responses += other.responses;
        sum(&mut self.versions, other.versions);
        sum(&mut self.backends, other.backends);
        self.sessions += other.sessions;
        self.moved += other.moved;
        self.connections += other.connections;
        self.errors += other.errors;
        self.wrong += other.wrong;
        other.examples.into_iter().for_each(|example| self.example(example));
        self.slowest = self.slowest.max(other.slowest);
    }
}
