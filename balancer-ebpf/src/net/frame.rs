//! What the core asks of a packet: the trait that TC, XDP and the simulation implement.

use super::{Crafted, Seq};
use crate::host::Maps;
use crate::http::Scanned;
use crate::layout::{Address, Buffer, Cursor, Flow, Globals};
use crate::splice::{Next, Now, Step};
use crate::verdict::Verdict;
use crate::work::Work;

/// Bytes of the Ethernet, IPv4 and TCP headers, without options; and of the window on those of IPv6.
pub const HEADERS: usize = 54;
/// The same with the options that nearly every segment has: two NOPs and a timestamp.
pub const HEADERS_TS: usize = 66;
/// The same with the 20 bytes of options that most SYNs have.
pub const HEADERS_SYN: usize = 74;
/// Bytes of a crafted header with all of its options.
pub const CRAFTED: usize = 96;

/// Bytes of the frame's beginning: the Ethernet header, and of IPv6 what lies before the window.
pub const FRONT: usize = 20;

/// Where a packet leaves: an interface, and whether it is handed straight to the other end of a veth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Egress {
    /// The interface's index.
    pub interface: u32,
    /// [`crate::layout::INTERFACE_PEER`] or 0.
    pub flags: u32,
}

/// A next hop: link-layer addresses and the interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Hop {
    pub egress: Egress,
    /// Destination and source MAC, in the order of the Ethernet header.
    pub macs: [u8; 12],
}

/// One Ethernet frame, in the hands of a hook.
///
/// Headers are read and written through a *window*, which begins at the frame's beginning for IPv4 and, since an IPv6 header is 20 bytes
/// longer, 20 bytes further on for IPv6: so the TCP header lies at the same place in it, and TCP is one piece of code. Where the window
/// begins is a number that the verifier knows the bounds of and nothing else: it reads that code once. All positions count from
/// there; the IPv6 header's addresses are bytes 2 to 34 of the window, and what lies before it is the frame's [front](Self::front).
///
/// An Err is a packet shorter than it claims or one that the kernel will not change: the caller drops it and counts.
#[expect(clippy::len_without_is_empty, reason = "no frame is empty")]
pub trait Frame {
    /// Bytes of the frame, from the Ethernet header on.
    fn len(&self) -> u32;

    /// The interface that it came in by.
    fn ingress(&self) -> Egress;

    /// The same for an answer that leaves at once, and so may leave out what only the other hook asks for.
    #[inline(always)]
    fn way_out(&self) -> Egress {
        self.ingress()
    }

    /// Whether the frame came with a VLAN's tag beside it, where hardware or the kernel took it out of the headers.
    fn tagged(&self) -> bool;

    /// Where the window begins: 0 or [`super::IPV6_BASE`].
    fn base(&self) -> u32;

    /// Makes it begin there. False if the frame is too short for that.
    fn rebase(&mut self, base: u32) -> bool;

    /// The frame's first bytes, whatever the window.
    fn front(&mut self) -> Option<&mut [u8; FRONT]>;

    /// The headers, for reading and writing in place: the window.
    fn headers(&mut self) -> Option<&mut [u8; HEADERS]>;

    /// The headers with room for a timestamp option behind them.
    fn headers_ts(&mut self) -> Option<&mut [u8; HEADERS_TS]>;

    /// The headers with room for the options of most SYNs behind them. `None` also where these are not at hand.
    fn headers_syn(&mut self) -> Option<&mut [u8; HEADERS_SYN]>;

    /// Copies eight bytes at `at`.
    fn load8(&self, at: u32) -> Option<[u8; 8]>;

    /// Overwrites eight bytes at `at`; the checksum is the caller's business.
    fn store8(&mut self, at: u32, bytes: [u8; 8]) -> bool;

    /// Copies the IPv6 address at `at`.
    fn load_address(&self, at: u32, address: &mut Address) -> bool;

    /// Overwrites the IPv6 address at `at`; the checksum is the caller's business.
    fn store_address(&mut self, at: u32, address: &Address) -> bool;

    /// Copies `len` (at most 40) option bytes behind the headers into `options`.
    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool;

    /// Copies `len` (at least 1, bounded by the buffer) bytes from `at` into `buffer` from position `pos` on.
    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool;

    /// Brings the checksums up to date after headers were changed: `addresses` is the difference that the addresses made (an
    /// IPv4 header and the pseudo-header alike), `tcp` that of TCP fields.
    fn update_checksums(&mut self, addresses: u64, tcp: u64) -> bool;

    /// The sum of `len` bytes (at least 1) from `at` on, to be folded; `None` if they are not there. The buffer is for scratch.
    fn sum(&mut self, at: u32, len: u32, buffer: &mut Buffer) -> Option<u64>;

    /// Whether whoever received the frame has verified its TCP checksum already.
    fn is_vouched(&mut self) -> bool {
        false
    }

    /// Cuts the frame to `len` bytes.
    fn truncate(&mut self, len: u32) -> bool;

    /// Whether frames can grow, and several be sent for one: TC can, XDP cannot and passes the packet up to TC.
    fn can_grow(&self) -> bool;

