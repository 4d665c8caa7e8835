//! Headers made from nothing: SYNs, SYN-ACKs, ACKs, RSTs, and the segments that leave a stash.

use super::{CRAFTED, HEADERS, IPV6_BASE, Segment, Seq, fold};
use crate::host::{Cpu, Step};
use crate::layout::{Address, Buffer, Leg};

/// A header to be made. Lies in the scratch memory: it would crowd the stack.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Draft {
    pub macs: [u8; 12],
    pub source: Address,
    pub destination: Address,
    /// *Network order*, like the one below.
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
    pub seq: Seq,
    pub ack: Seq,
    pub flags: u32,
    pub window: u32,
    /// 1: a timestamp option is wanted, with `tsval` and `tsecr`.
    pub timestamps: u32,
    pub tsval: u32,
    pub tsecr: u32,
    /// For SYNs: 0 leaves all three out.
    pub mss: u32,
    /// For SYNs: 1 if SACK is permitted.
    pub sack: u32,
    /// For SYNs: the window scale, or [`super::NO_SCALE`].
    pub scale: u32,
    /// Bytes of payload that follow, and their folded sum.
    pub payload: u32,
    pub payload_sum: u32,
}

impl Draft {
    /// Forgets everything. Drafts are cleared and filled field by field where they lie: as a whole value, one would be made
    /// on the stack first, which has no room.
    #[inline(always)]
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Begins anew, as a segment from the director to a leg's backend.
    #[inline(always)]
    pub fn on_leg(&mut self, leg: &Leg) {
        self.clear();
        self.macs = leg.hop.macs;
        self.source = leg.source;
        self.destination = leg.address;
        self.source_port = leg.source_port;
        self.destination_port = leg.port;
    }

    /// Begins anew, as an answer to `segment`, back to where it came from.
    #[inline(always)]
    pub fn answering(&mut self, segment: &Segment, macs: [u8; 12]) {
        self.clear();
        self.macs = macs;
        self.source = segment.destination;
        self.destination = segment.source;
        self.source_port = segment.destination_port;
        self.destination_port = segment.source_port;
    }
}

/// A header as bytes. Its TCP checksum covers everything, payload included; `pseudo` is what the field holds instead where
/// hardware is to complete it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Crafted {
    pub bytes: [u8; CRAFTED],
    pub len: u32,
    pub pseudo: u32,
}

impl Default for Crafted {
    fn default() -> Self {
        Self { bytes: [0; CRAFTED], len: 0, pseudo: 0 }
    }
}

/// Bytes of the window on a crafted header: as far as the options go.
const WINDOW: usize = 74;

#[inline(always)]
fn pair<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    u64::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

/// The window on a crafted header, as a [frame](super::Frame) has it.
#[inline(always)]
fn window(bytes: &mut [u8; CRAFTED], v4: bool) -> Option<&mut [u8; WINDOW]> {
    let base = if v4 { 0 } else { IPV6_BASE as usize };
    bytes.get_mut(base..)?.first_chunk_mut()
}

/// Writes the header that `draft` describes, of the family of its addresses.
///
/// SYNs carry MSS, SACK-permitted, timestamp and window scale in the order and padding that Linux uses: 20 bytes with
/// timestamps, 12 without; other segments carry NOP NOP timestamp or nothing.
#[inline(always)]
pub fn craft(draft: &Draft, out: &mut Crafted) {
    let v4 = draft.destination.is_v4();
    let options: usize = match (draft.mss != 0, draft.timestamps != 0) {
        (true, true) => 20,
        (true, false) | (false, true) => 12,
        (false, false) => 0,
    };
    let tcp_len = 20 + options as u32 + draft.payload;
    for (to, from) in out.bytes.iter_mut().zip(draft.macs.iter()) {
        *to = *from;
    }
    if v4 {
        ipv4(draft, &mut out.bytes, tcp_len)
    } else {
        ipv6(draft, &mut out.bytes, tcp_len)
    }
    out.len = (HEADERS + options) as u32 + if v4 { 0 } else { IPV6_BASE };
    let Some(b) = window(&mut out.bytes, v4) else { return };
    [b[34], b[35]] = draft.source_port;
    [b[36], b[37]] = draft.destination_port;
    [b[38], b[39], b[40], b[41]] = draft.seq.0.to_be_bytes();
    [b[42], b[43], b[44], b[45]] = draft.ack.0.to_be_bytes();
    b[46] = ((20 + options as u8) / 4) << 4;
    b[47] = draft.flags as u8;
    [b[48], b[49]] = (draft.window as u16).to_be_bytes();
    [b[50], b[51], b[52], b[53]] = [0; 4];
    for byte in &mut b[54..74] {
        *byte = 0;
    }
    if draft.mss != 0 {
        [b[54], b[55]] = [2, 4];
        [b[56], b[57]] = (draft.mss as u16).to_be_bytes();
        let scale: [u8; 4] = if draft.scale == super::NO_SCALE { [1; 4] } else { [1, 3, 3, draft.scale as u8] };
        let sack: [u8; 2] = if draft.sack != 0 { [4, 2] } else { [1, 1] };
        [b[58], b[59]] = sack;
        if draft.timestamps != 0 {
            [b[60], b[61]] = [8, 10];
            [b[62], b[63], b[64], b[65]] = draft.tsval.to_be_bytes();
            [b[66], b[67], b[68], b[69]] = draft.tsecr.to_be_bytes();
            [b[70], b[71], b[72], b[73]] = scale;
        } else {
            [b[60], b[61]] = [1, 1];
            [b[62], b[63], b[64], b[65]] = scale;
        }
    } else if draft.timestamps != 0 {
        [b[54], b[55], b[56], b[57]] = [1, 1, 8, 10];
        [b[58], b[59], b[60], b[61]] = draft.tsval.to_be_bytes();
        [b[62], b[63], b[64], b[65]] = draft.tsecr.to_be_bytes();
    }
    seal(draft, out, tcp_len);
}

