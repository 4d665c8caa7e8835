//! A TCP segment's header, read once into plain values.
//!
//! Positions in a segment count from the beginning of the frame's *window*, in which the TCP header lies at the same place
//! whatever the family ([`Frame::headers`]).

use super::{Frame, HEADERS, Seq};
use crate::layout::Address;

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
    pub source: Address,
    pub destination: Address,
    /// *Network order*, like the one below.
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
    /// Where the timestamp's eight bytes lie in the window; 0 for nowhere.
    pub timestamp_at: u32,
    pub tsval: u32,
    pub tsecr: u32,
    /// Where the SACK blocks lie in the window; 0 for nowhere.
    pub sack_at: u32,
    /// Number of SACK blocks.
    pub sacks: u32,
}

impl Segment {
    #[inline(always)]
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag as u32 != 0
    }
    /// Where the payload lies in the window.
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
    /// A whole TCP segment.
    Segment,
    /// Something else: none of our business.
    Other,
    /// TCP over IPv4 in a form that is not followed: options in the IP header.
    IpOptions,
    /// A fragment of IPv4.
    Fragment,
    /// Something behind extension headers of IPv6.
    Extended,
    /// Lengths that contradict each other.
    Malformed,
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// A VLAN's tag (IEEE 802.1Q), and a provider's (802.1ad).
const ETHERTYPE_TAG: [u8; 2] = [0x81, 0x00];
const ETHERTYPE_PROVIDER_TAG: [u8; 2] = [0x88, 0xa8];
pub(crate) const TCP: u8 = 6;
/// Extension headers of IPv6 behind which there may be TCP (RFC 8200, section 4).
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const DESTINATION_OPTIONS: u8 = 60;

/// Where the window of an IPv6 frame begins: the header is as many bytes longer than that of IPv4.
pub const IPV6_BASE: u32 = 20;

/// Whether a number of a next header is that of an extension header that is looked behind.
#[inline(always)]
pub(crate) const fn extends(next: u8) -> bool {
    matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | DESTINATION_OPTIONS)
}

/// The ethertype, of the headers from the frame's beginning on.
#[inline(always)]
const fn ethertype(headers: &[u8; HEADERS]) -> [u8; 2] {
    [headers[12], headers[13]]
}

/// Where the frame's window has to begin, of the headers from the frame's beginning on.
#[inline(always)]
pub fn base(headers: &[u8; HEADERS]) -> u32 {
    if ethertype(headers)[0] == ETHERTYPE_IPV6[0] { IPV6_BASE } else { 0 }
}

/// Whether the frame has a VLAN's tag in its headers.
#[inline(always)]
pub fn is_tagged(headers: &[u8; HEADERS]) -> bool {
    matches!(ethertype(headers), ETHERTYPE_TAG | ETHERTYPE_PROVIDER_TAG)
}

/// Reads the destination address of a frame that is TCP, or may be behind extension headers, into `segment`: what tells most foreign
/// packets at once. The frame's window has to begin at its beginning, as for [`source`].
#[inline(always)]
pub fn destination<F: Frame>(frame: &mut F, segment: &mut Segment) -> bool {
    let Some(h) = frame.headers() else { return false };
    match ethertype(h) {
        ETHERTYPE_IPV4 if h[23] == TCP => {
            segment.destination = Address::v4([h[30], h[31], h[32], h[33]]);
            true
        }
        ETHERTYPE_IPV6 if h[20] == TCP || extends(h[20]) => frame.load_address(38, &mut segment.destination),
        _ => false,
    }
}

/// Reads the source address of a frame that has a [`destination`].
#[inline(always)]
pub fn source<F: Frame>(frame: &mut F, segment: &mut Segment) -> bool {
    let Some(h) = frame.headers() else { return false };
    if ethertype(h)[0] == ETHERTYPE_IPV6[0] {
        return frame.load_address(22, &mut segment.source);
    }
    segment.source = Address::v4([h[26], h[27], h[28], h[29]]);
    true
}

