//! What the core asks of whatever runs it: loops that the verifier accepts, memory that several CPUs share, and the maps.

use core::cell::Cell;
use core::ops::DerefMut;

use crate::cookie::Proof;
use crate::decide::{Backends, Choice, Decided, Search};
use crate::http::{Chunk, Head, Scan, Scanned, Span};
use crate::layout::{
    Address, Buffer, Condition, Flow, FlowKey, Globals, Hands, Hints, LegSlot, Listener, ListenerKey, Outcomes,
    PinEvent, Policy, REMEMBERED, Remembered, RuleSet, SessionHash, SessionRule, Stash, Traffic,
};
use crate::net::{Crafted, Draft, Sum};
use crate::pins::Pins;
use crate::route::Scratch;
use crate::rules::{self, Holds, Ruled};
use crate::sessions::{Bound, Shelf, Table};
use crate::splice::{self, Lookup, Loss, Now};
use crate::work::Work;

/// One step of a bounded loop over a context `C`.
pub trait Step<C> {
    /// Does one step; answers whether another one is wanted.
    fn step(context: &mut C) -> bool;
}

/// Memory and control flow in the form that the edge can give them.
///
/// All of it is static, so that no pointer to an edge travels through the core's subprograms.
pub trait Cpu: Copy {
    /// Runs [`Step::step`] at most `max` times. In the kernel this is `bpf_loop` (Linux 5.17), whose body the verifier
    /// reads once: everything that a step changes has to be in memory that the verifier does not track (a map value), or
    /// the loop is verified once per value.
    fn repeat<C, S: Step<C>>(context: &mut C, max: u32);

    /// Copies something long from one map's value to another's, word by word: as one value it would pass through the stack.
    fn copy<T: Copy>(to: &mut T, from: &T);

    /// Reads a word that other CPUs write; never cached, never torn.
    fn load(word: &Cell<u64>) -> u64;

    /// Writes a word that other CPUs read.
    fn store(word: &Cell<u64>, value: u64);

    /// Replaces `old` by `new` in one step, on one CPU only; false if the word was something else.
    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool;

    /// Adds to a word that other CPUs write; answers what it was before.
    fn fetch_add(word: &Cell<u64>, value: u64) -> u64;
}

/// Something with a [`Cpu`].
pub trait Machine {
    type Cpu: Cpu;
}

/// What became of an attempt to enter a client's connection into the table of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Entered {
    /// It is there now.
    Done,
    /// Another CPU was first.
    Exists,
    /// The table refused.
    Refused,
}

/// The kernel's maps, or what stands for them in the simulation. All of it is shared by all CPUs.
///
/// A flow is looked up by a key in scratch memory or on the stack, never by a field of the flow that a step was called with:
/// up to Linux 6.2 helpers take no key from there.
pub trait Maps: Backends + Table + Pins {
    /// A flow that is locked for as long as this lives.
    type Flow<'a>: DerefMut<Target = Flow>
    where
        Self: 'a;
    /// A stash; whoever holds the flow that owns it may change it.
    type Stash<'a>: DerefMut<Target = Stash>
    where
        Self: 'a;

    /// The slot of a leg; whoever owns the leg may change what is no cell in it.
    type Leg<'a>: DerefMut<Target = LegSlot>
    where
        Self: 'a;

    fn globals(&self) -> Option<&Globals>;
    fn hands(&self) -> Option<&Hands>;
    /// What an address is to the director: `ROLE_*`. `known` is where the edge may remember it.
    fn role(&self, known: &mut [Remembered; REMEMBERED], address: &Address) -> Option<u32>;
    fn listener(&self, key: &ListenerKey) -> Option<&Listener>;
    /// The service's word, read anew each time.
    fn service_word(&self, service: u32) -> u64;
    fn policy(&self, block: u32) -> Option<&Policy>;
    /// The word of a listener's rules; 0: it has none.
    fn listener_word(&self, index: u32) -> u64;
    fn rules(&self, block: u32) -> Option<&RuleSet>;
    fn traffic(&self, index: u32) -> Option<&Traffic>;
    /// This CPU's own, by the same index.
    fn outcomes(&self, index: u32) -> Option<&Outcomes>;
    fn flow_slot(&self, key: &FlowKey) -> Option<u32>;
    /// Of [`crate::layout::HintPlace::bucket`].
    fn hints(&self, bucket: u32) -> Option<&Hints>;
    /// Whether the flow in a slot is that key's and has not ended, as far as can be seen without its lock.
    fn seems(&self, slot: u32, key: &FlowKey) -> bool;
    /// Enters `key`; an entry that is there stays.
    fn enter(&self, key: &FlowKey, slot: u32) -> Entered;
    /// Takes an entry out, if it is that slot's.
    fn leave(&self, key: &FlowKey, slot: u32);
    /// Locks the flow of a slot. `None` if another CPU holds it for too long.
    fn flow(&self, slot: u32) -> Option<Self::Flow<'_>>;
    fn stash(&self, index: u32) -> Option<Self::Stash<'_>>;
    /// Has the memory of a slot's flow begin to come, where that takes time.
    fn expect(&self, _slot: u32) {}
    /// Whose the leg in a slot is ([`crate::layout::owned_by`]).
    fn leg_owner(&self, slot: u32) -> Option<&Cell<u64>>;
    fn leg(&self, slot: u32) -> Option<Self::Leg<'_>>;
    /// A [`crate::layout::PoolWord`], by [`crate::layout::pool`].
    fn pool(&self, index: u32) -> Option<&Cell<u64>>;
    /// Remembers the slot of a flow whose request is held, for whoever releases them; if there is no room, its client's timer
    /// does.
    fn keep_held(&self, slot: u32);
    /// Tells whoever listens of a decision; never waits for that.
    fn tell(&self, event: &PinEvent);
    /// Nanoseconds since boot, which may be as old as one tick of the kernel's clock: 1 to 10 ms. To ask the processor costs as much as all
    /// that is done to many a packet, and nothing here is about less than tens of milliseconds.
    fn now(&self) -> u64;
    /// Counts something noticed on the way ([`crate::verdict::Note`] and the reasons behind it).
    fn note(&self, counter: u32);

