//! What a user of a real client saw of one request.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::client::Whoami;

/// A request and its answer. Times are milliseconds since 1970, the one clock that all clients share.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct Visit {
    /// Which user of the client.
    pub user: usize,
    /// Whether the user keeps cookies.
    pub keeps: bool,
    /// No later than the request left.
    pub sent: f64,
    /// No earlier than the answer came.
    pub received: f64,
    /// What came.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The answer of `/whoami`.
    Answer(Whoami),
    /// Why there is none.
    Error(String),
}

impl Visit {
    /// The answer, if there is one.
    pub fn answer(&self) -> Option<&Whoami> {
        match &self.outcome {
            Outcome::Answer(answer) => Some(answer),
            Outcome::Error(_) => None,
        }
    }

    /// The visits that a program's lines tell. Any other line is an error: it is what the program complains about.
    pub fn parse_all(text: &str) -> Result<Vec<Self>> {
        // The last line may just be being written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("the client says: {line}")))
            .collect()
    }
}
