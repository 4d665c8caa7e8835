//! Ethernet, IPv4 and TCP as the splice sees them.

mod checksum;
mod craft;
mod frame;
mod options;
mod segment;
mod seq;
mod sound;
#[cfg(test)]
mod tests;

pub use checksum::*;
pub use craft::*;
pub use frame::*;
pub use options::*;
pub use segment::*;
pub use seq::*;
pub use sound::*;
