//! The maps, and how the core reaches them. Their layouts and names are the core's (`layout`).

use core::cell::Cell;

use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, Queue, RingBuf};
use balancer_ebpf::cookie::Proof;
use balancer_ebpf::decide::{Backends, Choice, Decided, Search};
use balancer_ebpf::host::{Cpu, Entered, Machine, Maps};
use balancer_ebpf::http::{Chunk, Head, Scan, Scanned, Span};
use balancer_ebpf::layout::{
    Address, Backend, Bucket, Buffer, Condition, FLOW_CLOSING, FLOW_FREE, Flow, FlowKey, FlowSlot, Globals, Hands,
    Hints, LEG_CLASSES, LegSlot, Listener, ListenerKey, MAX_BACKENDS, MAX_PINS, MAX_SERVICES, MAX_VERSIONS, Outcomes,
    Pin, PinEvent, PinKey, Policy, REMEMBERED, RULE_BLOCKS, Remembered, RuleSet, SERVICE_BLOCKS, SessionHash,
    SessionRule, Sieve, SourceKey, Stash, Traffic, VersionPolicy,
};
use balancer_ebpf::net::{Crafted, Draft, Sum};
use balancer_ebpf::pins::Pins;
use balancer_ebpf::route::Scratch;
use balancer_ebpf::rules::{self, Holds, Ruled};
use balancer_ebpf::sessions::{Bound, Shelf, Table};
use balancer_ebpf::splice::{Lookup, Loss, Now, Step as StepAnswer};
use balancer_ebpf::verdict::{COUNTERS as COUNTER_COUNT, Note};
use balancer_ebpf::work::Work;

use super::cpu::Bpf;
use super::functions;
use super::lock::{Held, Locked};

/// A map value with cells in it.
#[repr(transparent)]
pub(super) struct Shared<T>(T);
// SAFETY: cells in map values are reached through the volatile and atomic accesses of `Cpu` only, and everything else in
// them is written under a lock or not at all.
unsafe impl<T> Sync for Shared<T> {}

// Sizes of one are what the daemon replaces by the configured ones.
#[map]
static LISTENERS: HashMap<ListenerKey, Listener> = HashMap::with_max_entries(64, 0);
#[map]
static ADDRESSES: HashMap<Address, u32> = HashMap::with_max_entries(2048, 0);
#[map]
static SIEVE: Array<Sieve> = Array::with_max_entries(1, 0);
#[map]
static INTERFACES: HashMap<u32, u32> = HashMap::with_max_entries(256, 0);
#[map]
static SERVICES: Array<u64> = Array::with_max_entries(MAX_SERVICES, BPF_F_MMAPABLE);
#[map]
static POLICIES: Array<Policy> = Array::with_max_entries(MAX_SERVICES * SERVICE_BLOCKS, 0);
#[map]
static LISTENER_WORDS: Array<u64> = Array::with_max_entries(MAX_SERVICES, BPF_F_MMAPABLE);
#[map]
static RULES: Array<RuleSet> = Array::with_max_entries(MAX_SERVICES * RULE_BLOCKS, 0);
#[map]
static BACKENDS: Array<Shared<Backend>> = Array::with_max_entries(MAX_BACKENDS, BPF_F_MMAPABLE);
#[map]
static FLOW_KEYS: HashMap<FlowKey, u32> = HashMap::with_max_entries(1, 0);
#[map]
static FLOW_HINTS: Array<Shared<Hints>> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static FLOWS: Array<Shared<FlowSlot>> = Array::with_max_entries(1, 0);
#[map]
static LEG_OWNERS: Array<Shared<Cell<u64>>> = Array::with_max_entries(1, 0);
#[map]
static LEGS: Array<Shared<LegSlot>> = Array::with_max_entries(1, 0);
#[map]
static POOLS: Array<Shared<Cell<u64>>> = Array::with_max_entries(MAX_BACKENDS * LEG_CLASSES, BPF_F_MMAPABLE);
#[map]
static STASHES: Array<Shared<Stash>> = Array::with_max_entries(1, 0);
#[map]
static SESSIONS: Array<Shared<Bucket>> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
static GLOBALS: Array<Globals> = Array::with_max_entries(1, 0);
#[map]
static HANDS: Array<Shared<Hands>> = Array::with_max_entries(1, 0);
#[map]
static TRAFFIC: Array<Shared<Traffic>> = Array::with_max_entries(MAX_SERVICES * MAX_VERSIONS, BPF_F_MMAPABLE);
#[map]
static OUTCOMES: PerCpuArray<Shared<Outcomes>> = PerCpuArray::with_max_entries(MAX_SERVICES * MAX_VERSIONS, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTER_COUNT, 0);
#[map]
static PINS: HashMap<PinKey, Pin> = HashMap::with_max_entries(MAX_PINS, 0);
#[map]
static SOURCE_PINS: LpmTrie<SourceKey, Pin> = LpmTrie::with_max_entries(MAX_PINS, BPF_F_NO_PREALLOC);
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(256 << 10, 0);
#[map]
static HELD: Queue<u32> = Queue::with_max_entries(65_536, 0);
#[map]
static WORK: PerCpuArray<Shared<Work>> = PerCpuArray::with_max_entries(1, 0);

