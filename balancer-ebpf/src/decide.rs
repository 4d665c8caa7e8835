//! The decision: which version and backend a request gets. One pure function, for the data path and for `explain`.
//!
//! Order (D1): pin, operator's override, binding, route suffix, canary bucket, active version. An id that nobody knows may be
//! adopted into a version instead of the active one. A binding and a route name a backend, since a session lives in the memory of one server; without them, the backend of the
//! present leg is kept if it is of the chosen version, else the source address chooses by weighted rendezvous hashing, so
//! that one user stays with one backend and a backend that goes away moves only its own users.

use crate::host::{Cpu, Machine, Step};
use crate::layout::{
    BACKEND_UP, BACKEND_USED, Backend, Binding, MAX_VERSIONS, NONE, PIN_NO_CANARY, PIN_OVERRIDES,
    POLICY_REJECT_MISSING, Policy, VERSION_BACKENDS, VERSION_ROUTES, VERSION_SERVES, VersionPolicy, pinned_version,
    target_backend, target_version,
};

/// How the decision reads backends.
pub trait Backends: Machine {
    fn backend(&self, id: u32) -> Option<&Backend>;
    /// [`position`]. In the kernel a function of its own, or the verifier would follow each position to the end of what comes behind.
    #[inline(always)]
    fn position(&self, of: &VersionPolicy, id: u32) -> u32 {
        position(of, id)
    }
}

/// The position of a backend in a version, or [`NONE`].
#[inline(always)]
pub fn position(of: &VersionPolicy, id: u32) -> u32 {
    for (position, other) in (0..).zip(&of.backends) {
        if position >= of.backend_count {
            break;
        }
        if u32::from(*other) == id {
            return position;
        }
    }
    NONE
}

/// Why a request got its version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u32)]
pub enum Why {
    /// No session is known: the active version.
    #[default]
    Active,
    /// The session is bound to the version.
    Bound,
    /// The session was bound to a version that is gone, or was moved by a forced flip: the active version.
    Moved,
    /// No session is known, but the id says itself which backend issued it.
    Route,
    /// No session is known, and the service adopts unknown ids into a version.
    Adopted,
    /// No session is known, and the client is of the share that gets the canary.
    Canary,
    /// The request carries a tester's pin.
    Pinned,
    /// An operator has overridden the session.
    Overridden,
}

impl Why {
    /// The word for it in `explain`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Bound => "bound",
            Self::Moved => "moved",
            Self::Route => "route",
            Self::Adopted => "adopted",
            Self::Canary => "canary",
            Self::Pinned => "pin",
            Self::Overridden => "override",
        }
    }

    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Active,
        Self::Bound,
        Self::Moved,
        Self::Route,
        Self::Adopted,
        Self::Canary,
        Self::Pinned,
        Self::Overridden,
    ];
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Choice {
    /// Index into the policy's versions.
    pub version: u32,
    /// The version's generation, for a binding.
    pub generation: u32,
    /// Id of the backend.
    pub backend: u32,
    /// Its position in the version, for the mask of those tried.
    pub position: u32,
    /// A [`Why`].
    pub why: u32,
    /// 1: the bound backend takes no work, another of its version was chosen.
    pub backend_down: u32,
    /// 1: the version has no backend that takes work, another version was chosen.
    pub version_down: u32,
    /// Why the request is to be answered with a 503: `MISSING_*`, or 0.
    pub missing: u32,
}

impl Choice {
    /// Whether it is a backend because the request's session lives there.
    #[inline(always)]
    pub const fn lives(&self, version: u32, backend: u32) -> bool {
        let home = self.why == Why::Bound as u32 || self.why == Why::Route as u32;
        home && self.version == version && self.backend == backend && self.backend_down == 0
    }
}

/// The version that the request has to get has no backend that takes work.
pub const MISSING_DOWN: u32 = 1;
/// The version of its session is gone.
pub const MISSING_GONE: u32 = 2;

