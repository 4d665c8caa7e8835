//! How a command ends: the exit codes, and an error that carries one together with the fix.

#![forbid(unsafe_code)]

use std::fmt;

use serde::{Deserialize, Serialize};

/// The exit codes; scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Something else went wrong.
    Other,
    /// The command line or the config file is wrong.
    Usage,
    /// The director understood and refused; nothing changed.
    Refused,
    /// What was waited for did not happen in time.
    TimedOut,
    /// No daemon answers on the socket.
    NoDaemon,
    /// The service is not at the generation that the change was meant for; nothing changed.
    Conflict,
}

impl Code {
    /// The number that the process ends with.
    pub const fn number(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::TimedOut => 4,
            Self::NoDaemon => 5,
            Self::Conflict => 6,
        }
    }
}

/// An error for an operator: what is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What is wrong, naming the thing.
    pub error: String,
    /// What to do about it; empty if there is nothing to say.
    pub hint: String,
    pub code: Code,
}

impl Failure {
    pub fn new(code: Code, error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { error: error.into(), hint: hint.into(), code }
    }

    pub fn usage(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Usage, error, hint)
    }

    pub fn refused(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Refused, error, hint)
    }

    pub fn other(error: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Code::Other, error, hint)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.error)?;
        if !self.hint.is_empty() {
            write!(f, "\n  fix: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(failure) => failure,
            Err(error) => Self::other(format!("{error:#}"), ""),
        }
    }
}
