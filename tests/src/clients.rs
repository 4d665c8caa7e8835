//! Real clients, of other people's making: each runs as users of its own at the lab's client and says what became of every request.
//!
//! A driver starts the program, most of them one that is written in the client's own language (`tests/tests/clients/`). The program
//! prints a line of JSON for each request, a [`Visit`]; `judge` holds these against the [`Timeline`] of flips. Some users
//! *keep* their cookie, the others never present one: each of their requests is a new session.

pub mod ab;
pub mod chromium;
pub mod crowd;
pub mod curl;
pub mod java;
pub mod judge;
pub mod nginx;
pub mod python;
pub mod timeline;
pub mod visit;
pub mod wrk;

mod program;
mod runs;

pub use judge::Verdict;
pub use program::Program;
pub use runs::Runs;
pub use timeline::{Moves, Timeline};
pub use visit::Visit;

use anyhow::Result;

/// Users who keep their cookie, of every client.
pub const KEEPERS: usize = 4;
/// Users who never present one.
pub const NEWCOMERS: usize = 2;

/// A client at work.
pub trait Client {
    /// What its users saw so far.
    fn visits(&self) -> Result<Vec<Visit>>;
    /// Ends it in order and returns what its users saw.
    fn finish(self: Box<Self>) -> Result<Vec<Visit>>;
}
