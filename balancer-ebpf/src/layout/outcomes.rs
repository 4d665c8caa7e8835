//! What became of a version's requests: by this a canary is judged, an exclusive flip knows whose client went away, and an operator whose
//! version is missing.

use core::cell::Cell;

/// Of one version, on one CPU, which alone writes it.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Outcomes {
    /// Final responses.
    pub answers: Cell<u64>,
    /// Those of them with a status of 500 and above.
    pub errors: Cell<u64>,
    /// Requests whose backend reset or ended the connection before its response was complete.
    pub resets: Cell<u64>,
    /// Requests that nobody answered: no backend of the version took the connection, or its client did not wait any longer.
    pub unanswered: Cell<u64>,
    /// The millisecond (of the boot clock) in which a client went away last whose request a backend was working on. What it
    /// works on then nobody sees any more.
    pub left_at: Cell<u64>,
    /// Requests that the director answered with a 503 because this version is gone, or has no backend that takes work.
    pub missing: Cell<u64>,
}
