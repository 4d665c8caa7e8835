//! The session table: buckets of bindings.
//!
//! A table of our own rather than a kernel hash, because it has to know kinds of entries: *issued* ids (a backend set
//! them, nobody has presented them yet) are evicted oldest first, *presented* ones never are, they only expire. An id has
//! two buckets: it lies in the first as long as that is nearly empty ([`crate::sessions::ROOMY`]), else in the emptier one. So nobody finds both
//! full below three quarters, and one of 140 at nine tenths.
//!
//! An entry says itself when it expires: a bucket holds the sessions of all services, whose idle time-outs differ.

use core::cell::Cell;

/// Entries of a bucket.
pub const BUCKET_WAYS: usize = 8;

/// A backend issued the id; no request has carried it yet.
pub const KIND_ISSUED: u8 = 1;
/// A request has carried the id.
pub const KIND_PRESENTED: u8 = 2;
/// A response has given the session another id. Requests that were on their way still carry this one: it keeps its place
/// until it expires, which no request puts off (C34).
pub const KIND_RENAMED: u8 = 3;
/// One request has carried the id, and no backend is known to have issued it: it was adopted (C9). Whoever makes up
/// cookies makes such entries, so they give way to any other.
pub const KIND_ADOPTED: u8 = 4;

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
    pub const fn with_kind(self, kind: u8) -> Self {
        Self(self.0 & !(0xff << 24) | (kind as u64) << 24)
    }
    pub const fn presented(self) -> Self {
        self.with_kind(KIND_PRESENTED)
    }
}

/// When an entry expires (low half) and when it was made (high half): seconds on the boot clock, which may wrap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times(pub u64);

impl Times {
    pub const fn new(expires: u32, made: u32) -> Self {
        Self(expires as u64 | (made as u64) << 32)
    }
    /// The last second in which the entry counts.
    pub const fn expires(self) -> u32 {
        self.0 as u32
    }
    pub const fn made(self) -> u32 {
        (self.0 >> 32) as u32
    }
    /// Whether the last second is over.
    pub const fn expired(self, now: u32) -> bool {
        let past = now.wrapping_sub(self.expires());
        past != 0 && past <= i32::MAX as u32
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
    /// [`Times`].
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
