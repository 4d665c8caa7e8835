//! The TC program: the whole data path. Packets may be of 64 KiB, with a checksum that hardware is to complete; they grow,
//! and several may be sent for one.

use aya_ebpf::bindings::{
    __sk_buff, BPF_CSUM_LEVEL_QUERY, BPF_F_INGRESS, BPF_F_PSEUDO_HDR, TC_ACT_SHOT, TC_ACT_UNSPEC,
};
use aya_ebpf::helpers::{
    bpf_clone_redirect, bpf_csum_level, bpf_csum_update, bpf_l4_csum_replace, bpf_redirect, bpf_redirect_neigh,
    bpf_redirect_peer, bpf_skb_change_tail, bpf_skb_load_bytes, bpf_skb_pull_data, bpf_skb_store_bytes,
};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use balancer_ebpf::host::Maps;
use balancer_ebpf::http::Scanned;
use balancer_ebpf::layout::{
    Address, BUFFER_BYTES, Buffer, CHUNK_BYTES, Cursor, EGRESS_COMES_IN, EGRESS_RESOLVES, ERRAND_AT, Errand, Flow,
    Globals, INTERFACE_PEER,
};
use balancer_ebpf::net::{
    CRAFTED, Crafted, Egress, FRONT, Frame, HEADERS, HEADERS_SYN, HEADERS_TS, Hop, Seq, fold, is_sound, update,
};
use balancer_ebpf::splice::{self, Next, Now, Step, direct};
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_ebpf::work::Work;

use super::fib;
use super::functions;
use super::maps::{Kernel, base, count, interface_flags, work};
use super::proof::{bounded, opaque, within};
use super::sum;

/// Where the IPv4 and TCP checksums lie in the window.
const IP_CHECK: usize = 24;
const TCP_CHECK: u32 = 50;

/// What the checksum field of a frame holds; found out once a frame, when one is made anew.
const UNKNOWN: u32 = 0;
const FULL: u32 = 1;
const PARTIAL: u32 = 2;

struct Skb {
    skb: *mut __sk_buff,
    checksum: u32,
    base: u32,
}

/// TC ingress of every interface by which clients or backends are reached.
#[classifier]
#[expect(unreachable_pub, reason = "the loader finds the program by its symbol")]
#[inline(always)]
pub fn balancer_tc(ctx: TcContext) -> i32 {
    let mut frame = Skb { skb: ctx.skb.skb, checksum: UNKNOWN, base: 0 };
    if !frame.rebase(0) {
        count(Verdict::Unwritable as u32);
        return TC_ACT_SHOT;
    }
    let Some(work) = work() else { return TC_ACT_UNSPEC };
    let verdict = direct(&Kernel, &mut frame, work);
    count(verdict as u32);
    match verdict.action() {
        Action::Pass => TC_ACT_UNSPEC,
        // Nobody is above TC.
        Action::Drop | Action::Up => TC_ACT_SHOT,
        Action::Send => {
            let to = work.egress;
            // SAFETY: helpers that take numbers.
            let code = unsafe {
                if to.flags & EGRESS_RESOLVES != 0 {
                    bpf_redirect_neigh(to.interface, core::ptr::null_mut(), 0, 0)
                } else if to.flags & INTERFACE_PEER != 0 {
                    bpf_redirect_peer(to.interface, 0)
                } else {
                    bpf_redirect(to.interface, 0)
                }
            };
            code as i32
        }
    }
}

/// Never attached: the daemon runs it by itself (`BPF_PROG_TEST_RUN`, Linux 4.12), with a frame that says which flow is to be
/// closed. 1 if it was.
#[classifier]
#[expect(unreachable_pub, reason = "the loader finds the program by its symbol")]
#[inline(always)]
pub fn balancer_close(ctx: TcContext) -> i32 {
    errand(&ctx, splice::close, Verdict::ClosedOutside)
}

/// Never attached either: the daemon runs it for each flow whose request was held, when the hold has ended. The request comes in
/// again by the client's interface, and is decided like any other. 1 if there was one.
#[classifier]
#[expect(unreachable_pub, reason = "the loader finds the program by its symbol")]
#[inline(always)]
pub fn balancer_release(ctx: TcContext) -> i32 {
    errand(&ctx, splice::release, Verdict::Released)
}