/// Bits of the key of a pin by source: of the service and of an address.
const SOURCE_BITS: u32 = 32 + 128;

/// The maps. Of no size: all of them are statics.
pub(super) struct Kernel;

/// This CPU's scratch memory.
#[inline(always)]
pub(super) fn work() -> Option<&'static mut Work> {
    let work: *mut Work = WORK.get_ptr_mut(0)?.cast();
    // SAFETY: the pointer is this CPU's own, a program runs to its end on its CPU, and none calls the other.
    Some(unsafe { &mut *work })
}

/// Where the window of the frame at hand begins.
#[inline(always)]
pub(super) fn base(work: &Work) -> u32 {
    Bpf::load(&work.base) as u32
}

/// Adds one to a counter.
#[inline(always)]
pub(super) fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: as in `work`.
        unsafe { *value += 1 };
    }
}

/// What is known of an interface.
#[inline(always)]
pub(super) fn interface_flags(interface: u32) -> u32 {
    // SAFETY: the value is copied at once; the daemon writes whole words.
    unsafe { INTERFACES.get(interface) }.copied().unwrap_or(0)
}

/// A copy of a map's key. Up to Linux 6.2 a helper takes no key that lies in what a global function was called with.
#[inline(always)]
fn on_stack<K: Copy>(key: &K) -> K {
    *key
}

/// The same in scratch memory, of a key that the stack has no room for.
#[inline(always)]
pub(super) fn set_aside(key: &FlowKey) -> Option<&'static FlowKey> {
    let work: *mut Work = WORK.get_ptr_mut(0)?.cast();
    // SAFETY: the pointer is this CPU's own, and nothing else uses this part of what is behind it.
    let aside = unsafe { &mut (*work).aside };
    *aside = *key;
    Some(aside)
}

#[inline(always)]
fn shared<T>(array: &Array<Shared<T>>, index: u32) -> Option<&T> {
    let value = array.get_ptr(index)?;
    // SAFETY: array elements live as long as the map, which the program holds.
    Some(unsafe { &(*value).0 })
}

/// A stretch of a buffer in one register.
#[inline(always)]
fn pack_span(span: Span) -> u64 {
    u64::from(span.pos) | u64::from(span.len) << 32
}

impl Machine for Kernel {
    type Cpu = Bpf;
}

impl Backends for Kernel {
    #[inline(always)]
    fn backend(&self, id: u32) -> Option<&Backend> {
        shared(&BACKENDS, id)
    }
    #[inline(always)]
    fn position(&self, of: &VersionPolicy, id: u32) -> u32 {
        functions::balancer_position(of, id)
    }
}

impl Table for Kernel {
    #[inline(always)]
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        shared(&SESSIONS, index)
    }
}

impl Pins for Kernel {
    #[inline(always)]
    fn pin(&self, key: &PinKey) -> Option<&Pin> {
        // SAFETY: pins are replaced as a whole; an old one stays readable until the program has ended (RCU).
        unsafe { PINS.get(on_stack(key)) }
    }
    #[inline(always)]
    fn source_pin(&self, key: &SourceKey) -> Option<&Pin> {
        SOURCE_PINS.get(Key::new(SOURCE_BITS, *key))
    }
    #[inline(always)]
    fn hash_value(&self, globals: &Globals, service: u32, buffer: &Buffer, value: Span, hash: &mut SessionHash) {
        functions::balancer_hash(globals, service, buffer, pack_span(value), hash);
    }
}

impl Maps for Kernel {
    type Flow<'a> = Locked;
    type Stash<'a> = Held<Stash>;
    type Leg<'a> = Held<LegSlot>;