    /// Makes the frame the crafted header and `len` bytes of the payload's buffer from `pos` on (`(buffer, pos, len)`).
    fn rebuild(&mut self, header: &Crafted, payload: Option<(&Buffer, u32, u32)>) -> bool;

    /// Sends a copy of the frame as it is now, and keeps it.
    fn send_copy(&mut self, to: Egress) -> bool;

    // The long parts of the data path, which the kernel makes global functions, as it does with those of `Maps`.

    /// [`super::is_sound`].
    #[inline(always)]
    fn is_sound(&mut self, work: &mut Work) -> bool
    where
        Self: Sized,
    {
        super::is_sound(self, work)
    }

    /// [`crate::splice::arrival`].
    #[inline(always)]
    fn arrival<M: Maps>(
        &mut self,
        maps: &M,
        work: &mut Work,
        globals: &Globals,
        now: Now,
        known: u32,
    ) -> Result<u32, Verdict>
    where
        Self: Sized,
    {
        crate::splice::arrival(maps, self, work, globals, now, known)
    }

    /// [`crate::splice::short`].
    #[inline(always)]
    fn short<M: Maps>(&mut self, maps: &M, work: &mut Work, flow: &mut Flow, of_leg: bool, now: Now) -> Option<Verdict>
    where
        Self: Sized,
    {
        crate::splice::short(maps, self, work, flow, of_leg, now)
    }

    /// [`crate::splice::verify`].
    #[inline(always)]
    fn verify<M: Maps>(&mut self, maps: &M, work: &mut Work, flow: &mut Flow, of_leg: bool) -> Result<(), Verdict>
    where
        Self: Sized,
    {
        crate::splice::verify(maps, self, work, flow, of_leg)
    }

    /// [`crate::splice::client_step`].
    #[inline(always)]
    fn client_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step
    where
        Self: Sized,
    {
        crate::splice::client_step(maps, self, work, globals, flow, now)
    }

    /// [`crate::splice::backend_step`].
    #[inline(always)]
    fn backend_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step
    where
        Self: Sized,
    {
        crate::splice::backend_step(maps, self, work, globals, flow, now)
    }

    /// [`crate::splice::opening_step`].
    #[inline(always)]
    fn opening_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step
    where
        Self: Sized,
    {
        crate::splice::opening_step(maps, self, work, globals, flow, now)
    }

    /// [`crate::splice::follow`].
    #[inline(always)]
    fn follow<M: Maps>(&mut self, maps: &M, work: &mut Work, cursor: &mut Cursor, from: Seq, until: Seq) -> Scanned
    where
        Self: Sized,
    {
        crate::splice::follow(maps, self, work, cursor, from, until)
    }

    /// [`crate::splice::request_step`].
    #[inline(always)]
    fn request_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step
    where
        Self: Sized,
    {
        crate::splice::request_step(maps, self, work, globals, flow, now)
    }

    /// [`crate::splice::accept_step`].
    #[inline(always)]
    fn accept_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow, now: Now) -> Step
    where
        Self: Sized,
    {
        crate::splice::accept_step(maps, self, work, globals, flow, now)
    }

    /// [`crate::splice::hold_step`].
    #[inline(always)]
    fn hold_step<M: Maps>(&mut self, maps: &M, work: &mut Work, globals: &Globals, flow: &mut Flow) -> Step
    where
        Self: Sized,
    {
        crate::splice::hold_step(maps, self, work, globals, flow)
    }

    /// [`crate::splice::open_step`].
    #[inline(always)]
    fn open_step<M: Maps>(
        &mut self,
        maps: &M,
        work: &mut Work,
        globals: &Globals,
        flow: &mut Flow,
        now: Now,
        next: Next,
    ) -> Step
    where
        Self: Sized,
    {
        crate::splice::open_step(maps, self, work, globals, flow, now, next)
    }

    /// [`crate::splice::idle_step`].
    #[inline(always)]
    fn idle_step<M: Maps>(&mut self, maps: &M, work: &mut Work, slot: u32) -> Verdict
    where
        Self: Sized,
    {
        crate::splice::idle_step(maps, self, work, slot)
    }

    /// [`crate::splice::too_big`].
    #[inline(always)]
    fn too_big<M: Maps>(&mut self, maps: &M, work: &mut Work) -> Verdict
    where
        Self: Sized,
    {
        crate::splice::too_big(maps, self, work)
    }

    /// [`crate::splice::extended`].
    #[inline(always)]
    fn extended(&mut self) -> Verdict
    where
        Self: Sized,
    {
        crate::splice::extended(self)
    }

    /// [`crate::splice::finish`].
    #[inline(always)]
    fn finish<M: Maps>(&mut self, maps: &M, work: &mut Work, flow: &mut Flow, step: Step) -> Verdict
    where
        Self: Sized,
    {
        crate::splice::finish(maps, self, work, flow, step)
    }

    /// Finds the next hop towards an address from a source address: the kernel's route and neighbour. False if there is none.
    fn route(&mut self, source: &Address, destination: &Address, hop: &mut Hop) -> bool;
}
