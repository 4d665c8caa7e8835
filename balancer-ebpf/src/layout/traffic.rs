//! Live counts of a version, for `status` and for "nobody is on it".

use core::cell::Cell;

/// Of one version. Written by all CPUs with atomic adds.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Traffic {
    /// Requests that were decided for the version and whose response is not complete yet, as a two's complement number.
    pub in_flight: Cell<u64>,
    /// Requests decided for the version, ever.
    pub requests: Cell<u64>,
    /// Sessions that its backends issued, ever.
    pub issued: Cell<u64>,
    /// Flows that have a leg to it now.
    pub flows: Cell<u64>,
    /// Of those that were issued, the new sessions: not another id of one that was known.
    pub born: Cell<u64>,
}