/// Reads the headers of a frame into `segment`, which has its [`destination`] already. Options other than a plain timestamp are left to
/// [`super::read_options`].
#[inline(always)]
pub fn parse<F: Frame>(frame: &mut F, segment: &mut Segment) -> Parsed {
    let len = frame.len();
    let read = if frame.base() == 0 { parse_v4(frame, segment) } else { parse_v6(frame, segment) };
    let total = match read {
        Ok(total) => total,
        Err(parsed) => return parsed,
    };
    // The frame without what lies before the TCP header.
    let have = len.wrapping_sub(frame.base() + HEADERS as u32 - 20);
    let Some(h) = frame.headers() else { return Parsed::Other };
    let header = u32::from(h[46] >> 4) * 4;
    // Of a packet that was merged to 64 KiB or more, the frame's own length counts.
    let total = if total == MERGED { have } else { total };
    if header < 20 || total < header || total > have {
        return Parsed::Malformed;
    }
    segment.source_port = [h[34], h[35]];
    segment.destination_port = [h[36], h[37]];
    segment.seq = Seq(u32::from_be_bytes([h[38], h[39], h[40], h[41]]));
    segment.ack = Seq(u32::from_be_bytes([h[42], h[43], h[44], h[45]]));
    segment.flags = u32::from(h[47]);
    segment.window = u32::from(u16::from_be_bytes([h[48], h[49]]));
    segment.options = header - 20;
    segment.payload = total - header;
    segment.timestamp_at = 0;
    segment.sack_at = 0;
    segment.sacks = 0;
    segment.tsval = 0;
    segment.tsecr = 0;
    Parsed::Segment
}

/// Bytes behind the IP header, where the header does not say how many: GRO merges packets to 64 KiB or more ("BIG TCP", Linux
/// 5.19), and then the field, which has no room for that, is 0.
const MERGED: u32 = u32::MAX;

/// The part of the headers that is IPv4's; the bytes behind its header.
#[inline(always)]
fn parse_v4<F: Frame>(frame: &mut F, segment: &mut Segment) -> Result<u32, Parsed> {
    let Some(h) = frame.headers() else { return Err(Parsed::Other) };
    if h[14] & 0xf0 != 0x40 || h[23] != TCP {
        return Err(Parsed::Other);
    }
    if h[14] != 0x45 {
        return Err(Parsed::IpOptions);
    }
    // More fragments, or an offset: RFC 791, section 3.1. "Don't fragment" is no matter.
    if h[20] & 0x3f != 0 || h[21] != 0 {
        return Err(Parsed::Fragment);
    }
    segment.source = Address::v4([h[26], h[27], h[28], h[29]]);
    match u32::from(u16::from_be_bytes([h[16], h[17]])) {
        0 => Ok(MERGED),
        total if total < 20 => Err(Parsed::Malformed),
        total => Ok(total - 20),
    }
}

/// The part of the headers that is IPv6's; the bytes behind its header.
#[inline(always)]
fn parse_v6<F: Frame>(frame: &mut F, segment: &mut Segment) -> Result<u32, Parsed> {
    let len = frame.len();
    let Some(front) = frame.front() else { return Err(Parsed::Other) };
    let (version, length) = (front[14] >> 4, u32::from(u16::from_be_bytes([front[18], front[19]])));
    let Some(h) = frame.headers() else { return Err(Parsed::Other) };
    if version != 6 {
        return Err(Parsed::Other);
    }
    if h[0] != TCP {
        return Err(Parsed::Extended);
    }
    if !frame.load_address(2, &mut segment.source) {
        return Err(Parsed::Malformed);
    }
    // Here an IPv4 address is mapped into IPv6; on the wire that means nothing, and would be taken for the other one.
    if segment.source.is_v4() || segment.destination.is_v4() {
        return Err(Parsed::Malformed);
    }
    match length {
        // A jumbogram's length would be in an extension header (RFC 2675).
        0 if len > 0xffff => Ok(MERGED),
        length => Ok(length),
    }
}