/// What came of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Decided {
    /// A backend.
    Chosen,
    /// The version that it would have to be is missing, and no other will do.
    Missing,
    /// No version has a backend that takes work.
    Nobody,
}

impl Decided {
    /// Back from its number; the compiler sees that nothing changes.
    #[inline(always)]
    pub const fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Chosen,
            1 => Self::Missing,
            _ => Self::Nobody,
        }
    }
}

/// What the decision depends on, and scratch memory for making it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Search {
    /// The session's binding, as a word; 0 for none.
    pub binding: u64,
    /// Where the route of an id without a binding leads ([`crate::layout::Route::target`]), or [`NONE`].
    pub route: u32,
    /// 1 if the request presents any id.
    pub presented: u32,
    /// Millisecond, for backends that are passed over for a while.
    pub now: u64,
    /// The client's address, as a [number](crate::layout::Address::number).
    pub source: u32,
    /// The present leg, or [`NONE`].
    pub present_version: u32,
    pub present_backend: u32,
    /// Positions of `tried_version` that were tried for this request and did not answer.
    pub tried: u32,
    pub tried_version: u32,
    /// 1: backends that are passed over do not count, whoever is bound to them.
    pub strict: u32,
    /// What the request is pinned to ([`crate::layout::pinned_to`]), or 0.
    pub pin: u32,
    version: u32,
    index: u32,
    /// The backend that the session is bound or routed to, or [`NONE`].
    bound: u32,
    /// The backend of the present leg if that is of `version`, or [`NONE`].
    present: u32,
    best: u32,
    best_position: u32,
    best_weight: u64,
    best_log: u64,
    second: u32,
    second_position: u32,
    second_weight: u64,
    second_log: u64,
}

impl Search {
    /// Index of the version that is missing, for this reason (`MISSING_*`); of one that is gone, the index that it had.
    #[inline(always)]
    pub const fn missing(&self, why: u32) -> u32 {
        if why == MISSING_GONE { Binding(self.binding).version() } else { self.version }
    }
}

/// The policy's entry of a version; indexes wrap.
#[inline(always)]
pub fn version(policy: &Policy, index: u32) -> &VersionPolicy {
    &policy.versions[(index & (MAX_VERSIONS - 1)) as usize]
}

/// Whether a binding still holds under a policy.
#[inline(always)]
pub fn holds(policy: &Policy, binding: Binding) -> bool {
    let of = version(policy, binding.version());
    of.generation != 0 && of.generation == binding.generation() && of.flags & VERSION_SERVES != 0
}

/// Whether ids that end in a route of a version are steered to it.
#[inline(always)]
fn routes(policy: &Policy, target: u32) -> bool {
    const WANTED: u32 = VERSION_SERVES | VERSION_ROUTES;
    let of = version(policy, target_version(target));
    of.generation != 0 && of.flags & WANTED == WANTED
}

/// Which version a request is for, which of its backends has the session ([`NONE`]: any), and why.
#[inline(always)]
fn wanted(policy: &Policy, search: &Search) -> (u32, u32, Why) {
    let binding = Binding(search.binding);
    if search.pin & 0xffff != 0 {
        let pinned = pinned_version(search.pin);
        // Where the session lives, if that is in the very version.
        let at_home = search.binding != 0 && binding.version() == pinned && holds(policy, binding);
        let why = if search.pin & PIN_OVERRIDES != 0 { Why::Overridden } else { Why::Pinned };
        return (pinned, if at_home { binding.backend() } else { NONE }, why);
    }
    if search.binding != 0 && holds(policy, binding) {
        return (binding.version(), binding.backend(), Why::Bound);
    }
    if search.route != NONE && routes(policy, search.route) {
        return (target_version(search.route), target_backend(search.route), Why::Route);
    }
    if search.binding != 0 {
        return (policy.active, NONE, Why::Moved);
    }
    if search.presented != 0 && policy.adopt != NONE {
        return (policy.adopt, NONE, Why::Adopted);
    }
    if policy.canary != NONE
        && search.pin & PIN_NO_CANARY == 0
        && bucket(policy.canary_salt, search.source) < policy.canary_share
    {
        return (policy.canary, NONE, Why::Canary);
    }
    (policy.active, NONE, Why::Active)
}

