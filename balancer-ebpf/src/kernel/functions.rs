//! The core's long parts, each as a global function: the verifier reads it once and from then on believes its signature.
//!
//! Arguments are pointers to whole structures, which the verifier checks at each call, and may be null as far as it knows.

use balancer_ebpf::cookie::check_packed;
use balancer_ebpf::decide::{Choice, Decided, Search, decide, position};
use balancer_ebpf::http::{Chunk, Head, Scan, Scanned, Span, scan_chunk, scan_request, scan_response};
use balancer_ebpf::layout::{
    Buffer, Condition, Flow, FlowKey, Globals, NONE, Policy, RuleSet, SessionHash, SessionRule, VersionPolicy,
};
use balancer_ebpf::net::{Crafted, Draft, Sum, craft, sum};
use balancer_ebpf::pins;
use balancer_ebpf::route::{Scratch, find};
use balancer_ebpf::rules;
use balancer_ebpf::sessions::{Bound, Shelf, bind, forget, rename};
use balancer_ebpf::sip::session_hash;
use balancer_ebpf::splice::{
    Lookup, Loss, Next, Now, Step, answered, choose, claim_leg, claim_slot, claim_stash, conclude, decide_step, join,
    leave_gateway, look_up, lost, park, refresh, reject, seek, take, trace,
};

use balancer_ebpf::verdict::Verdict;
use balancer_ebpf::work::Work;

use super::cpu::Bpf;
use super::maps::{Kernel, set_aside, work};

