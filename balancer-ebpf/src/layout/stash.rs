//! Stashes: what waits while there is no leg to send it on.

use core::cell::Cell;

use super::Buffer;

/// A stash, held by one flow at a time.
#[derive(Clone)]
#[repr(C)]
pub struct Stash {
    /// 0: free; else slot + 1 of the flow that holds it (low half) and the second it was taken (high half).
    pub owner: Cell<u64>,
    pub data: Buffer,
}