/// Reads what the daemon wrote into the frame, and does it. 1 if what came of it is `done`.
#[inline(always)]
fn errand(ctx: &TcContext, run: impl FnOnce(&Kernel, &mut Skb, &mut Work) -> Verdict, done: Verdict) -> i32 {
    const END: usize = ERRAND_AT + Errand::BYTES;
    let mut frame = Skb { skb: ctx.skb.skb, checksum: UNKNOWN, base: 0 };
    let (Some(work), Some(window)) = (work(), frame.window::<END>(0)) else { return 0 };
    let Some(bytes) = window.last_chunk::<{ Errand::BYTES }>() else { return 0 };
    work.errand = Errand::from_bytes(bytes);
    let verdict = run(&Kernel, &mut frame, work);
    count(verdict as u32);
    i32::from(verdict as u32 == done as u32)
}

impl Skb {
    /// `N` bytes from `base` on, for reading and writing in place.
    #[inline(always)]
    fn window<const N: usize>(&mut self, base: u32) -> Option<&mut [u8; N]> {
        // SAFETY: fields of the context, which the verifier turns into pointers.
        let (data, end) = unsafe { ((*self.skb).data as usize, (*self.skb).data_end as usize) };
        // Hides where the pointer came from, so that the comparison below stays one of this pointer.
        let data = opaque(data + bounded(base));
        if data + N > end {
            return None;
        }
        // SAFETY: the bounds were checked just now, and the verifier checks them again.
        Some(unsafe { &mut *(data as *mut [u8; N]) })
    }

    /// Whether the frame's TCP checksum is only the pseudo-header's sum. A replacement of 0 by 1 in what the sum covers
    /// leaves such a field alone, and changes any other (*measured*: right in 12 of 12 cases).
    #[inline(always)]
    fn is_partial(&mut self) -> bool {
        if self.checksum == UNKNOWN {
            let before = self.check();
            let one = u64::from(1u16.to_be());
            // SAFETY: the context is the program's own; a frame too short makes the helper fail, and counts as full.
            unsafe { bpf_l4_csum_replace(self.skb, self.base() + TCP_CHECK, 0, one, 2) };
            let partial = self.check() == before;
            if !partial {
                // SAFETY: as above.
                unsafe { bpf_l4_csum_replace(self.skb, self.base() + TCP_CHECK, one, 0, 2) };
            }
            self.checksum = if partial { PARTIAL } else { FULL };
        }
        self.checksum == PARTIAL
    }

    #[inline(always)]
    fn check(&mut self) -> u16 {
        match self.headers() {
            Some(h) => u16::from_ne_bytes([h[50], h[51]]),
            None => 0,
        }
    }
}

