//! A version's label, as an operator types it.

#![forbid(unsafe_code)]

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Bytes of a label at most.
pub const MAX_LABEL: usize = 64;

/// The name of a version: 1 to 64 of `A-Z a-z 0-9 . _ + -`, so that it can stand in a command, a URL and a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

/// Why a text is no label.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    #[error("a version label is empty: write 1 to {MAX_LABEL} of A-Z a-z 0-9 . _ + -, for example 001")]
    Empty,
    #[error("the version label `{0}` has {1} bytes: use at most {MAX_LABEL}")]
    Long(String, usize),
    #[error("the version label `{0}` has a blank: write it without, for example `{1}`")]
    Blank(String, String),
    #[error("the version label `{0}` has the character {1:?}: use only A-Z a-z 0-9 . _ + -")]
    Character(String, char),
}

impl Label {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        if text.is_empty() {
            return Err(LabelError::Empty);
        }
        if text.chars().any(char::is_whitespace) {
            let joined = text.split_whitespace().collect::<Vec<_>>().join("-");
            return Err(LabelError::Blank(text.to_owned(), joined));
        }
        if let Some(bad) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !"._+-".contains(*c)) {
            return Err(LabelError::Character(text.to_owned(), bad));
        }
        if text.len() > MAX_LABEL {
            return Err(LabelError::Long(text.to_owned(), text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        text.parse()
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `pad`, so that labels line up where a width is asked for.
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_are_and_are_not() {
        for good in ["001", "1.2.3-rc.1+build_5", "v2", "-", &"x".repeat(64)] {
            assert!(good.parse::<Label>().is_ok(), "{good}");
        }
        for (bad, says) in [
            ("", "empty"),
            ("00 1", "has a blank: write it without, for example `00-1`"),
            ("00\t1", "has a blank"),
            ("a/b", "character '/'"),
            ("ü", "character 'ü'"),
            (&"x".repeat(65), "65 bytes"),
        ] {
            let error = bad.parse::<Label>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad:?}: {error}");
        }
    }
}
