//! Hooks: an operator's programs and web addresses that are asked or told about flips. [`crate::config`] says which there are;
//! here they are run.
//!
//! Each gets a JSON document: a program on its standard input, with the most important of it in its environment; a web address as
//! the body of a POST. Each has a time-out, and what it says is kept only in part.

mod process;
mod webhook;

use std::time::{Duration, Instant};

use serde::Serialize;

pub use crate::model::Occasion;
use crate::{
    config::{Action, Callout},
    label::Label,
};

/// Bytes of what a hook says that are kept.
const KEPT: usize = 4096;
/// Of that, so much is told in one line.
const TOLD: usize = 300;

/// When a hook is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Point {
    PreFlip,
    During,
    PostFlip,
    Event,
}

impl Point {
    pub const ALL: [Self; 4] = [Self::PreFlip, Self::During, Self::PostFlip, Self::Event];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PreFlip => "pre-flip",
            Self::During => "during",
            Self::PostFlip => "post-flip",
            Self::Event => "event",
        }
    }
}

/// The document: which hook it is, and the rest.
#[derive(Serialize)]
struct Document<'a, T: Serialize> {
    hook: Point,
    #[serde(flatten)]
    what: &'a T,
}

/// How a hook ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Why it counts as failed: its status, or that it took too long; `None`: it went well.
    pub problem: Option<String>,
    /// The beginning of what it said.
    pub said: String,
    pub took: Duration,
}

impl Ended {
    /// In one line, for people.
    pub fn text(&self) -> String {
        let said: String = self.said.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(TOLD).collect();
        let how = self.problem.as_deref().unwrap_or("went well");
        if said.is_empty() { how.to_owned() } else { format!("{how}: {said}") }
    }
}

/// Runs a hook, for at most so long.
pub async fn run<T: Serialize>(
    point: Point,
    hook: &Callout,
    longest: Duration,
    what: &T,
    environment: &[(&str, String)],
) -> Ended {
    let began = Instant::now();
    let timeout = hook.timeout.min(longest);
    let document = match serde_json::to_vec(&Document { hook: point, what }) {
        Ok(document) => document,
        Err(error) => {
            return Ended {
                problem: Some(format!("cannot be told: {error}")),
                said: String::new(),
                took: Duration::ZERO,
            };
        }
    };
    let (problem, said) = match &hook.action {
        Action::Command(words) => {
            let name = ("BALANCER_HOOK", point.as_str().to_owned());
            let environment: Vec<_> = environment.iter().cloned().chain([name]).collect();
            process::run(words, document, &environment, timeout).await
        }
        Action::Url(url) => webhook::post(url, document, timeout).await,
    };
    Ended { problem, said: String::from_utf8_lossy(&said).into_owned(), took: began.elapsed() }
}

/// What of an occasion stands in a program's environment.
pub fn environment(occasion: &Occasion) -> Vec<(&'static str, String)> {
    let label = |label: &Option<Label>| label.as_ref().map(ToString::to_string).unwrap_or_default();
    vec![
        ("BALANCER_DIRECTOR", occasion.director.clone()),
        ("BALANCER_SOCKET", occasion.socket.clone()),
        ("BALANCER_SERVICE", occasion.service.clone()),
        ("BALANCER_VERB", occasion.verb.clone()),
        ("BALANCER_MODE", occasion.mode.clone().unwrap_or_default()),
        ("BALANCER_VERSION", label(&occasion.version)),
        ("BALANCER_FROM", label(&occasion.from)),
        ("BALANCER_TO", label(&occasion.to)),
        ("BALANCER_WHO", occasion.who.clone()),
        ("BALANCER_REASON", occasion.reason.clone().unwrap_or_default()),
        ("BALANCER_RESULT", occasion.result.clone().unwrap_or_default()),
    ]
}

/// Keeps the beginning of what somebody says.
fn keep(kept: &mut Vec<u8>, more: &[u8]) {
    let room = KEPT.saturating_sub(kept.len());
    kept.extend(more.iter().take(room));
}