/// A well-mixed word of a client's address and a backend (the finaliser of MurmurHash3).
#[inline(always)]
fn mix(source: u32, backend: u32) -> u32 {
    let mut h = source ^ backend.wrapping_mul(0x9e37_79b9);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The bucket of a client: by its address, so that one who has no session yet gets one version for all that it asks for, from
/// whichever connections.
#[inline(always)]
fn bucket(salt: u64, source: u32) -> u32 {
    mix(mix(source, salt as u32), (salt >> 32) as u32)
}

/// −log2((h + 1) / 2³²) with 16 fractional bits, never 0: what weighted rendezvous divides the weight by. The mantissa's
/// logarithm is m + 0.344 m (1 − m), which is right to 0.8 %.
#[inline(always)]
fn minus_log(h: u32) -> u64 {
    let x = u64::from(h) + 1;
    // The place of the highest bit by halving, since BPF has no such instruction.
    let mut top = 0u64;
    let mut rest = x;
    for shift in [32, 16, 8, 4, 2, 1] {
        let high = rest >> shift;
        let take = u64::from(high != 0);
        top += shift * take;
        rest = if take != 0 { high } else { rest };
    }
    let mantissa = ((x << (32 - (top & 63).min(32))) & 0xffff_ffff) >> 16;
    let bend = (((mantissa * (65536 - mantissa)) >> 16) * 22544) >> 16;
    let log = (top << 16) + mantissa + bend;
    (32 << 16) + 1 - log.min(32 << 16)
}

/// Attempts in a row that failed after which also those whose sessions live on a backend go elsewhere, while it is passed over:
/// else each of them would pay for finding out again.
const GIVEN_UP: u64 = 3;

/// Whether a backend takes requests, and was not tried in vain for this one.
#[inline(always)]
fn takes(backend: &Backend, search: &Search, position: u32) -> bool {
    const WANTED: u32 = BACKEND_UP | BACKEND_USED;
    let tried = search.tried_version == search.version && search.tried >> (position & 31) & 1 != 0;
    backend.flags & WANTED == WANTED && !tried
}

/// Whether a backend is passed over for a while.
#[inline(always)]
fn is_shunned<C: Cpu>(backend: &Backend, search: &Search, id: u32) -> bool {
    // A session's memory is on its backend: two SYNs that were lost to another flow are no reason to lose it. This flow
    // has its own mask of those that it tried.
    let known = C::load(&backend.failures) < GIVEN_UP;
    let kept = id == search.bound && search.strict == 0 && known;
    C::load(&backend.shunned_until) > search.now && !kept
}

/// Finds the backend that the session lives on, or that of the present leg, which beats all others: of most requests it is the one, and
/// the others need not be weighed.
#[inline(always)]
fn at_home<B: Backends>(backends: &B, of: &VersionPolicy, search: &mut Search) -> bool {
    let id = if search.bound == NONE { search.present } else { search.bound };
    let Some(backend) = backends.backend(id) else { return false };
    let position = backends.position(of, id);
    let weighs = id == search.bound || backend.weight != 0;
    let takes = position != NONE && weighs && takes(backend, search, position);
    if !takes || is_shunned::<B::Cpu>(backend, search, id) {
        return false;
    }
    search.best = id;
    search.best_position = position;
    true
}

struct Candidates<'a, B> {
    backends: &'a B,
    of: &'a VersionPolicy,
    search: &'a mut Search,
}

