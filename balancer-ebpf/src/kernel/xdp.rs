//! The XDP program: everything that neither grows a packet nor sends two for one. The rest goes up to the TC program.

use aya_ebpf::bindings::{xdp_action, xdp_md};
use aya_ebpf::helpers::{bpf_redirect, bpf_xdp_adjust_tail, bpf_xdp_load_bytes, bpf_xdp_store_bytes};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use balancer_ebpf::host::Maps;
use balancer_ebpf::http::Scanned;
use balancer_ebpf::layout::{Address, BUFFER_BYTES, Buffer, CHUNK_BYTES, Cursor, Flow, Globals};
use balancer_ebpf::net::{
    CRAFTED, Crafted, Egress, FRONT, Frame, HEADERS, HEADERS_SYN, HEADERS_TS, Hop, Seq, is_sound, update,
};
use balancer_ebpf::splice::{self, Next, Now, Step, direct};
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_ebpf::work::Work;

use super::fib;
use super::functions;
use super::maps::{Kernel, base, count, interface_flags, work};
use super::proof::{bounded, opaque, within};
use super::sum;

struct Buff {
    ctx: *mut xdp_md,
    base: u32,
}

/// XDP of every interface for which the hook is `xdp`.
#[xdp]
#[expect(unreachable_pub, reason = "the loader finds the program by its symbol")]
#[inline(always)]
pub fn balancer_xdp(ctx: XdpContext) -> u32 {
    let mut frame = Buff { ctx: ctx.ctx, base: 0 };
    let Some(work) = work() else { return xdp_action::XDP_PASS };
    let verdict = direct(&Kernel, &mut frame, work);
    count(verdict as u32);
    match verdict.action() {
        Action::Pass | Action::Up => xdp_action::XDP_PASS,
        Action::Drop => xdp_action::XDP_DROP,
        // SAFETY: a helper that takes numbers.
        Action::Send => unsafe { bpf_redirect(work.egress.interface, 0) as u32 },
    }
}

impl Buff {
    /// `N` bytes from `base` on, for reading and writing in place.
    #[inline(always)]
    fn window<const N: usize>(&mut self, base: u32) -> Option<&mut [u8; N]> {
        // SAFETY: fields of the context, which the verifier turns into pointers.
        let (data, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        let data = opaque(data + bounded(base));
        if data + N > end {
            return None;
        }
        // SAFETY: the bounds were checked just now, and the verifier checks them again.
        Some(unsafe { &mut *(data as *mut [u8; N]) })
    }
}

impl Frame for Buff {
    #[inline(always)]
    fn len(&self) -> u32 {
        // SAFETY: fields of the context. Frames in several buffers are not taken: the program does not say that it can.
        let (data, end) = unsafe { ((*self.ctx).data as usize, (*self.ctx).data_end as usize) };
        // What is spilled of a pointer has to be all of it.
        opaque(end).wrapping_sub(opaque(data)) as u32
    }

    #[inline(always)]
    fn ingress(&self) -> Egress {
        // SAFETY: a field of the context.
        let interface = unsafe { (*self.ctx).ingress_ifindex };
        Egress { interface, flags: interface_flags(interface) }
    }

    #[inline(always)]
    fn way_out(&self) -> Egress {
        // SAFETY: a field of the context.
        Egress { interface: unsafe { (*self.ctx).ingress_ifindex }, flags: 0 }
    }

    #[inline(always)]
    fn tagged(&self) -> bool {
        // A tag is among the headers, unless hardware took it out; XDP is not told of that before Linux 6.8.
        false
    }

    #[inline(always)]
    fn base(&self) -> u32 {
        bounded(self.base) as u32
    }

    #[inline(always)]
    fn rebase(&mut self, base: u32) -> bool {
        self.base = base;
        true
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
        let failed = unsafe { bpf_xdp_load_bytes(self.ctx, self.base() + at, bytes.as_mut_ptr().cast(), 8) };
        if failed == 0 { Some(bytes) } else { None }
    }

    #[inline(always)]
    fn store8(&mut self, at: u32, bytes: [u8; 8]) -> bool {
        let mut bytes = bytes;
        // SAFETY: eight bytes of the stack.
        unsafe { bpf_xdp_store_bytes(self.ctx, self.base() + at, bytes.as_mut_ptr().cast(), 8) == 0 }
    }

    #[inline(always)]
    fn load_address(&self, at: u32, address: &mut Address) -> bool {
        let to = core::ptr::from_mut(address).cast();
        // SAFETY: an address is 16 bytes, and any are one.
        unsafe { bpf_xdp_load_bytes(self.ctx, self.base() + at, to, size_of::<Address>() as u32) == 0 }
    }

