//! Headers made from nothing: SYNs, SYN-ACKs, ACKs, RSTs, and the segments that leave a stash.

use super::{CRAFTED, Segment, Seq, fold};
use crate::host::{Cpu, Step};
use crate::layout::{Buffer, Leg};

/// A header to be made. Lies in the scratch memory: it would crowd the stack.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Draft {
    pub macs: [u8; 12],
    /// Addresses and ports in *network order*.
    pub source: [u8; 4],
    pub destination: [u8; 4],
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

#[inline(always)]
fn pair(bytes: &[u8; CRAFTED], at: usize) -> u64 {
    u64::from(u16::from_ne_bytes([bytes[at], bytes[at + 1]]))
}

/// Writes the header that `draft` describes.
///
/// SYNs carry MSS, SACK-permitted, timestamp and window scale in the order and padding that Linux uses: 20 bytes with
/// timestamps, 12 without; other segments carry NOP NOP timestamp or nothing.
#[inline(always)]
pub fn craft(draft: &Draft, out: &mut Crafted) {
    let b = &mut out.bytes;
    let options: usize = match (draft.mss != 0, draft.timestamps != 0) {
        (true, true) => 20,
        (true, false) | (false, true) => 12,
        (false, false) => 0,
    };
    let tcp_len = 20 + options as u32 + draft.payload;
    let total = (20 + tcp_len) as u16;
    for (to, from) in b.iter_mut().zip(draft.macs.iter()) {
        *to = *from;
    }
    b[12] = 0x08;
    b[13] = 0x00;
    b[14] = 0x45;
    b[15] = 0;
    [b[16], b[17]] = total.to_be_bytes();
    // No identification: a datagram that must not be fragmented needs none (RFC 6864, section 4.1).
    [b[18], b[19], b[20], b[21]] = [0, 0, 0x40, 0];
    [b[22], b[23], b[24], b[25]] = [64, 6, 0, 0];
    [b[26], b[27], b[28], b[29]] = draft.source;
    [b[30], b[31], b[32], b[33]] = draft.destination;
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
    out.len = 54 + options as u32;
    seal(out, tcp_len, draft.payload_sum);
}

/// Sums the header up. A function of its own, so that what was just written is read from memory, and not kept on the stack
/// in the meantime.
#[inline(never)]
fn seal(out: &mut Crafted, tcp_len: u32, payload_sum: u32) {
    let b = &mut out.bytes;
    let mut ip = 0;
    for at in (14..34).step_by(2) {
        ip += pair(b, at);
    }
    [b[24], b[25]] = (!fold(ip)).to_ne_bytes();
    let pseudo = pair(b, 26)
        + pair(b, 28)
        + pair(b, 30)
        + pair(b, 32)
        + u64::from(6u16.to_be())
        + u64::from((tcp_len as u16).to_be());
    let mut tcp = pseudo + u64::from(payload_sum);
    // Options that are not there are zeroes, which a sum does not see.
    for at in (34..74).step_by(2) {
        tcp += pair(b, at);
    }
    [b[50], b[51]] = (!fold(tcp)).to_ne_bytes();
    out.pseudo = u32::from(fold(pseudo));
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