struct Weigh;
impl<B: Backends> Step<Candidates<'_, B>> for Weigh {
    #[inline(always)]
    fn step(context: &mut Candidates<'_, B>) -> bool {
        let search = &mut *context.search;
        let position = search.index & (VERSION_BACKENDS as u32 - 1);
        if search.index >= context.of.backend_count || search.index >= VERSION_BACKENDS as u32 {
            return false;
        }
        search.index += 1;
        let id = u32::from(context.of.backends[position as usize]);
        let Some(backend) = context.backends.backend(id) else { return true };
        if !takes(backend, search, position) {
            return true;
        }
        let shunned = is_shunned::<B::Cpu>(backend, search, id);
        // A preferred backend beats any weight: its score is infinite. Without weight it takes no new work, for which a leg is
        // no reason, but keeps the sessions that are bound to it.
        let preferred = id == search.bound || id == search.present && backend.weight != 0;
        let (weight, log) =
            if preferred { (1, 0) } else { (u64::from(backend.weight.min(1000)), minus_log(mix(search.source, id))) };
        if !shunned {
            if search.best == NONE || weight * search.best_log > search.best_weight * log {
                search.best = id;
                search.best_position = position;
                search.best_weight = weight;
                search.best_log = log;
            }
        } else if search.second == NONE || weight * search.second_log > search.second_weight * log {
            search.second = id;
            search.second_position = position;
            search.second_weight = weight;
            search.second_log = log;
        }
        true
    }
}

/// Finds a backend of one version; false if none takes work.
#[inline(never)]
fn backend_of<B: Backends>(backends: &B, of: &VersionPolicy, search: &mut Search) -> bool {
    search.index = 0;
    search.best = NONE;
    search.second = NONE;
    B::Cpu::repeat::<_, Weigh>(&mut Candidates { backends, of, search }, VERSION_BACKENDS as u32);
    if search.best == NONE && search.strict == 0 {
        // Better one that failed a moment ago than none.
        search.best = search.second;
        search.best_position = search.second_position;
    }
    search.best != NONE
}

/// Whether a binding is of a version that is gone, rather than of one whose sessions were moved.
#[inline(always)]
fn gone(policy: &Policy, binding: Binding) -> bool {
    let of = version(policy, binding.version());
    of.generation == 0 || binding.generation() < of.birth
}

/// Whether no other version will do: testers have to know which one they hit, and a service may want its users to wait for the
/// one that they are on.
#[inline(always)]
fn insists(policy: &Policy, why: Why) -> bool {
    let rejects = policy.flags & POLICY_REJECT_MISSING != 0;
    match why {
        Why::Pinned => true,
        Why::Bound | Why::Route | Why::Overridden => rejects,
        Why::Active | Why::Moved | Why::Adopted | Why::Canary => false,
    }
}

/// Decides a request.
#[inline(always)]
pub fn decide<B: Backends>(backends: &B, policy: &Policy, search: &mut Search, choice: &mut Choice) -> Decided {
    let (first, bound, why) = wanted(policy, search);
    choice.backend_down = 0;
    choice.version_down = 0;
    choice.missing = 0;
    choice.why = why as u32;
    if matches!(why, Why::Moved) && policy.flags & POLICY_REJECT_MISSING != 0 && gone(policy, Binding(search.binding)) {
        choice.missing = MISSING_GONE;
        return Decided::Missing;
    }
    let insists = insists(policy, why);
    for attempt in 0..3 {
        let index = match attempt {
            0 => first,
            1 => policy.active,
            _ => policy.fallback,
        };
        if attempt != 0 && insists {
            choice.missing = MISSING_DOWN;
            return Decided::Missing;
        }
        let of = version(policy, index);
        search.version = index;
        search.bound = if attempt == 0 { bound } else { NONE };
        let leg = search.bound == NONE && search.present_version == index;
        search.present = if leg { search.present_backend } else { NONE };
        if of.generation != 0 && (attempt == 0 && at_home(backends, of, search) || backend_of(backends, of, search)) {
            choice.version = index;
            choice.generation = of.generation;
            choice.backend = search.best;
            choice.position = search.best_position;
            choice.backend_down = u32::from(attempt == 0 && bound != NONE && bound != search.best);
            return Decided::Chosen;
        }
        choice.version_down = 1;
    }
    Decided::Nobody
}

#[cfg(test)]
mod tests;