    // The long parts of the core. The kernel makes each a function of its own that the verifier reads once, whoever calls
    // it ("global functions", Linux 5.6); inlined, they would be verified anew for every path that leads to them.

    /// [`crate::http::scan_request`].
    #[inline(always)]
    fn scan_request(&self, scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
        crate::http::scan_request::<Self::Cpu>(scan, buffer, len, rule)
    }
    /// [`crate::http::scan_response`].
    #[inline(always)]
    fn scan_response(&self, scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
        crate::http::scan_response::<Self::Cpu>(scan, buffer, len, rule)
    }
    /// [`crate::http::scan_chunk`].
    #[inline(always)]
    fn scan_chunk(&self, chunk: &mut Chunk, buffer: &Buffer, pos: u32, len: u32) -> Scanned {
        crate::http::scan_chunk::<Self::Cpu>(chunk, buffer, pos, len)
    }
    /// [`crate::sip::session_hash`], with the director's key.
    #[inline(always)]
    fn hash(&self, globals: &Globals, service: u32, buffer: &Buffer, span: Span, hash: &mut SessionHash) {
        *hash = crate::sip::session_hash(globals.session_key, service, buffer, span);
    }
    /// [`crate::splice::look_up`].
    #[inline(always)]
    fn look_up(&self, globals: &Globals, policy: &Policy, buffer: &Buffer, head: &Head, lookup: &mut Lookup)
    where
        Self: Sized,
    {
        crate::splice::look_up(self, globals, policy, buffer, head, lookup);
    }
    /// [`crate::splice::answered`].
    #[inline(always)]
    fn answered(&self, flow: &Flow, status: u32)
    where
        Self: Sized,
    {
        crate::splice::answered(self, flow, status);
    }
    /// [`crate::splice::lost`].
    #[inline(always)]
    fn lost(&self, flow: &Flow, how: Loss)
    where
        Self: Sized,
    {
        crate::splice::lost(self, flow, how);
    }
    /// [`crate::route::find`].
    #[inline(always)]
    fn route(&self, policy: &Policy, buffer: &Buffer, span: Span, scratch: &Scratch) -> u32 {
        crate::route::find::<Self::Cpu>(policy, buffer, span, scratch)
    }
    /// [`crate::pins::find`].
    #[inline(always)]
    fn find_pin(&self, globals: &Globals, policy: &Policy, buffer: &Buffer, head: &Head, lookup: &mut Lookup)
    where
        Self: Sized,
    {
        crate::pins::find(self, globals, policy, buffer, head, lookup);
    }
    /// [`crate::splice::choose`].
    #[inline(always)]
    fn choose(&self, work: &mut Work, flow: &Flow, now: Now) -> splice::Step
    where
        Self: Sized,
    {
        crate::splice::choose(self, work, flow, now)
    }
    /// [`crate::splice::decide_step`].
    #[inline(always)]
    fn decide_step(&self, work: &mut Work, flow: &mut Flow, now: Now, grows: bool) -> splice::Step
    where
        Self: Sized,
    {
        crate::splice::decide_step(self, work, flow, now, grows)
    }
    /// [`crate::rules::find`].
    #[inline(always)]
    fn find_service(&self, rules: &RuleSet, buffer: &Buffer, head: &Head, scratch: &rules::Scratch) -> Ruled
    where
        Self: Sized,
    {
        rules::find(self, rules, buffer, head, scratch)
    }
    /// [`crate::rules::holds`].
    #[inline(always)]
    fn condition(&self, condition: &Condition, buffer: &Buffer, head: &Head, scratch: &rules::Scratch) -> Holds {
        rules::holds::<Self::Cpu>(condition, buffer, head, scratch)
    }
    /// [`crate::decide::decide`].
    #[inline(always)]
    fn decide(&self, policy: &Policy, search: &mut Search, choice: &mut Choice) -> Decided
    where
        Self: Sized,
    {
        crate::decide::decide(self, policy, search, choice)
    }
    /// [`crate::splice::conclude`].
    #[inline(always)]
    fn conclude(&self, globals: &Globals, policy: &Policy, lookup: &Lookup, choice: &Choice, second: u32)
    where
        Self: Sized,
    {
        crate::splice::conclude(self, globals, policy, lookup, choice, second);
    }
    /// [`crate::sessions::bind`].
    #[inline(always)]
    fn bind(&self, globals: &Globals, hash: &SessionHash, binding: u64, term: u64, shelf: &Shelf) -> Bound
    where
        Self: Sized,
    {
        crate::sessions::bind(self, globals, hash, binding, term, shelf)
    }
    /// [`crate::splice::refresh`].
    #[inline(always)]
    fn refresh(&self, service: u32, hash: &SessionHash, second: u32, shelf: &Shelf)
    where
        Self: Sized,
    {
        crate::splice::refresh(self, service, hash, second, shelf);
    }
    /// [`crate::sessions::rename`].
    #[inline(always)]
    fn rename(&self, globals: &Globals, hash: &SessionHash, term: u64, shelf: &Shelf) -> bool
    where
        Self: Sized,
    {
        crate::sessions::rename(self, globals, hash, term, shelf)
    }
    /// [`crate::sessions::forget`].
    #[inline(always)]
    fn forget(&self, globals: &Globals, hash: &SessionHash, shelf: &Shelf) -> bool
    where
        Self: Sized,
    {
        crate::sessions::forget(self, globals, hash, shelf)
    }
    /// [`crate::cookie::check`].
    #[inline(always)]
    fn check_cookie(&self, work: &mut Work, globals: &Globals, now: Now) -> Proof {
        let Work { secret, segment, key, .. } = work;
        crate::cookie::check(secret, &globals.cookie_key, key, segment.seq, segment.ack, now.ms)
    }
    /// [`crate::splice::seek`].
    #[inline(always)]
    fn seek(&self, globals: &Globals, key: &FlowKey) -> u32
    where
        Self: Sized,
    {
        crate::splice::seek(self, globals, key)
    }
    /// [`crate::splice::claim_slot`].
    #[inline(always)]
    fn claim_slot(&self, globals: &Globals, now: u64) -> u32
    where
        Self: Sized,
    {
        crate::splice::claim_slot(self, globals, now)
    }
    /// [`crate::splice::claim_stash`].
    #[inline(always)]
    fn claim_stash(&self, owner: u64, among: u32) -> u32
    where
        Self: Sized,
    {
        crate::splice::claim_stash(self, owner, among)
    }
    /// [`crate::splice::claim_leg`].
    #[inline(always)]
    fn claim_leg(&self, globals: &Globals, flow: u32) -> u32
    where
        Self: Sized,
    {
        crate::splice::claim_leg(self, globals, flow)
    }
    /// [`crate::splice::take`].
    #[inline(always)]
    fn take(&self, globals: &Globals, backend: u32, class: u32, owner: u64) -> u32
    where
        Self: Sized,
    {
        crate::splice::take(self, globals, backend, class, owner)
    }
    /// [`crate::splice::park`].
    #[inline(always)]
    fn park(&self, flow: &mut Flow, limit: u32) -> bool
    where
        Self: Sized,
    {
        crate::splice::park(self, flow, limit)
    }
    /// [`crate::splice::join`].
    #[inline(always)]
    fn join(&self, flow: &mut Flow, slot: u32, choice: &Choice, now: Now)
    where
        Self: Sized,
    {
        crate::splice::join(self, flow, slot, choice, now);
    }
    /// [`crate::splice::leave_gateway`].
    #[inline(always)]
    fn leave_gateway(&self, flow: &Flow)
    where
        Self: Sized,
    {
        crate::splice::leave_gateway(self, flow);
    }
    /// [`crate::splice::trace`].
    #[inline(always)]
    fn trace(&self, work: &mut Work, flow: &Flow, version: u32, backend: u32, now: Now)
    where
        Self: Sized,
    {
        crate::splice::trace(self, work, flow, version, backend, now);
    }
    /// [`crate::splice::reject`].
    #[inline(always)]
    fn reject(&self, work: &mut Work, flow: &mut Flow, now: Now) -> splice::Step
    where
        Self: Sized,
    {
        crate::splice::reject(self, work, flow, now)
    }
    /// [`crate::net::craft`].
    #[inline(always)]
    fn craft(&self, draft: &Draft, crafted: &mut Crafted) {
        crate::net::craft(draft, crafted);
    }
    /// [`crate::net::sum`].
    #[inline(always)]
    fn sum(&self, sum: &mut Sum, buffer: &Buffer, pos: u32, len: u32) -> u32 {
        crate::net::sum::<Self::Cpu>(sum, buffer, pos, len)
    }
}