/// Makes references of a global function's pointers, or answers `$or`.
macro_rules! references {
    ($or:expr; $($name:ident),*; $($mutable:ident),*) => {
        // SAFETY: each is null or points to a whole structure, as the verifier checks at every call; callers pass
        // exclusive references for those that are written.
        $(let Some($name) = (unsafe { $name.as_ref() }) else { return $or };)*
        $(let Some($mutable) = (unsafe { $mutable.as_mut() }) else { return $or };)*
    };
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_scan_request(
    scan: *mut Scan,
    buffer: *const Buffer,
    len: u32,
    rule: *const SessionRule,
) -> u32 {
    references!(Scanned::TooComplex as u32; buffer, rule; scan);
    scan_request::<Bpf>(scan, buffer, len, rule) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_scan_response(
    scan: *mut Scan,
    buffer: *const Buffer,
    len: u32,
    rule: *const SessionRule,
) -> u32 {
    references!(Scanned::TooComplex as u32; buffer, rule; scan);
    scan_response::<Bpf>(scan, buffer, len, rule) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_scan_chunk(chunk: *mut Chunk, buffer: *const Buffer, pos: u32, len: u32) -> u32 {
    references!(Scanned::TooComplex as u32; buffer; chunk);
    scan_chunk::<Bpf>(chunk, buffer, pos, len) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_hash(
    globals: *const Globals,
    service: u32,
    buffer: *const Buffer,
    span: u64,
    hash: *mut SessionHash,
) -> u32 {
    references!(0; globals, buffer; hash);
    *hash = session_hash(globals.session_key, service, buffer, unpack_span(span));
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_route(
    policy: *const Policy,
    buffer: *const Buffer,
    span: u64,
    scratch: *const Scratch,
) -> u32 {
    references!(NONE; policy, buffer, scratch;);
    find::<Bpf>(policy, buffer, unpack_span(span), scratch)
}

/// A position (low half) and a length.
#[inline(always)]
fn unpack_span(span: u64) -> Span {
    Span { pos: span as u32, len: (span >> 32) as u32 }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_look_up(
    globals: *const Globals,
    policy: *const Policy,
    buffer: *const Buffer,
    head: *const Head,
    lookup: *mut Lookup,
) -> u32 {
    references!(0; globals, policy, buffer, head; lookup);
    look_up(&Kernel, globals, policy, buffer, head, lookup);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_choose(flow: *const Flow, ns: u64) -> u64 {
    let unconfigured = pack_step((Next::Done, Verdict::NoConfig));
    references!(unconfigured; flow;);
    let Some(work) = work() else { return unconfigured };
    pack_step(choose(&Kernel, work, flow, Now::at(ns)))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_decide_step(flow: *mut Flow, ns: u64, grows: u32) -> u64 {
    let unconfigured = pack_step((Next::Done, Verdict::NoConfig));
    references!(unconfigured;; flow);
    let Some(work) = work() else { return unconfigured };
    pack_step(decide_step(&Kernel, work, flow, Now::at(ns), grows != 0))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_find_service(
    rules: *const RuleSet,
    buffer: *const Buffer,
    head: *const Head,
    scratch: *const rules::Scratch,
) -> u32 {
    references!(rules::Ruled::Unmatched as u32; rules, buffer, head, scratch;);
    rules::find(&Kernel, rules, buffer, head, scratch) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_condition(
    condition: *const Condition,
    buffer: *const Buffer,
    head: *const Head,
    scratch: *const rules::Scratch,
) -> u32 {
    references!(rules::Holds::No as u32; condition, buffer, head, scratch;);
    rules::holds::<Bpf>(condition, buffer, head, scratch) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_position(of: *const VersionPolicy, id: u32) -> u32 {
    references!(NONE; of;);
    position(of, id)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_decide(policy: *const Policy, search: *mut Search, choice: *mut Choice) -> u32 {
    references!(Decided::Nobody as u32; policy; search, choice);
    decide(&Kernel, policy, search, choice) as u32
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_find_pin(
    globals: *const Globals,
    policy: *const Policy,
    buffer: *const Buffer,
    head: *const Head,
    lookup: *mut Lookup,
) -> u32 {
    references!(0; globals, policy, buffer, head; lookup);
    pins::find(&Kernel, globals, policy, buffer, head, lookup);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_conclude(
    globals: *const Globals,
    policy: *const Policy,
    lookup: *const Lookup,
    choice: *const Choice,
    second: u32,
) -> u32 {
    references!(0; globals, policy, lookup, choice;);
    conclude(&Kernel, globals, policy, lookup, choice, second);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_bind(
    globals: *const Globals,
    hash: *const SessionHash,
    binding: u64,
    term: u64,
    shelf: *const Shelf,
) -> u32 {
    references!(Bound::Full as u32; globals, hash, shelf;);
    bind(&Kernel, globals, hash, binding, term, shelf) as u32
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn balancer_refresh(
    service: u32,
    hash: *const SessionHash,
    second: u32,
    shelf: *const Shelf,
) -> u32 {
    references!(0; hash, shelf;);
    refresh(&Kernel, service, hash, second, shelf);
    0
}

#[unsafe(no_mangle)]
pub(super) extern "C" fn balancer_rename(
    globals: *const Globals,
    hash: *const SessionHash,
    term: u64,
    shelf: *const Shelf,
) -> u32 {
    references!(0; globals, hash, shelf;);
    u32::from(rename(&Kernel, globals, hash, term, shelf))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_forget(
    globals: *const Globals,
    hash: *const SessionHash,
    shelf: *const Shelf,
) -> u32 {
    references!(0; globals, hash, shelf;);
    u32::from(forget(&Kernel, globals, hash, shelf))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_craft(draft: *const Draft, crafted: *mut Crafted) -> u32 {
    references!(0; draft; crafted);
    craft(draft, crafted);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_sum(state: *mut Sum, buffer: *const Buffer, pos: u32, len: u32) -> u32 {
    references!(0; buffer; state);
    sum::<Bpf>(state, buffer, pos, len)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_check_cookie(globals: *const Globals, now: u64) -> u32 {
    references!(0; globals;);
    let Some(Work { secret, segment, key, .. }) = work() else { return 0 };
    check_packed(secret, &globals.cookie_key, key, segment.seq, segment.ack, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_seek(globals: *const Globals, key: *const FlowKey) -> u32 {
    references!(NONE; globals, key;);
    let Some(key) = set_aside(key) else { return NONE };
    seek(&Kernel, globals, key)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_claim_slot(globals: *const Globals, now: u64) -> u32 {
    references!(NONE; globals;);
    claim_slot(&Kernel, globals, now)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_claim_stash(owner: u64, among: u32) -> u32 {
    claim_stash(&Kernel, owner, among)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_claim_leg(globals: *const Globals, flow: u32) -> u32 {
    references!(NONE; globals;);
    claim_leg(&Kernel, globals, flow)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_take(globals: *const Globals, backend: u32, class: u32, owner: u64) -> u32 {
    references!(NONE; globals;);
    take(&Kernel, globals, backend, class, owner)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_answered(flow: *const Flow, status: u32) -> u32 {
    references!(0; flow;);
    answered(&Kernel, flow, status);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_lost(flow: *const Flow, how: u32) -> u32 {
    references!(0; flow;);
    lost(&Kernel, flow, Loss::from_number(how));
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_park(flow: *mut Flow, limit: u32) -> u32 {
    references!(0;; flow);
    u32::from(park(&Kernel, flow, limit))
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_join(flow: *mut Flow, slot: u32, choice: *const Choice, ns: u64) -> u32 {
    references!(0; choice; flow);
    join(&Kernel, flow, slot, choice, Now::at(ns));
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_leave_gateway(flow: *const Flow) -> u32 {
    references!(0; flow;);
    leave_gateway(&Kernel, flow);
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_trace(flow: *const Flow, version: u32, backend: u32, ns: u64) -> u32 {
    references!(0; flow;);
    if let Some(work) = work() {
        trace(&Kernel, work, flow, version, backend, Now::at(ns));
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub(super) extern "C" fn balancer_reject(flow: *mut Flow, ns: u64) -> u64 {
    let unconfigured = pack_step((Next::Done, Verdict::NoConfig));
    references!(unconfigured;; flow);
    let Some(work) = work() else { return unconfigured };
    pack_step(reject(&Kernel, work, flow, Now::at(ns)))
}

/// Where a verdict is packed rather than a slot.
const VERDICT: u64 = 1 << 32;

/// An arrival's answer in the one register that a function returns.
#[inline(always)]
pub(super) fn pack(arrival: Result<u32, Verdict>) -> u64 {
    match arrival {
        Ok(slot) => u64::from(slot),
        Err(verdict) => VERDICT | u64::from(verdict as u32),
    }
}

/// Back from [`pack`].
#[inline(always)]
pub(super) fn arrived(packed: u64) -> Result<u32, Verdict> {
    if packed & VERDICT != 0 { Err(Verdict::from_number(packed as u32)) } else { Ok(packed as u32) }
}

/// A step's answer in one register.
#[inline(always)]
pub(super) const fn pack_step((next, verdict): Step) -> u64 {
    (next as u64) << 32 | verdict as u64
}

/// Back from [`pack_step`].
#[inline(always)]
pub(super) fn stepped(packed: u64) -> Step {
    (Next::from_number((packed >> 32) as u32), Verdict::from_number(packed as u32))
}
