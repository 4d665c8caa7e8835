//! A TCP segment's header, read once into plain values.

use super::{Frame, HEADERS, Seq};

/// FIN, SYN, RST, PSH and ACK, as they lie in the header's 14th byte (RFC 9293, section 3.1).
pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const PSH: u8 = 8;
pub const ACK: u8 = 16;

/// What a header says. Lies in the per-CPU scratch memory.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// *Network order*, like the three below.
    pub source: [u8; 4],
    pub destination: [u8; 4],
    pub source_port: [u8; 2],
    pub destination_port: [u8; 2],
    pub seq: Seq,
    pub ack: Seq,
    pub flags: u32,
    /// As it stands in the header, unscaled.
    pub window: u32,
    /// Bytes of options, 0 to 40.
    pub options: u32,
    /// Bytes of payload.
    pub payload: u32,
    /// Where the timestamp's eight bytes lie in the frame; 0 for nowhere.
    pub timestamp_at: u32,
    pub tsval: u32,
    pub tsecr: u32,
    /// Where the SACK blocks lie in the frame; 0 for nowhere.
    pub sack_at: u32,
    /// Number of SACK blocks.
    pub sacks: u32,
}

impl Segment {
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag as u32 != 0
    }
    /// Where the payload lies in the frame.
    #[inline(always)]
    pub const fn payload_at(&self) -> u32 {
        HEADERS as u32 + self.options
    }
    /// The sequence number behind the payload; a FIN takes one more, which is not counted here.
    #[inline(always)]
    pub const fn end(&self) -> Seq {
        self.seq.plus(self.payload)
    }
}

/// What a frame turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// A whole TCP segment over IPv4.
    Segment,
    /// Something else: none of our business.
    Other,
    /// TCP over IPv4 in a form that is not followed: options in the IP header.
    IpOptions,
    /// A fragment.
    Fragment,
    /// Lengths that contradict each other.
    Malformed,
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const TCP: u8 = 6;

/// The destination address of a frame, if it is IPv4: what tells most foreign packets at once.
#[inline(always)]
pub fn destination(headers: &[u8; HEADERS]) -> Option<[u8; 4]> {
    let [_, _, _, _, _, _, _, _, _, _, _, _, e0, e1, ..] = *headers;
    if [e0, e1] != ETHERTYPE_IPV4 || headers[23] != TCP {
        return None;
    }
    Some([headers[30], headers[31], headers[32], headers[33]])
}

/// The source address of a frame that has a [`destination`].
#[inline(always)]
pub fn source(headers: &[u8; HEADERS]) -> [u8; 4] {
    [headers[26], headers[27], headers[28], headers[29]]
}

/// Reads the headers into `segment`. Options other than a plain timestamp are left to [`super::read_options`].
#[inline(always)]
pub fn parse<F: Frame>(frame: &mut F, segment: &mut Segment) -> Parsed {
    let len = frame.len();
    let Some(h) = frame.headers() else { return Parsed::Other };
    if h[14] & 0xf0 != 0x40 || h[23] != TCP {
        return Parsed::Other;
    }
    if h[14] != 0x45 {
        return Parsed::IpOptions;
    }
    // More fragments, or an offset: RFC 791, section 3.1. "Don't fragment" is no matter.
    if h[20] & 0x3f != 0 || h[21] != 0 {
        return Parsed::Fragment;
    }
    let total = u32::from(u16::from_be_bytes([h[16], h[17]]));
    let header = u32::from(h[46] >> 4) * 4;
    // A frame that GRO merged to 64 KiB or more says 0 (Linux 5.19, "BIG TCP"); then the frame's own length counts.
    let total = if total == 0 { len.wrapping_sub(14) } else { total };
    if header < 20 || total < 20 + header || total.wrapping_add(14) > len {
        return Parsed::Malformed;
    }
    segment.source = [h[26], h[27], h[28], h[29]];
    segment.destination = [h[30], h[31], h[32], h[33]];
    segment.source_port = [h[34], h[35]];
    segment.destination_port = [h[36], h[37]];
    segment.seq = Seq(u32::from_be_bytes([h[38], h[39], h[40], h[41]]));
    segment.ack = Seq(u32::from_be_bytes([h[42], h[43], h[44], h[45]]));
    segment.flags = u32::from(h[47]);
    segment.window = u32::from(u16::from_be_bytes([h[48], h[49]]));
    segment.options = header - 20;
    segment.payload = total - 20 - header;
    segment.timestamp_at = 0;
    segment.sack_at = 0;
    segment.sacks = 0;
    segment.tsval = 0;
    segment.tsecr = 0;
    Parsed::Segment
}
