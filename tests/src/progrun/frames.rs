//! Segments of one connection, made by etherparse.

use anyhow::{Context, Result, bail};
use etherparse::{EtherType, Ethernet2Header, IpNumber, Ipv4Header, SlicedPacket, TcpHeader, TcpOptionElement};
use etherparse::{NetSlice, TransportSlice};

use balancer_ebpf::net::{ACK, FIN, PSH, SYN};

use super::Link;

/// One direction of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    pub link: Link,
    pub from: ([u8; 4], u16),
    pub to: ([u8; 4], u16),
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

fn stamp(at: Numbers) -> [TcpOptionElement; 3] {
    use TcpOptionElement::{Noop, Timestamp};
    [Noop, Noop, Timestamp(at.tsval, at.tsecr)]
}

fn build(way: &Way, at: Numbers, flags: u8, options: &[TcpOptionElement], payload: &[u8]) -> Result<Vec<u8>> {
    let ((source, source_port), (destination, destination_port)) = (way.from, way.to);
    let mut tcp = TcpHeader::new(source_port, destination_port, at.seq, 500);
    let has = |flag: u8| flags & flag != 0;
    (tcp.fin, tcp.syn, tcp.psh, tcp.ack) = (has(FIN), has(SYN), has(PSH), has(ACK));
    tcp.acknowledgment_number = at.ack;
    tcp.set_options(options).context("TCP options")?;
    let len = tcp.header_len_u16() + payload.len() as u16;
    let mut ip = Ipv4Header::new(len, 64, IpNumber::TCP, source, destination).context("IPv4 header")?;
    ip.header_checksum = ip.calc_header_checksum();
    tcp.checksum = tcp.calc_checksum_ipv4(&ip, payload).context("TCP checksum")?;
    let ethernet =
        Ethernet2Header { source: way.link.peer_mac, destination: way.link.mac, ether_type: EtherType::IPV4 };
    let mut bytes = ethernet.to_bytes().to_vec();
    bytes.extend(ip.to_bytes());
    bytes.extend(tcp.to_bytes());
    bytes.extend(payload);
    Ok(bytes)
}

/// Whom a segment is for.
pub fn destination(bytes: &[u8]) -> Result<[u8; 4]> {
    let packet = SlicedPacket::from_ethernet(bytes).context("read the answer")?;
    match packet.net {
        Some(NetSlice::Ipv4(ip)) => Ok(ip.header().destination()),
        _ => bail!("the answer is not IPv4"),
    }
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
