//! What hooks are told of a flip. The state keeps what a hook has not been told yet, for a daemon that is started again.

use serde::{Deserialize, Serialize};

use super::{State, Verb};
use crate::label::Label;

/// What a flip's hooks are told of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Occasion {
    pub director: String,
    /// Where the daemon answers: a hook may look around with `balancer status`.
    pub socket: String,
    pub service: String,
    /// The verb of the command line.
    pub verb: String,
    pub mode: Option<String>,
    /// What the verb is about: the canary that begins or ends, or the version that is flipped to.
    #[serde(default)]
    pub version: Option<Label>,
    pub from: Option<Label>,
    pub to: Option<Label>,
    /// The service's generation when this is said.
    pub generation: u64,
    pub who: String,
    pub reason: Option<String>,
    pub force: bool,
    /// What will be done, in sentences.
    pub will: Vec<String>,
    /// `done`, `unchanged`, `refused`, `timed-out`, `conflict` or `failed`; only behind a flip.
    pub result: Option<String>,
    pub error: Option<String>,
}

/// Occasions that wait for their hook at most; of more, the oldest are forgotten.
const MAX_UNTOLD: usize = 100;

impl State {
    /// Notes what a hook has to be told.
    pub fn tell(&mut self, occasion: Occasion) {
        self.untold.push(occasion);
        let surplus = self.untold.len().saturating_sub(MAX_UNTOLD);
        self.untold.drain(..surplus);
    }
}

impl Verb {
    /// Whether hooks are told of it: it is a flip, or begins or ends one.
    pub const fn flips(&self) -> bool {
        match self {
            Self::Flip { .. } | Self::Canary { .. } | Self::Promote | Self::Rollback { .. } | Self::Abort { .. } => {
                true
            }
            Self::Add { .. }
            | Self::Remove { .. }
            | Self::Adopt { .. }
            | Self::Drain { .. }
            | Self::Retire { .. }
            | Self::Pause { .. }
            | Self::Resume
            | Self::AddPin { .. }
            | Self::RemovePin { .. }
            | Self::Weigh { .. } => false,
        }
    }

    /// Whether it takes something back, and so is done also where the state cannot be written.
    pub const fn goes_back(&self) -> bool {
        matches!(self, Self::Rollback { .. } | Self::Abort { .. } | Self::Resume)
    }
}
