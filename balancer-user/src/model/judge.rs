//! Whether a canary fails: what became of its requests against what became of the active version's.

use std::{fmt, ops::Add, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Percent;

/// What became of a version's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Responses.
    pub answers: u64,
    /// Those of them with a status of 500 and above.
    pub errors: u64,
    /// Requests whose backend reset or ended the connection before its response was complete.
    pub resets: u64,
    /// Requests that nobody answered.
    pub unanswered: u64,
}

impl Tally {
    pub fn requests(self) -> u64 {
        self.answers + self.resets + self.unanswered
    }

    pub fn failures(self) -> u64 {
        self.errors + self.resets + self.unanswered
    }

    /// The percentage of requests that failed; 0 where there were none.
    pub fn failed_percent(self) -> f64 {
        let requests = self.requests();
        if requests == 0 { 0.0 } else { self.failures() as f64 * 100.0 / requests as f64 }
    }

    /// What was counted since. After a reboot counts begin anew: then all of it was.
    pub fn since(self, before: Self) -> Self {
        let less = |now: u64, before: u64| now.checked_sub(before);
        let since = || {
            Some(Self {
                answers: less(self.answers, before.answers)?,
                errors: less(self.errors, before.errors)?,
                resets: less(self.resets, before.resets)?,
                unanswered: less(self.unanswered, before.unanswered)?,
            })
        };
        since().unwrap_or(self)
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            answers: self.answers + other.answers,
            errors: self.errors + other.errors,
            resets: self.resets + other.resets,
            unanswered: self.unanswered + other.unanswered,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { errors, resets, unanswered, .. } = self;
        write!(
            f,
            "{:.1} % of {} requests failed ({errors} of 5xx, {resets} resets, {unanswered} without an answer)",
            self.failed_percent(),
            self.requests()
        )
    }
}

/// When a canary is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    /// Percentage points by which its failures have to exceed the active version's.
    pub over: Percent,
    /// Requests of the canary before which nothing is concluded.
    pub min_requests: u64,
}

impl Guard {
    /// Why the canary has to be given up, if it has to.
    pub fn judge(self, canary: Tally, active: Tally) -> Option<String> {
        if canary.requests() < self.min_requests.max(1) {
            return None;
        }
        let over = canary.failed_percent() - active.failed_percent();
        (over > f64::from(self.over)).then(|| {
            format!("{canary}; of the active version's {active}; {over:.1} points more, {} are allowed", self.over)
        })
    }
}

/// A threshold as an operator says it: `5%`, or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Over(pub Option<Percent>);

impl FromStr for Over {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "never" {
            return Ok(Self(None));
        }
        text.parse::<Percent>()
            .map(|percent| Self(Some(percent)))
            .map_err(|_| format!("`{text}` is not a share of failures: write 0.01% to 100%, or never"))
    }
}

impl TryFrom<String> for Over {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Over> for String {
    fn from(over: Over) -> Self {
        over.to_string()
    }
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(percent) => write!(f, "{percent}%"),
            None => f.write_str("never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(answers: u64, errors: u64, resets: u64, unanswered: u64) -> Tally {
        Tally { answers, errors, resets, unanswered }
    }

    #[test]
    fn a_canary_is_measured_against_the_active_version() {
        let guard = Guard { over: Percent::try_from(5.0).unwrap(), min_requests: 50 };
        let table = [
            // Too few to say anything.
            (tally(49, 49, 0, 0), tally(1000, 0, 0, 0), false),
            (tally(50, 3, 0, 0), tally(1000, 0, 0, 0), true),
            // Exactly the threshold is allowed.
            (tally(100, 5, 0, 0), tally(1000, 0, 0, 0), false),
            // All kinds count.
            (tally(100, 2, 2, 2), tally(1000, 0, 0, 0), true),
            (tally(0, 0, 0, 50), tally(0, 0, 0, 0), true),
            // What the active version does as well is not the canary's fault.
            (tally(100, 30, 0, 0), tally(1000, 300, 0, 0), false),
            (tally(100, 30, 0, 0), tally(1000, 240, 0, 0), true),
        ];
        for (canary, active, given_up) in table {
            assert_eq!(guard.judge(canary, active).is_some(), given_up, "{canary} / {active}");
        }
    }

    #[test]
    fn counts_that_begin_anew_are_all_new() {
        assert_eq!(tally(10, 2, 3, 4).since(tally(4, 1, 1, 1)), tally(6, 1, 2, 3));
        assert_eq!(tally(3, 0, 0, 1).since(tally(400, 1, 1, 1)), tally(3, 0, 0, 1));
    }

    #[test]
    fn thresholds_as_they_are_written() {
        assert_eq!("never".parse::<Over>().unwrap().0, None);
        for text in ["5%", "5", "0.5%"] {
            let written = text.parse::<Over>().unwrap().to_string();
            assert_eq!(written, format!("{}%", text.trim_end_matches('%')));
        }
        assert!("often".parse::<Over>().unwrap_err().contains("`often`"));
    }
}