    #[inline(always)]
    fn store_address(&mut self, at: u32, address: &Address) -> bool {
        let from = core::ptr::from_ref(address).cast_mut().cast();
        // SAFETY: an address is 16 bytes, and the helper only reads them.
        unsafe { bpf_xdp_store_bytes(self.ctx, self.base() + at, from, size_of::<Address>() as u32) == 0 }
    }

    #[inline(always)]
    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool {
        let len = (len.wrapping_sub(1) & 63) + 1;
        if len > 40 {
            return false;
        }
        // SAFETY: at most the array's 40 bytes.
        unsafe { bpf_xdp_load_bytes(self.ctx, self.base() + HEADERS as u32, options.as_mut_ptr().cast(), len) == 0 }
    }

    #[inline(always)]
    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool {
        // A frame without fragments is never longer than two chunks.
        let (mut at, mut pos, mut left) = (self.base() + at, pos, len);
        for _ in 0..2 {
            let chunk = (left.min(CHUNK_BYTES as u32).wrapping_sub(1) & (CHUNK_BYTES as u32 - 1)) + 1;
            let offset = pos as usize & (BUFFER_BYTES - 1);
            // SAFETY: a chunk from any position ends inside the buffer and its margin.
            let to = unsafe { buffer.words.as_mut_ptr().cast::<u8>().add(offset) };
            // SAFETY: as above.
            if unsafe { bpf_xdp_load_bytes(self.ctx, at, to.cast(), chunk) } != 0 {
                return false;
            }
            if left <= CHUNK_BYTES as u32 {
                return true;
            }
            at += CHUNK_BYTES as u32;
            pos += CHUNK_BYTES as u32;
            left -= CHUNK_BYTES as u32;
        }
        false
    }

    #[inline(always)]
    fn update_checksums(&mut self, addresses: u64, tcp: u64) -> bool {
        let v4 = self.base() == 0;
        let Some(h) = self.headers() else { return false };
        if v4 {
            [h[24], h[25]] = update(u16::from_ne_bytes([h[24], h[25]]), addresses).to_ne_bytes();
        }
        [h[50], h[51]] = update(u16::from_ne_bytes([h[50], h[51]]), addresses + tcp).to_ne_bytes();
        true
    }

    #[inline(always)]
    fn sum(&mut self, at: u32, len: u32, buffer: &mut Buffer) -> Option<u64> {
        // SAFETY: at most a chunk to the beginning of a buffer.
        let load = |at, to, len| unsafe { bpf_xdp_load_bytes(self.ctx, at, to, len) == 0 };
        sum::over(self.base() + at, len, buffer, load)
    }

    #[inline(always)]
    fn truncate(&mut self, len: u32) -> bool {
        let by = len as i32 - self.len() as i32;
        // SAFETY: the context is the program's own.
        by == 0 || unsafe { bpf_xdp_adjust_tail(self.ctx, by) == 0 }
    }

    #[inline(always)]
    fn can_grow(&self) -> bool {
        false
    }

    #[inline(always)]
    fn rebuild(&mut self, header: &Crafted, _payload: Option<(&Buffer, u32, u32)>) -> bool {
        let header_len = header.len;
        if header_len > self.len() || !self.truncate(header_len) {
            return false;
        }
        if header_len == HEADERS_SYN as u32
            && let (Some(to), Some(from)) = (self.window::<HEADERS_SYN>(0), header.bytes.first_chunk())
        {
            // What answers a SYN: in place, for the helper takes several times as long.
            *to = *from;
            return true;
        }
        let Some(header_len) = within::<HEADERS, CRAFTED>(header_len) else { return false };
        let bytes = header.bytes.as_ptr().cast_mut().cast();
        // SAFETY: the length is within the header's bytes; the helper only reads them.
        unsafe { bpf_xdp_store_bytes(self.ctx, 0, bytes, header_len) == 0 }
    }

    #[inline(always)]
    fn send_copy(&mut self, _to: Egress) -> bool {
        false
    }

    step_methods!(ctx);

    #[inline(always)]
    fn route(&mut self, source: &Address, destination: &Address, hop: &mut Hop) -> bool {
        // SAFETY: a field of the context.
        let ingress = unsafe { (*self.ctx).ingress_ifindex };
        fib::route(self.ctx.cast(), ingress, source, destination, hop)
    }
}

global_steps!("xdp", xdp_md, |pointer, base| Buff { ctx: pointer, base });
