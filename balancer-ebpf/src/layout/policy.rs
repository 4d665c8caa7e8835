//! What decides requests: a service's word and the policy block that it points to.
//!
//! A policy is many words, and a system call that updates many words tears. So a block is written while nothing points
//! to it, and one store of the service word makes it the truth. A block is written again only after a grace period.

/// Services at most.
pub const MAX_SERVICES: u32 = 64;
/// Versions of a service at most, in any state.
pub const MAX_VERSIONS: u32 = 16;
/// Backends of a version at most.
pub const VERSION_BACKENDS: usize = 32;
/// Policy blocks of a service: the current one, the next one and two that may still be read.
pub const SERVICE_BLOCKS: u32 = 4;
/// Backends of a service that may have a route, over all versions that serve.
pub const MAX_ROUTES: usize = 128;
/// Places for routes: four times as many, so that a search ends after [`ROUTE_PROBES`].
pub const ROUTE_SLOTS: usize = 512;
/// Places in a row where a route may lie. Who writes a policy picks a seed with which all of them do.
pub const ROUTE_PROBES: u32 = 4;
/// Bytes of a route at most.
pub const MAX_ROUTE: usize = 32;
/// Bytes of a cookie's or path parameter's name at most.
pub const MAX_NAME: usize = 64;

/// The word of a service: the policy block in the low half, a generation that rises with each change in the high half.
/// Zero means that the service has no policy yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceWord(pub u64);

impl ServiceWord {
    /// A word for `block`, at `generation` (which must not be 0).
    pub const fn new(block: u32, generation: u32) -> Self {
        Self((generation as u64) << 32 | block as u64)
    }
    /// Index into the policy blocks.
    pub const fn block(self) -> u32 {
        self.0 as u32
    }
    /// Rises with every change of the policy.
    pub const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The version takes requests of sessions that are bound to it.
pub const VERSION_SERVES: u32 = 1;
/// Ids that end in a route of the version are steered to it, bound or not (C29). Not set for a version that nobody was
/// sent to yet, nor for one whose sessions were moved away: an id says for ever where it was issued.
pub const VERSION_ROUTES: u32 = 2;

/// One version, as far as the data path has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct VersionPolicy {
    /// A binding is valid only if it carries this number: changing it moves every session of the version at its next
    /// request. Never used twice in a service, so a removed version's bindings never come back. 0: no such version.
    pub generation: u32,
    /// `VERSION_*` bits.
    pub flags: u32,
    /// How many of `backends` count.
    pub backend_count: u32,
    /// The generation that the version began with. It stays what it is when sessions are moved: so a binding of an older
    /// generation is of this version, moved, if it is not older than this, and else of one that is gone.
    pub birth: u32,
    /// Backend ids.
    pub backends: [u16; VERSION_BACKENDS],
}

impl VersionPolicy {
    /// No version.
    pub const NONE: Self =
        Self { generation: 0, flags: 0, backend_count: 0, birth: 0, backends: [0; VERSION_BACKENDS] };
}

/// A name of a cookie or of a path parameter, packed so that it compares eight bytes at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Name {
    /// The bytes as little-endian words, zeroes behind them.
    pub words: [u64; MAX_NAME / 8],
    /// How many bytes count.
    pub len: u32,
    pub zero: u32,
}

impl Name {
    /// No name.
    pub const NONE: Self = Self { words: [0; MAX_NAME / 8], len: 0, zero: 0 };

    /// Packs `name`; `None` if it is empty or longer than [`MAX_NAME`].
    pub fn new(name: &[u8]) -> Option<Self> {
        if name.is_empty() || name.len() > MAX_NAME {
            return None;
        }
        Some(Self { words: packed(name), len: name.len() as u32, zero: 0 })
    }
}

/// Bytes as little-endian words, zeroes behind them; what has no room is left out.
pub(super) fn packed<const WORDS: usize>(bytes: &[u8]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (index, byte) in bytes.iter().enumerate() {
        if let Some(word) = words.get_mut(index / 8) {
            *word |= u64::from(*byte) << ((index % 8) * 8);
        }
    }
    words
}

/// What a route stands for: a backend of a version, in the lower bits of its word.
///
/// From the lowest bit: backend id (16), version index (8), tag (40). The tag is of the route's text ([`crate::route`]); a
/// word of 0 is a free place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u64);

impl Route {
    pub const fn new(tag: u64, version: u32, backend: u32) -> Self {
        Self(tag << 24 | (version as u64 & 0xff) << 16 | backend as u64 & 0xffff)
    }
    pub const fn tag(self) -> u64 {
        self.0 >> 24
    }
    /// Version and backend without the tag, as a flow and a search keep them.
    pub const fn target(self) -> u32 {
        self.0 as u32 & 0xff_ffff
    }
}

