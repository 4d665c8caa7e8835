//! Segments of one connection, made by etherparse.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, SlicedPacket, TcpHeader, TcpOptionElement,
};
use etherparse::{NetSlice, TransportSlice};

use balancer_ebpf::net::{ACK, FIN, PSH, RST, SYN};

use super::Link;

/// One direction of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub link: Link,
    pub from: SocketAddr,
    pub to: SocketAddr,
}

/// Sequence number, acknowledgement, and the timestamps.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub seq: u32,
    pub ack: u32,
    pub tsval: u32,
    pub tsecr: u32,
}

/// A SYN or SYN-ACK with the options of Linux.
pub fn greeting(way: &Way, at: Numbers) -> Result<Vec<u8>> {
    use TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
    let stamp = Timestamp(at.tsval, at.tsecr);
    let options = [MaximumSegmentSize(1460), SelectiveAcknowledgementPermitted, stamp, Noop, WindowScale(7)];
    build(way, at, if at.ack == 0 { SYN } else { SYN | ACK }, &options, &[])
}

/// A segment as nearly all are: with a timestamp.
pub fn segment(way: &Way, at: Numbers, payload: &[u8]) -> Result<Vec<u8>> {
    let flags = if payload.is_empty() { ACK } else { PSH | ACK };
    build(way, at, flags, &stamp(at), payload)
}

/// The segment that says that nothing more will come.
pub fn ending(way: &Way, at: Numbers) -> Result<Vec<u8>> {
    build(way, at, FIN | ACK, &stamp(at), &[])
}

/// The segment that says that its sender is gone.
pub fn reset(way: &Way, at: Numbers) -> Result<Vec<u8>> {
    build(way, at, RST | ACK, &stamp(at), &[])
}

fn stamp(at: Numbers) -> [TcpOptionElement; 3] {
    use TcpOptionElement::{Noop, Timestamp};
    [Noop, Noop, Timestamp(at.tsval, at.tsecr)]
}

fn build(way: &Way, at: Numbers, flags: u8, options: &[TcpOptionElement], payload: &[u8]) -> Result<Vec<u8>> {
    let mut tcp = TcpHeader::new(way.from.port(), way.to.port(), at.seq, 500);
    let has = |flag: u8| flags & flag != 0;
    (tcp.fin, tcp.syn, tcp.rst) = (has(FIN), has(SYN), has(RST));
    (tcp.psh, tcp.ack) = (has(PSH), has(ACK));
    tcp.acknowledgment_number = at.ack;
    tcp.set_options(options).context("TCP options")?;
    let frame = Envelope { macs: (way.link.peer_mac, way.link.mac), ttl: 64, id: 0, unfragmented: false };
    frame.around(way.from.ip(), way.to.ip(), tcp, payload)
}

/// What is around a TCP segment in a frame.
#[derive(Clone, Copy, Debug)]
pub struct Envelope {
    /// Source and destination.
    pub macs: ([u8; 6], [u8; 6]),
    /// Or hop limit.
    pub ttl: u8,
    /// The identification; of IPv6, which has none, the flow label and in its lower half the traffic class.
    pub id: u16,
    /// Of IPv4 only: it may not be fragmented.
    pub unfragmented: bool,
}

impl Envelope {
    /// The frame, with right checksums.
    pub fn around(self, source: IpAddr, destination: IpAddr, mut tcp: TcpHeader, payload: &[u8]) -> Result<Vec<u8>> {
        let len = tcp.header_len_u16() + payload.len() as u16;
        let (ether_type, header) = match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let (source, destination) = (source.octets(), destination.octets());
                let mut ip =
                    Ipv4Header::new(len, self.ttl, IpNumber::TCP, source, destination).context("IPv4 header")?;
                ip.identification = self.id;
                ip.dont_fragment = self.unfragmented;
                ip.header_checksum = ip.calc_header_checksum();
                tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).context("TCP checksum")?;
                (EtherType::IPV4, ip.to_bytes().to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ip = Ipv6Header {
                    traffic_class: self.id as u8,
                    flow_label: u32::from(self.id).try_into().context("flow label")?,
                    payload_length: len,
                    next_header: IpNumber::TCP,
                    hop_limit: self.ttl,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                tcp.checksum = tcp.calc_checksum_ipv6(&ip, payload).context("TCP checksum")?;
                (EtherType::IPV6, ip.to_bytes().to_vec())
            }
            _ => bail!("{source} and {destination} are of two families"),
        };
        let ethernet = Ethernet2Header { source: self.macs.0, destination: self.macs.1, ether_type };
        Ok([&ethernet.to_bytes()[..], &header, &tcp.to_bytes(), payload].concat())
    }
}

/// Whom a segment is from, and whom it is for.
pub fn addresses(bytes: &[u8]) -> Result<(IpAddr, IpAddr)> {
    let packet = SlicedPacket::from_ethernet(bytes).context("read the answer")?;
    match packet.net {
        Some(NetSlice::Ipv4(ip)) => Ok((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        Some(NetSlice::Ipv6(ip)) => Ok((ip.header().source_addr().into(), ip.header().destination_addr().into())),
        _ => bail!("the answer is no IP packet"),
    }
}

/// What the answer to a SYN acknowledges, if it is about another connection (RFC 5961, section 4).
pub fn challenge(bytes: &[u8]) -> Result<Option<u32>> {
    let packet = SlicedPacket::from_ethernet(bytes).context("read the answer")?;
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { bail!("the answer is no TCP segment") };
    Ok((!tcp.syn()).then(|| tcp.acknowledgment_number()))
}

/// What the other side has to know of a segment: its numbers and source port.
pub fn read(bytes: &[u8]) -> Result<(Numbers, u16)> {
    let packet = SlicedPacket::from_ethernet(bytes).context("read the answer")?;
    let Some(TransportSlice::Tcp(tcp)) = packet.transport else { bail!("the answer is no TCP segment") };
    let stamp = tcp.options_iterator().find_map(|option| match option {
        Ok(TcpOptionElement::Timestamp(val, ecr)) => Some((val, ecr)),
        _ => None,
    });
    let (tsval, tsecr) = stamp.context("the answer has no timestamp")?;
    Ok((Numbers { seq: tcp.sequence_number(), ack: tcp.acknowledgment_number(), tsval, tsecr }, tcp.source_port()))
}
