//! The session table: buckets of bindings.
//!
//! A table of our own rather than a kernel hash, because it has to know two kinds of entries: *issued* ids (a backend set
//! them, nobody has presented them yet) are evicted oldest first, *presented* ones never are, they only expire. An id has
//! two buckets and lies in either, so that nobody finds both full below four fifths, and one of 160 at nine tenths.

use core::cell::Cell;

/// Entries of a bucket.
pub const BUCKET_WAYS: usize = 8;

/// A backend issued the id; no request has carried it yet.
pub const KIND_ISSUED: u8 = 1;
/// A request has carried the id.
pub const KIND_PRESENTED: u8 = 2;

/// What a session is bound to, in one word, so that it changes in one store.
///
/// From the lowest bit: backend id (16), version index (8), kind (8), version generation (32).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub u64);

impl Binding {
    pub const fn new(version: u32, generation: u32, backend: u32, kind: u8) -> Self {
        Self(
            (backend as u64 & 0xffff) | (version as u64 & 0xff) << 16 | (kind as u64) << 24 | (generation as u64) << 32,
        )
    }
    pub const fn backend(self) -> u32 {
        (self.0 & 0xffff) as u32
    }
    pub const fn version(self) -> u32 {
        (self.0 >> 16 & 0xff) as u32
    }
    pub const fn kind(self) -> u8 {
        (self.0 >> 24) as u8
    }
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
    pub const fn presented(self) -> Self {
        Self(self.0 & !(0xff << 24) | (KIND_PRESENTED as u64) << 24)
    }
}

/// One entry: 32 bytes. Free when `tag` is 0.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Entry {
    /// The keyed hash of service and id ([`SessionHash::tag`]), never 0 for an entry in use.
    pub tag: Cell<u64>,
    /// A [`Binding`].
    pub binding: Cell<u64>,
    /// Seconds (low half: last seen; high half: when it was made), on the boot clock.
    pub times: Cell<u64>,
    /// The other half of the hash in full, so that a table of another size can be filled from this one.
    pub bucket_hash: Cell<u64>,
}

/// Eight entries: 256 bytes, four cache lines.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Bucket {
    pub entries: [Entry; BUCKET_WAYS],
}

/// The keyed hash of a service and a session id: SipHash-2-4 with 128 bits of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SessionHash {
    /// Tells entries of a bucket apart; 0 is replaced by 1.
    pub tag: u64,
    /// Low half: one bucket; high half: the other.
    pub bucket: u64,
}