/// Ethertype and IPv4 header, but for its checksum.
#[inline(always)]
fn ipv4(draft: &Draft, b: &mut [u8; CRAFTED], tcp_len: u32) {
    let total = (20 + tcp_len) as u16;
    [b[12], b[13], b[14], b[15]] = [0x08, 0x00, 0x45, 0];
    [b[16], b[17]] = total.to_be_bytes();
    // No identification: a datagram that must not be fragmented needs none (RFC 6864, section 4.1).
    [b[18], b[19], b[20], b[21]] = [0, 0, 0x40, 0];
    [b[22], b[23], b[24], b[25]] = [64, 6, 0, 0];
    [b[26], b[27], b[28], b[29]] = draft.source.last();
    [b[30], b[31], b[32], b[33]] = draft.destination.last();
}

/// Ethertype and IPv6 header. No flow label: 0 says that there is none (RFC 6437, section 2).
#[inline(always)]
fn ipv6(draft: &Draft, b: &mut [u8; CRAFTED], tcp_len: u32) {
    [b[12], b[13], b[14], b[15], b[16], b[17]] = [0x86, 0xdd, 0x60, 0, 0, 0];
    [b[18], b[19]] = (tcp_len as u16).to_be_bytes();
    [b[20], b[21]] = [6, 64];
    let words = draft.source.words().into_iter().chain(draft.destination.words());
    for (to, from) in b[22..54].as_chunks_mut::<4>().0.iter_mut().zip(words) {
        *to = from.to_ne_bytes();
    }
}

/// Sums the header up. A function of its own, so that what was just written is read from memory, and not kept on the stack
/// in the meantime.
#[inline(never)]
fn seal(draft: &Draft, out: &mut Crafted, tcp_len: u32) {
    let v4 = draft.destination.is_v4();
    if v4 {
        let mut ip = 0;
        for at in (14..34).step_by(2) {
            ip += pair(&out.bytes, at);
        }
        [out.bytes[24], out.bytes[25]] = (!fold(ip)).to_ne_bytes();
    }
    // What an IPv4 address has in front counts nothing in a one's complement sum.
    let [s0, s1, s2, s3] = draft.source.words().map(u64::from);
    let [d0, d1, d2, d3] = draft.destination.words().map(u64::from);
    let pseudo = s0 + s1 + s2 + s3 + d0 + d1 + d2 + d3 + u64::from(6u16.to_be()) + u64::from((tcp_len as u16).to_be());
    out.pseudo = u32::from(fold(pseudo));
    let mut tcp = pseudo + u64::from(draft.payload_sum);
    let Some(b) = window(&mut out.bytes, v4) else { return };
    // Options that are not there are zeroes, which a sum does not see.
    for at in (34..74).step_by(2) {
        tcp += pair(b, at);
    }
    [b[50], b[51]] = (!fold(tcp)).to_ne_bytes();
}

/// Scratch memory of [`sum`].
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Sum {
    pos: u32,
    left: u32,
    sum: u64,
}

struct Summing<'a> {
    state: &'a mut Sum,
    buffer: &'a Buffer,
}

struct Words;
impl Step<Summing<'_>> for Words {
    #[inline(always)]
    fn step(summing: &mut Summing<'_>) -> bool {
        let state = &mut *summing.state;
        let mut sum = 0u64;
        for index in 0..16 {
            let at = index * 8;
            if at < state.left {
                let word = summing.buffer.word(state.pos.wrapping_add(at));
                let have = state.left - at;
                let word = if have >= 8 { word } else { word & ((1u64 << ((have & 7) * 8)) - 1) };
                sum += (word & 0xffff_ffff) + (word >> 32);
            }
        }
        state.sum += sum;
        state.pos = state.pos.wrapping_add(128);
        state.left = state.left.saturating_sub(128);
        state.left != 0
    }
}

/// The folded sum of `len` bytes of a buffer, as if they began at an even offset of their segment.
#[inline(always)]
pub fn sum<C: Cpu>(state: &mut Sum, buffer: &Buffer, pos: u32, len: u32) -> u32 {
    state.pos = pos;
    state.left = len;
    state.sum = 0;
    C::repeat::<_, Words>(&mut Summing { state, buffer }, 128);
    u32::from(fold(state.sum))
}
