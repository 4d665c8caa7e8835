//! A frame as a bystander reads it: with smoltcp's parsers, not with the core's.

use std::fmt;

use smoltcp::wire::{IpAddress, IpProtocol, Ipv4Packet, Ipv6Packet, TcpOption, TcpPacket};

use crate::wire::{Family, known};

/// Bytes of the Ethernet header, which smoltcp never sees here.
pub(crate) const ETHERNET: usize = 14;

/// A TCP segment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    pub(crate) source: [u8; 4],
    pub(crate) destination: [u8; 4],
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) syn: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
    pub(crate) window: u32,
    pub(crate) scale: Option<u32>,
    pub(crate) mss: Option<u32>,
    /// tsval and tsecr.
    pub(crate) timestamp: Option<(u32, u32)>,
    pub(crate) sacks: [Option<(u32, u32)>; 3],
    /// Bytes of payload.
    pub(crate) len: u32,
}

impl View {
    /// Reads a whole Ethernet frame and checks both checksums.
    pub(crate) fn of(frame: &[u8]) -> Result<Self, String> {
        let bytes = frame.get(ETHERNET..).unwrap_or_default();
        let (ends, payload) = match Family::of_frame(frame) {
            Family::V4 => ipv4(bytes)?,
            Family::V6 => ipv6(bytes)?,
        };
        let tcp = TcpPacket::new_checked(payload).map_err(|_| "a cut TCP header")?;
        if !tcp.verify_checksum(&ends.0, &ends.1) {
            return Err("a bad TCP checksum".into());
        }
        let mut view = Self {
            source: known_as(ends.0)?,
            destination: known_as(ends.1)?,
            source_port: tcp.src_port(),
            destination_port: tcp.dst_port(),
            seq: tcp.seq_number().0 as u32,
            ack: tcp.ack().then(|| tcp.ack_number().0 as u32),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            psh: tcp.psh(),
            window: u32::from(tcp.window_len()),
            len: tcp.payload().len() as u32,
            ..Self::default()
        };
        let mut options = tcp.options();
        while !options.is_empty() {
            let (rest, option) = TcpOption::parse(options).map_err(|_| "a TCP option that cannot be read")?;
            match option {
                TcpOption::EndOfList => break,
                TcpOption::MaxSegmentSize(size) => view.mss = Some(u32::from(size)),
                TcpOption::WindowScale(shift) => view.scale = Some(u32::from(shift)),
                TcpOption::SackRange(ranges) => view.sacks = ranges,
                TcpOption::TimeStamp { tsval, tsecr } => view.timestamp = Some((tsval, tsecr)),
                _ => {}
            }
            options = rest;
        }
        Ok(view)
    }

    /// The sequence number behind the segment, its SYN and FIN included.
    pub(crate) fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len + u32::from(self.syn) + u32::from(self.fin))
    }
}

type Read<'a> = Result<((IpAddress, IpAddress), &'a [u8]), String>;

/// Source, destination and payload of a whole IPv4 packet.
fn ipv4(bytes: &[u8]) -> Read<'_> {
    let ip = Ipv4Packet::new_checked(bytes).map_err(|_| "a cut IPv4 header")?;
    if !ip.verify_checksum() {
        return Err("a bad IPv4 checksum".into());
    }
    if usize::from(ip.total_len()) != bytes.len() {
        return Err(format!("{} bytes, but IPv4 speaks of {}", bytes.len(), ip.total_len()));
    }
    Ok(((IpAddress::Ipv4(ip.src_addr()), IpAddress::Ipv4(ip.dst_addr())), ip.payload()))
}

/// The same of IPv6.
fn ipv6(bytes: &[u8]) -> Read<'_> {
    let ip = Ipv6Packet::new_checked(bytes).map_err(|_| "a cut IPv6 header")?;
    if ip.next_header() != IpProtocol::Tcp {
        return Err(format!("IPv6 with the next header {}", ip.next_header()));
    }
    if ip.total_len() != bytes.len() {
        return Err(format!("{} bytes, but IPv6 speaks of {}", bytes.len(), ip.total_len()));
    }
    Ok(((IpAddress::Ipv6(ip.src_addr()), IpAddress::Ipv6(ip.dst_addr())), ip.payload()))
}

/// Whose address it is.
fn known_as(address: IpAddress) -> Result<[u8; 4], String> {
    match address {
        IpAddress::Ipv4(address) => Ok(address.octets()),
        IpAddress::Ipv6(address) => known(address.octets()),
    }
}

/// `a − b`, as sequence numbers differ.
pub(crate) fn distance(a: u32, b: u32) -> i32 {
    a.wrapping_sub(b) as i32
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, a, _, b] = self.source;
        let [_, c, _, d] = self.destination;
        write!(f, "{a}.{b}:{} > {c}.{d}:{} [", self.source_port, self.destination_port)?;
        for (set, letter) in [(self.syn, 'S'), (self.fin, 'F'), (self.rst, 'R'), (self.psh, 'P')] {
            if set {
                write!(f, "{letter}")?;
            }
        }
        write!(f, "{}] seq {}", if self.ack.is_some() { "." } else { "" }, self.seq)?;
        if self.len != 0 {
            write!(f, ":{}", self.end())?;
        }
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        write!(f, " win {}", self.window)?;
        if let Some(mss) = self.mss {
            write!(f, " mss {mss}")?;
        }
        if let Some(scale) = self.scale {
            write!(f, " wscale {scale}")?;
        }
        if let Some((val, ecr)) = self.timestamp {
            write!(f, " ts {val}/{ecr}")?;
        }
        for (left, right) in self.sacks.iter().flatten() {
            write!(f, " sack {left}:{right}")?;
        }
        if self.len != 0 { write!(f, " len {}", self.len) } else { Ok(()) }
    }
}