impl Frame for Skb {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: a field of the context.
        unsafe { (*self.skb).len }
    }

    #[inline(always)]
    fn ingress(&self) -> Egress {
        // SAFETY: a field of the context.
        let interface = unsafe { (*self.skb).ingress_ifindex };
        Egress { interface, flags: interface_flags(interface) }
    }

    #[inline(always)]
    fn tagged(&self) -> bool {
        // SAFETY: a field of the context.
        unsafe { (*self.skb).vlan_present != 0 }
    }

    #[inline(always)]
    fn base(&self) -> u32 {
        bounded(self.base) as u32
    }

    /// Headers may lie outside the linear part; nearly always they do not.
    #[inline(always)]
    fn rebase(&mut self, base: u32) -> bool {
        self.base = base;
        if self.window::<HEADERS_TS>(base).is_some() {
            return true;
        }
        let wanted = self.len().min(self.base() + HEADERS_TS as u32);
        // SAFETY: the context is the program's own.
        unsafe { bpf_skb_pull_data(self.skb, wanted) == 0 }
    }

    #[inline(always)]
    fn front(&mut self) -> Option<&mut [u8; FRONT]> {
        self.window(0)
    }

    #[inline(always)]
    fn headers(&mut self) -> Option<&mut [u8; HEADERS]> {
        self.window(self.base)
    }

    #[inline(always)]
    fn headers_ts(&mut self) -> Option<&mut [u8; HEADERS_TS]> {
        self.window(self.base)
    }

    #[inline(always)]
    fn headers_syn(&mut self) -> Option<&mut [u8; HEADERS_SYN]> {
        self.window(self.base)
    }

    #[inline(always)]
    fn load8(&self, at: u32) -> Option<[u8; 8]> {
        let mut bytes = [0u8; 8];
        // SAFETY: eight bytes of the stack.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.cast(), self.base() + at, bytes.as_mut_ptr().cast(), 8) };
        if failed == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn store8(&mut self, at: u32, bytes: [u8; 8]) -> bool {
        // SAFETY: eight bytes of the stack.
        unsafe { bpf_skb_store_bytes(self.skb, self.base() + at, bytes.as_ptr().cast(), 8, 0) == 0 }
    }

    #[inline(always)]
    fn load_address(&self, at: u32, address: &mut Address) -> bool {
        let to = core::ptr::from_mut(address).cast();
        // SAFETY: an address is 16 bytes, and any are one.
        unsafe { bpf_skb_load_bytes(self.skb.cast(), self.base() + at, to, size_of::<Address>() as u32) == 0 }
    }

    #[inline(always)]
    fn store_address(&mut self, at: u32, address: &Address) -> bool {
        let from = core::ptr::from_ref(address).cast();
        // SAFETY: an address is 16 bytes.
        unsafe { bpf_skb_store_bytes(self.skb, self.base() + at, from, size_of::<Address>() as u32, 0) == 0 }
    }

    #[inline(always)]
    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool {
        let len = (len.wrapping_sub(1) & 63) + 1;
        if len > 40 {
            return false;
        }
        // SAFETY: at most the array's 40 bytes.
        unsafe {
            bpf_skb_load_bytes(self.skb.cast(), self.base() + HEADERS as u32, options.as_mut_ptr().cast(), len) == 0
        }
    }

    #[inline(always)]
    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool {
        balancer_tc_load(self.skb, self.base() + at, len, buffer, pos) != 0
    }

    #[inline(always)]
    fn update_checksums(&mut self, addresses: u64, tcp: u64) -> bool {
        let at = self.base() + TCP_CHECK;
        let v4 = self.base() == 0;
        if v4 {
            let Some(h) = self.headers() else { return false };
            let check = u16::from_ne_bytes([h[IP_CHECK], h[IP_CHECK + 1]]);
            [h[IP_CHECK], h[IP_CHECK + 1]] = update(check, addresses).to_ne_bytes();
        }
        let addresses = u64::from(fold(addresses));
        // A field of either kind is brought up to date rightly by these two: addresses are in the pseudo-header, which is
        // all that a partial one covers.
        // SAFETY: the context is the program's own.
        let updated = unsafe {
            bpf_l4_csum_replace(self.skb, at, 0, addresses, u64::from(BPF_F_PSEUDO_HDR)) == 0
                && bpf_l4_csum_replace(self.skb, at, 0, u64::from(fold(tcp)), 0) == 0
        };
        if !v4 {
            // The helper takes it that the header's own checksum makes up for the addresses in the sum that hardware made of the whole
            // packet. IPv6 has none: there the TCP checksum does. (Linux 6.16 has a flag for that.)
            // SAFETY: as above. An error says that hardware made no such sum.
            unsafe { bpf_csum_update(self.skb, addresses as u32) };
        }
        updated
    }

    #[inline(always)]
    fn sum(&mut self, at: u32, len: u32, buffer: &mut Buffer) -> Option<u64> {
        // SAFETY: at most a chunk to the beginning of a buffer.
        let load = |at, to, len| unsafe { bpf_skb_load_bytes(self.skb.cast(), at, to, len) == 0 };
        sum::over(self.base() + at, len, buffer, load)
    }

    #[inline(always)]
    fn is_vouched(&mut self) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { bpf_csum_level(self.skb, u64::from(BPF_CSUM_LEVEL_QUERY)) >= 0 }
    }

    #[inline(always)]
    fn truncate(&mut self, len: u32) -> bool {
        // SAFETY: the context is the program's own.
        unsafe { bpf_skb_change_tail(self.skb, len, 0) == 0 }
    }

    #[inline(always)]
    fn can_grow(&self) -> bool {
        true
    }

    #[inline(always)]
    fn rebuild(&mut self, header: &Crafted, payload: Option<(&Buffer, u32, u32)>) -> bool {
        let (buffer, pos, len) = match payload {
            Some((buffer, pos, len)) => (core::ptr::from_ref(buffer), pos, len),
            None => (core::ptr::null(), 0, 0),
        };
        let stretch = u64::from(pos) | u64::from(len) << 32;
        self.checksum = balancer_tc_rebuild(self.skb, header, buffer, stretch, self.checksum);
        self.checksum != UNKNOWN
    }

    #[inline(always)]
    fn send_copy(&mut self, to: Egress) -> bool {
        let flags = if to.flags & EGRESS_COMES_IN != 0 { u64::from(BPF_F_INGRESS) } else { 0 };
        // SAFETY: the context is the program's own.
        unsafe { bpf_clone_redirect(self.skb, to.interface, flags) == 0 }
    }

    step_methods!(skb);

    #[inline(always)]
    fn route(&mut self, source: &Address, destination: &Address, hop: &mut Hop) -> bool {
        balancer_tc_route(self.skb, source, destination, hop) != 0
    }
}

