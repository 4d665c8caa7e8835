//! The edge on the host: what the kernel is to the core, made of vectors and virtual time.

mod frame;
mod maps;

pub use frame::{Kind, SimFrame};
pub use maps::{Fault, SimMaps};

/// A bug put in on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Mutation {
    /// The core as it is.
    #[default]
    None,
    /// The right edge of every SACK block is one byte too far.
    SackEdge,
    /// A client's segment that looks like a request is taken for one, wherever it begins.
    GuessedRequest,
    /// The same for responses.
    GuessedResponse,
    /// What looks like the end of a body in chunks is taken for it, wherever it stands.
    GuessedChunk,
    /// A leg goes to the pool before its response is complete.
    PooledEarly,
    /// Damaged packets are taken for whole ones.
    Unverified,
    /// A request that the client sends again goes out on a second leg, whatever became of the first.
    SentTwice,
}