/// The version index in a [`Route::target`].
#[inline(always)]
pub const fn target_version(target: u32) -> u32 {
    target >> 16 & 0xff
}

/// The backend id in a [`Route::target`].
#[inline(always)]
pub const fn target_backend(target: u32) -> u32 {
    target & 0xffff
}

/// How a service's session ids are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SessionRule {
    /// The cookie's name, compared case-sensitively (C18).
    pub cookie: Name,
    /// The path parameter's name (C20).
    pub parameter: Name,
    /// Names of the cookie, the header (in lower case) and the query's parameter that may carry a pin, or [`Name::NONE`].
    pub pin_cookie: Name,
    pub pin_header: Name,
    pub pin_query: Name,
}

impl SessionRule {
    /// Without pins.
    pub const fn new(cookie: Name, parameter: Name) -> Self {
        Self { cookie, parameter, pin_cookie: Name::NONE, pin_header: Name::NONE, pin_query: Name::NONE }
    }
}

/// Legs that no request needs any more wait for other flows' requests (`pool = "safe"`).
pub const POLICY_POOL: u32 = 1;
/// A flow whose requests cannot be framed any more stays on its backend for as long as it lasts, instead of being closed
/// when a request belongs elsewhere (`on_unframed = "keep"`).
pub const POLICY_KEEP_UNFRAMED: u32 = 2;
/// Backends see the client's own address, and answer through the director (`return = "gateway"`). Never together with
/// [`POLICY_POOL`]: such a leg belongs to one client.
pub const POLICY_GATEWAY: u32 = 4;
/// A request whose session is of a version that is gone, or that has no backend that takes work, is answered with a 503 instead
/// of being sent to another version (`missing_version = "reject"`, C14, D12).
pub const POLICY_REJECT_MISSING: u32 = 8;

/// A policy block: all that the data path needs to decide a request of a service, but for the bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Policy {
    /// The service word's generation for which the block was written.
    pub generation: u32,
    /// The version that new sessions get: an index into `versions`.
    pub active: u32,
    /// Seconds after which a binding that no request refreshed expires (D3).
    pub idle_seconds: u32,
    /// The version that gets requests while the active one has no backend that takes work; may be the active one.
    pub fallback: u32,
    /// `POLICY_*` bits.
    pub flags: u32,
    /// Idle legs that are kept for each backend at most; 0 unless [`POLICY_POOL`] is set.
    pub pool_limit: u32,
    /// The version that ids known nowhere are adopted into, or [`super::NONE`] (C9).
    pub adopt: u32,
    /// Seconds for which the former id of a renamed session keeps its place (C34).
    pub grace_seconds: u32,
    /// The version that a share of new sessions gets, or [`super::NONE`] (D17).
    pub canary: u32,
    /// That share, of 2³²: a new session gets the canary if its bucket is below this.
    pub canary_share: u32,
    /// What buckets are made with. It stays while the share changes, so that nobody leaves the canary because it grows.
    pub canary_salt: u64,
    /// The millisecond (of the boot clock) until which no request is decided, or 0: held ones come again (D10). A point in time
    /// rather than a switch, so that it ends without the daemon.
    pub hold_until: u64,
    /// Which kinds of pins there are: `PINS_*` bits. At 0 nobody looks for one.
    pub pins: u32,
    /// Index and one of the listener whose rules choose among its services, or 0: the service has its listener for itself.
    pub listener: u32,
    /// How many of `routes` are in use: at 0 nobody looks for a route in an id.
    pub route_count: u32,
    /// What tags of routes begin with.
    pub route_seed: u32,
    pub rule: SessionRule,
    pub versions: [VersionPolicy; MAX_VERSIONS as usize],
    /// [`Route`]s by their tags: a hash table.
    pub routes: [u64; ROUTE_SLOTS],
}

impl Policy {
    /// A policy without versions, that does nothing that a service has to ask for.
    pub const fn new(rule: SessionRule) -> Self {
        Self {
            generation: 0,
            active: 0,
            idle_seconds: 1800,
            fallback: 0,
            flags: 0,
            pool_limit: 0,
            adopt: super::NONE,
            grace_seconds: 30,
            canary: super::NONE,
            canary_share: 0,
            canary_salt: 0,
            hold_until: 0,
            pins: 0,
            listener: 0,
            route_count: 0,
            route_seed: 0,
            rule,
            versions: [VersionPolicy::NONE; MAX_VERSIONS as usize],
            routes: [0; ROUTE_SLOTS],
        }
    }
}