/// [`Frame::load`]; 0 if it failed.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balancer_tc_load(skb: *mut __sk_buff, at: u32, len: u32, buffer: *mut Buffer, pos: u32) -> u32 {
    // SAFETY: null or a whole buffer, which the caller holds exclusively; the verifier checks it at every call.
    let Some(buffer) = (unsafe { buffer.as_mut() }) else { return 0 };
    let (mut at, mut pos, mut left) = (at, pos, len);
    for _ in 0..BUFFER_BYTES / CHUNK_BYTES {
        let chunk = (left.min(CHUNK_BYTES as u32).wrapping_sub(1) & (CHUNK_BYTES as u32 - 1)) + 1;
        let offset = pos as usize & (BUFFER_BYTES - 1);
        // SAFETY: a chunk from any position ends inside the buffer and its margin.
        let to = unsafe { buffer.words.as_mut_ptr().cast::<u8>().add(offset) };
        // SAFETY: as above.
        if unsafe { bpf_skb_load_bytes(skb.cast(), at, to.cast(), chunk) } != 0 {
            return 0;
        }
        if left <= CHUNK_BYTES as u32 {
            return 1;
        }
        at += CHUNK_BYTES as u32;
        pos += CHUNK_BYTES as u32;
        left -= CHUNK_BYTES as u32;
    }
    1
}

/// [`Frame::rebuild`]: `stretch` is the payload's position in the buffer (low half) and length; `checksum` what is known of
/// the frame's. The answer is what is known then, or [`UNKNOWN`] if the frame could not be made.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balancer_tc_rebuild(
    skb: *mut __sk_buff,
    header: *const Crafted,
    buffer: *const Buffer,
    stretch: u64,
    checksum: u32,
) -> u32 {
    // SAFETY: null or a whole header; the verifier checks it at every call.
    let Some(header) = (unsafe { header.as_ref() }) else { return UNKNOWN };
    let Some(work) = work() else { return UNKNOWN };
    let mut frame = Skb { skb, checksum, base: base(work) };
    let partial = frame.is_partial();
    let (pos, len) = (stretch as u32, (stretch >> 32) as u32);
    // Also where the length stays: this is what makes one packet of a merged one.
    if !frame.truncate(header.len + len) {
        return UNKNOWN;
    }
    let Some(header_len) = within::<HEADERS, CRAFTED>(header.len) else { return UNKNOWN };
    // SAFETY: the length is within the header's bytes.
    if unsafe { bpf_skb_store_bytes(skb, 0, header.bytes.as_ptr().cast(), header_len, 0) } != 0 {
        return UNKNOWN;
    }
    if partial {
        let sum = (header.pseudo as u16).to_ne_bytes();
        // SAFETY: two bytes of the stack.
        if unsafe { bpf_skb_store_bytes(skb, frame.base() + TCP_CHECK, sum.as_ptr().cast(), 2, 0) } != 0 {
            return UNKNOWN;
        }
    }
    // SAFETY: null or a whole buffer; the verifier checks it at every call.
    if let Some(buffer) = unsafe { buffer.as_ref() }
        && len != 0
    {
        let len = (len.wrapping_sub(1) & (CHUNK_BYTES as u32 - 1)) + 1;
        let offset = pos as usize & (BUFFER_BYTES - 1);
        // SAFETY: a chunk from any position ends inside the buffer and its margin.
        let from = unsafe { buffer.words.as_ptr().cast::<u8>().add(offset) };
        // SAFETY: as above.
        if unsafe { bpf_skb_store_bytes(skb, header.len, from.cast(), len, 0) } != 0 {
            return UNKNOWN;
        }
    }
    frame.checksum
}

/// [`Frame::route`]; 0 if there is none.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn balancer_tc_route(
    skb: *mut __sk_buff,
    source: *const Address,
    destination: *const Address,
    hop: *mut Hop,
) -> u32 {
    // SAFETY: each is null or points to a whole structure; the verifier checks it at every call.
    let (Some(source), Some(destination), Some(hop)) =
        (unsafe { (source.as_ref(), destination.as_ref(), hop.as_mut()) })
    else {
        return 0;
    };
    // SAFETY: a field of the context.
    let ingress = unsafe { (*skb).ingress_ifindex };
    u32::from(fib::route(skb.cast(), ingress, source, destination, hop))
}

global_steps!("tc", __sk_buff, |pointer, base| Skb { skb: pointer, checksum: UNKNOWN, base });