    #[inline(always)]
    fn globals(&self) -> Option<&Globals> {
        GLOBALS.get(0)
    }
    #[inline(always)]
    fn hands(&self) -> Option<&Hands> {
        shared(&HANDS, 0)
    }
    #[inline(always)]
    fn role(&self, known: &mut [Remembered; REMEMBERED], address: &Address) -> Option<u32> {
        let sieve = SIEVE.get(0)?;
        let place = &mut known[sieve.passes(address)?];
        // SAFETY: an aligned word of an array element, which the daemon changes behind the compiler's back.
        let changes = unsafe { (&raw const sieve.changes).read_volatile() };
        if place.changes == changes && place.address == *address {
            return Some(place.role as u32);
        }
        // SAFETY: the value is copied at once.
        let role = unsafe { ADDRESSES.get(address) }.copied()?;
        *place = Remembered { address: *address, role: role.into(), changes };
        Some(role)
    }
    #[inline(always)]
    fn listener(&self, key: &ListenerKey) -> Option<&Listener> {
        // SAFETY: listeners are replaced as a whole; an old one stays readable until the program has ended (RCU).
        unsafe { LISTENERS.get(key) }
    }
    #[inline(always)]
    fn service_word(&self, service: u32) -> u64 {
        match SERVICES.get_ptr(service) {
            // SAFETY: an aligned word of an array element; volatile, because the core reads it twice on purpose.
            Some(word) => unsafe { word.read_volatile() },
            None => 0,
        }
    }
    #[inline(always)]
    fn policy(&self, block: u32) -> Option<&Policy> {
        POLICIES.get(block)
    }
    #[inline(always)]
    fn listener_word(&self, index: u32) -> u64 {
        match LISTENER_WORDS.get_ptr(index) {
            // SAFETY: as above.
            Some(word) => unsafe { word.read_volatile() },
            None => 0,
        }
    }
    #[inline(always)]
    fn rules(&self, block: u32) -> Option<&RuleSet> {
        RULES.get(block)
    }
    #[inline(always)]
    fn traffic(&self, index: u32) -> Option<&Traffic> {
        shared(&TRAFFIC, index)
    }
    #[inline(always)]
    fn outcomes(&self, index: u32) -> Option<&Outcomes> {
        let outcomes: *const Outcomes = OUTCOMES.get_ptr(index)?.cast();
        // SAFETY: map values live as long as the program, and all of it is cells, which only this CPU writes.
        Some(unsafe { &*outcomes })
    }
    #[inline(always)]
    fn flow_slot(&self, key: &FlowKey) -> Option<u32> {
        // SAFETY: the value is copied at once.
        unsafe { FLOW_KEYS.get(key) }.copied()
    }
    #[inline(always)]
    fn hints(&self, bucket: u32) -> Option<&Hints> {
        shared(&FLOW_HINTS, bucket)
    }
    #[inline(always)]
    fn seems(&self, slot: u32, key: &FlowKey) -> bool {
        let Some(flow) = FLOWS.get_ptr(slot) else { return false };
        let flow: *const FlowSlot = flow.cast();
        // SAFETY: array elements are never freed, and these are words of one. Volatile, since another CPU may be writing them; and one by
        // one, or all of them would lie on the stack before the first is compared.
        unsafe {
            let there = (&raw const (*flow).flow.key).cast::<u32>();
            let wanted = core::ptr::from_ref(key).cast::<u32>();
            for word in 0..size_of::<FlowKey>() / 4 {
                if there.add(word).read_volatile() != wanted.add(word).read() {
                    return false;
                }
            }
            let state = (&raw const (*flow).flow.state).read_volatile();
            state != FLOW_FREE && state != FLOW_CLOSING
        }
    }
    #[inline(always)]
    fn enter(&self, key: &FlowKey, slot: u32) -> Entered {
        const EEXIST: i32 = -17;
        let Some(key) = set_aside(key) else { return Entered::Refused };
        match FLOW_KEYS.insert(key, slot, u64::from(BPF_NOEXIST)) {
            Ok(()) => Entered::Done,
            Err(EEXIST) => Entered::Exists,
            Err(_) => Entered::Refused,
        }
    }
    #[inline(always)]
    fn leave(&self, key: &FlowKey, slot: u32) {
        if let Some(key) = set_aside(key)
            && self.flow_slot(key) == Some(slot)
        {
            // An entry that is gone already is as good.
            let _ = FLOW_KEYS.remove(key);
        }
    }
    #[inline(always)]
    fn flow(&self, slot: u32) -> Option<Locked> {
        // SAFETY: array elements are never freed.
        unsafe { Locked::take(FLOWS.get_ptr_mut(slot)?.cast()) }
    }
    #[inline(always)]
    fn stash(&self, index: u32) -> Option<Held<Stash>> {
        // SAFETY: array elements are never freed.
        Some(unsafe { Held::of(STASHES.get_ptr_mut(index)?.cast()) })
    }
    #[inline(always)]
    fn expect(&self, slot: u32) {
        if let Some(flow) = FLOWS.get_ptr(slot) {
            let flow: *const FlowSlot = flow.cast();
            // SAFETY: array elements are never freed, and the lock is a cell. A load that nobody waits for is all that a program
            // can ask of the memory ahead of time.
            Bpf::load(unsafe { &(*flow).lock });
        }
    }
    #[inline(always)]
    fn leg_owner(&self, slot: u32) -> Option<&Cell<u64>> {
        shared(&LEG_OWNERS, slot)
    }
    #[inline(always)]
    fn leg(&self, slot: u32) -> Option<Held<LegSlot>> {
        // SAFETY: as above.
        Some(unsafe { Held::of(LEGS.get_ptr_mut(slot)?.cast()) })
    }
    #[inline(always)]
    fn pool(&self, index: u32) -> Option<&Cell<u64>> {
        shared(&POOLS, index)
    }
    #[inline(always)]
    fn keep_held(&self, slot: u32) {
        if HELD.push(slot, 0).is_err() {
            count(Note::HeldForgotten.counter());
        }
    }
    #[inline(always)]
    fn tell(&self, event: &PinEvent) {
        if EVENTS.output::<PinEvent>(*event, 0).is_err() {
            count(Note::EventLost.counter());
        }
    }
    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: a helper that takes nothing and cannot fail; it becomes a load (Linux 5.6).
        let tick = unsafe { bpf_jiffies64() };
        let Some(Work { clock, .. }) = work() else { return 0 };
        if clock.tick != tick {
            clock.tick = tick;
            // SAFETY: as above.
            clock.now = unsafe { bpf_ktime_get_boot_ns() };
        }
        clock.now
    }
    #[inline(always)]
    fn note(&self, counter: u32) {
        count(counter);
    }

    #[inline(always)]
    fn scan_request(&self, scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
        Scanned::from_number(functions::balancer_scan_request(scan, buffer, len, rule))
    }
    #[inline(always)]
    fn scan_response(&self, scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
        Scanned::from_number(functions::balancer_scan_response(scan, buffer, len, rule))
    }
    #[inline(always)]
    fn scan_chunk(&self, chunk: &mut Chunk, buffer: &Buffer, pos: u32, len: u32) -> Scanned {
        Scanned::from_number(functions::balancer_scan_chunk(chunk, buffer, pos, len))
    }
    #[inline(always)]
    fn hash(&self, globals: &Globals, service: u32, buffer: &Buffer, span: Span, hash: &mut SessionHash) {
        functions::balancer_hash(globals, service, buffer, pack_span(span), hash);
    }
    #[inline(always)]
    fn look_up(&self, globals: &Globals, policy: &Policy, buffer: &Buffer, head: &Head, lookup: &mut Lookup) {
        functions::balancer_look_up(globals, policy, buffer, head, lookup);
    }
    #[inline(always)]
    fn route(&self, policy: &Policy, buffer: &Buffer, span: Span, scratch: &Scratch) -> u32 {
        functions::balancer_route(policy, buffer, pack_span(span), scratch)
    }
    #[inline(always)]
    fn find_pin(&self, globals: &Globals, policy: &Policy, buffer: &Buffer, head: &Head, lookup: &mut Lookup) {
        functions::balancer_find_pin(globals, policy, buffer, head, lookup);
    }
    #[inline(always)]
    fn choose(&self, _: &mut Work, flow: &Flow, now: Now) -> StepAnswer {
        functions::stepped(functions::balancer_choose(flow, now.ns))
    }
    #[inline(always)]
    fn decide_step(&self, _: &mut Work, flow: &mut Flow, now: Now, grows: bool) -> StepAnswer {
        functions::stepped(functions::balancer_decide_step(flow, now.ns, u32::from(grows)))
    }
    #[inline(always)]
    fn find_service(&self, rules: &RuleSet, buffer: &Buffer, head: &Head, scratch: &rules::Scratch) -> Ruled {
        Ruled::from_number(functions::balancer_find_service(rules, buffer, head, scratch))
    }
    #[inline(always)]
    fn condition(&self, condition: &Condition, buffer: &Buffer, head: &Head, scratch: &rules::Scratch) -> Holds {
        Holds::from_number(functions::balancer_condition(condition, buffer, head, scratch))
    }
    #[inline(always)]
    fn decide(&self, policy: &Policy, search: &mut Search, choice: &mut Choice) -> Decided {
        Decided::from_number(functions::balancer_decide(policy, search, choice))
    }
    #[inline(always)]
    fn conclude(&self, globals: &Globals, policy: &Policy, lookup: &Lookup, choice: &Choice, second: u32) {
        functions::balancer_conclude(globals, policy, lookup, choice, second);
    }
    #[inline(always)]
    fn bind(&self, globals: &Globals, hash: &SessionHash, binding: u64, term: u64, shelf: &Shelf) -> Bound {
        Bound::from_number(functions::balancer_bind(globals, hash, binding, term, shelf))
    }
    #[inline(always)]
    fn refresh(&self, service: u32, hash: &SessionHash, second: u32, shelf: &Shelf) {
        functions::balancer_refresh(service, hash, second, shelf);
    }
    #[inline(always)]
    fn rename(&self, globals: &Globals, hash: &SessionHash, term: u64, shelf: &Shelf) -> bool {
        functions::balancer_rename(globals, hash, term, shelf) != 0
    }
    #[inline(always)]
    fn forget(&self, globals: &Globals, hash: &SessionHash, shelf: &Shelf) -> bool {
        functions::balancer_forget(globals, hash, shelf) != 0
    }
    #[inline(always)]
    fn check_cookie(&self, _: &mut Work, globals: &Globals, now: Now) -> Proof {
        Proof::unpack(functions::balancer_check_cookie(globals, now.ms))
    }
    #[inline(always)]
    fn seek(&self, globals: &Globals, key: &FlowKey) -> u32 {
        functions::balancer_seek(globals, key)
    }
    #[inline(always)]
    fn claim_slot(&self, globals: &Globals, now: u64) -> u32 {
        functions::balancer_claim_slot(globals, now)
    }
    #[inline(always)]
    fn claim_stash(&self, owner: u64, among: u32) -> u32 {
        functions::balancer_claim_stash(owner, among)
    }
    #[inline(always)]
    fn claim_leg(&self, globals: &Globals, flow: u32) -> u32 {
        functions::balancer_claim_leg(globals, flow)
    }
    #[inline(always)]
    fn take(&self, globals: &Globals, backend: u32, class: u32, owner: u64) -> u32 {
        functions::balancer_take(globals, backend, class, owner)
    }
    #[inline(always)]
    fn park(&self, flow: &mut Flow, limit: u32) -> bool {
        functions::balancer_park(flow, limit) != 0
    }
    #[inline(always)]
    fn answered(&self, flow: &Flow, status: u32) {
        functions::balancer_answered(flow, status);
    }
    #[inline(always)]
    fn lost(&self, flow: &Flow, how: Loss) {
        functions::balancer_lost(flow, how as u32);
    }
    #[inline(always)]
    fn join(&self, flow: &mut Flow, slot: u32, choice: &Choice, now: Now) {
        functions::balancer_join(flow, slot, choice, now.ns);
    }
    #[inline(always)]
    fn leave_gateway(&self, flow: &Flow) {
        functions::balancer_leave_gateway(flow);
    }
    #[inline(always)]
    fn trace(&self, _: &mut Work, flow: &Flow, version: u32, backend: u32, now: Now) {
        functions::balancer_trace(flow, version, backend, now.ns);
    }
    #[inline(always)]
    fn reject(&self, _: &mut Work, flow: &mut Flow, now: Now) -> StepAnswer {
        functions::stepped(functions::balancer_reject(flow, now.ns))
    }
    #[inline(always)]
    fn craft(&self, draft: &Draft, crafted: &mut Crafted) {
        functions::balancer_craft(draft, crafted);
    }
    #[inline(always)]
    fn sum(&self, state: &mut Sum, buffer: &Buffer, pos: u32, len: u32) -> u32 {
        functions::balancer_sum(state, buffer, pos, len)
    }
}
