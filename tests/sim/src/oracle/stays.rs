//! Where the director does not decide about every request of a connection: by design, or because it cannot do so yet.

use std::fmt;

use crate::message::{Reply, Request};
use crate::tally::Feature;

/// A connection that stays with a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    pub(crate) backend: usize,
    pub(crate) why: Why,
    /// Nothing on it is decided. Else it depends on which packets the director saw first.
    pub(crate) surely: bool,
}

/// Why a connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Behind CONNECT is a tunnel, whatever the answer says.
    Connect,
    /// It is not HTTP/1.x.
    Opaque,
    /// A final answer came before the request's body, and nobody knows what the client makes of it.
    EarlyAnswer,
    /// A 205 in chunks: some clients read them, some believe the status.
    Disputed,
}

impl Why {
    /// Why nothing is decided behind a request.
    pub(super) fn of_request(request: &Request) -> Option<Self> {
        if request.is_opaque {
            Some(Self::Opaque)
        } else if request.has(Feature::Connect) {
            Some(Self::Connect)
        } else {
            None
        }
    }

    /// Why perhaps nothing is decided behind an answer. `early`: it came before the request's body.
    pub(super) fn of_reply(reply: &Reply, early: bool) -> Option<Self> {
        let has = |feature| reply.features.has(feature);
        if early {
            Some(Self::EarlyAnswer)
        } else if has(Feature::ResetContent) && has(Feature::AnswerChunks) {
            Some(Self::Disputed)
        } else {
            None
        }
    }
}

impl fmt::Display for Stay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?})", self.backend, self.why)
    }
}
