//! What goes over the socket: JSON, the same for the command line, for curl and for `--json`.

#![forbid(unsafe_code)]

mod changes;
mod configs;
mod looks;
mod pins;
mod status;

pub use changes::*;
pub use configs::*;
pub use looks::*;
pub use pins::*;
pub use status::*;
