//! Snapshots: what a rebooted director needs to know its sessions.
//!
//! Bindings live in the kernel's memory and end with it. So the table and the key that its tags were made with are written
//! to the state directory now and then ([`Keeper`]), and a start that finds nothing in the kernel fills a new table from
//! there ([`Filler`]) before anybody is served. What a binding means (which version has which generation, which backend
//! which id) is in the state file, which is written before the kernel knows a change: a binding that the state does not
//! know is of a version that is gone, and is dropped.
//!
//! The table is read while programs change it, entry by entry, each whole; a snapshot is not of one instant, and need not
//! be: every binding in it was true at some moment of the seconds before.

#![forbid(unsafe_code)]

mod clock;
mod fill;
mod format;
mod keeper;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use self::{
    clock::{Moment, age},
    fill::{Filler, Known},
    format::Unusable,
    keeper::Keeper,
    read::{Snapshot, open, set_aside},
};

/// The snapshot's name in the state directory.
pub const FILE: &str = "sessions.snapshot";
