//! One end of a connection with the director, and frames as a bystander makes and reads them.

use std::net::{IpAddr, SocketAddr};

use balancer_ebpf::net::{ACK, FIN, PSH, RST, SYN};
use etherparse::{
    EtherType, Ethernet2Header, IpNumber, Ipv4Header, Ipv6Header, NetSlice, SlicedPacket, TcpHeader, TcpOptionElement,
    TransportSlice,
};

/// Options of a SYN, by bits.
pub const TIMESTAMPS: u8 = 1;
pub const SACK: u8 = 2;
pub const SCALE: u8 = 4;
pub const SIZE: u8 = 8;

/// What an end knows.
#[derive(Clone, Debug)]
pub struct End {
    pub address: SocketAddr,
    pub peer: SocketAddr,
    /// What it sends next, and what it expects next.
    pub next: u32,
    pub heard: u32,
    /// Its clock, and the latest one that it has seen.
    pub clock: u32,
    pub seen: u32,
    pub options: u8,
}

impl End {
    pub fn new(address: SocketAddr, peer: SocketAddr, isn: u32) -> Self {
        Self { address, peer, next: isn, heard: 0, clock: isn >> 3, seen: 0, options: 0 }
    }

    /// A segment of its own.
    pub fn frame(&mut self, flags: u8, seq: u32, ack: u32, data: &[u8]) -> Vec<u8> {
        use TcpOptionElement::{MaximumSegmentSize, Noop, SelectiveAcknowledgementPermitted, Timestamp, WindowScale};
        self.clock = self.clock.wrapping_add(1);
        let mut options = vec![];
        let has = |bit: u8| self.options & bit != 0;
        if flags & SYN != 0 {
            options.extend(has(SIZE).then_some(MaximumSegmentSize(1460)));
            options.extend(has(SACK).then_some(SelectiveAcknowledgementPermitted));
            options.extend(has(SCALE).then_some(WindowScale(7)));
        } else if has(TIMESTAMPS) {
            options.extend([Noop, Noop]);
        }
        options.extend(has(TIMESTAMPS).then_some(Timestamp(self.clock, self.seen)));
        let mut tcp = TcpHeader::new(self.address.port(), self.peer.port(), seq, 5000);
        tcp.acknowledgment_number = ack;
        (tcp.fin, tcp.syn, tcp.rst) = (flags & FIN != 0, flags & SYN != 0, flags & RST != 0);
        (tcp.psh, tcp.ack) = (flags & PSH != 0, flags & ACK != 0);
        tcp.set_options(&options).expect("options fit a header");
        frame(self.address.ip(), self.peer.ip(), tcp, data)
    }

    /// The director's segment comes here.
    pub fn hears(&mut self, segment: &Seen) {
        if let Some(clock) = segment.clock {
            self.seen = clock;
        }
        if segment.has(SYN) || segment.end().wrapping_sub(self.heard) < 1 << 30 {
            self.heard = segment.end();
        }
    }
}

/// A frame with right checksums.
fn frame(source: IpAddr, destination: IpAddr, mut tcp: TcpHeader, data: &[u8]) -> Vec<u8> {
    let len = tcp.header_len_u16() + data.len() as u16;
    let (ether_type, ip) = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut ip = Ipv4Header::new(len, 64, IpNumber::TCP, source.octets(), destination.octets()).expect("short");
            ip.header_checksum = ip.calc_header_checksum();
            tcp.checksum = tcp.calc_checksum_ipv4(&ip, data).expect("short");
            (EtherType::IPV4, ip.to_bytes().to_vec())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let ip = Ipv6Header {
                payload_length: len,
                next_header: IpNumber::TCP,
                hop_limit: 64,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            tcp.checksum = tcp.calc_checksum_ipv6(&ip, data).expect("short");
            (EtherType::IPV6, ip.to_bytes().to_vec())
        }
        _ => unreachable!("both ends are of one family"),
    };
    let ethernet = Ethernet2Header { source: [2; 6], destination: [4; 6], ether_type };
    [&ethernet.to_bytes()[..], &ip, &tcp.to_bytes(), data].concat()
}

/// Makes the checksums of a frame right, if it has any.
pub fn mend(bytes: &mut [u8]) {
    let Some((at, tcp, ip)) = right(bytes) else { return };
    if let Some(field) = bytes.get_mut(at + 16..at + 18) {
        field.copy_from_slice(&tcp.to_be_bytes());
    }
    if let Some(ip) = ip {
        bytes[24..26].copy_from_slice(&ip.to_be_bytes());
    }
}

/// Where the TCP header of a frame begins, which checksum it has to have, and which one an IPv4 header.
fn right(bytes: &[u8]) -> Option<(usize, u16, Option<u16>)> {
    let packet = SlicedPacket::from_ethernet(bytes).ok()?;
    let TransportSlice::Tcp(tcp) = packet.transport? else { return None };
    let (header, data) = (tcp.to_header(), tcp.payload());
    match packet.net? {
        NetSlice::Ipv4(ip) => {
            let ip = ip.header().to_header();
            let sum = header.calc_checksum_ipv4(&ip, data).ok()?;
            Some((14 + ip.header_len(), sum, Some(ip.calc_header_checksum())))
        }
        NetSlice::Ipv6(ip) if ip.extensions().is_empty() => {
            Some((54, header.calc_checksum_ipv6(&ip.header().to_header(), data).ok()?, None))
        }
        _ => None,
    }
}

/// A segment that left.
#[derive(Debug)]
pub struct Seen {
    pub source: SocketAddr,
    pub destination: SocketAddr,
    pub flags: u8,
    seq: u32,
    clock: Option<u32>,
    len: u32,
}

impl Seen {
    pub const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The number behind it.
    const fn end(&self) -> u32 {
        self.seq.wrapping_add(self.len + self.has(SYN) as u32 + self.has(FIN) as u32)
    }

    /// Reads a frame. What is not whole, or has a wrong checksum, is an error, unless it came with one.
    pub fn of(bytes: &[u8], sound: bool) -> Result<Self, String> {
        let packet = SlicedPacket::from_ethernet(bytes).map_err(|why| why.to_string())?;
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { return Err("no TCP".into()) };
        let header = tcp.to_header();
        let (source, destination, behind): (IpAddr, IpAddr, usize) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => {
                let ip = ip.header();
                (ip.source_addr().into(), ip.destination_addr().into(), 14 + usize::from(ip.total_len()))
            }
            Some(NetSlice::Ipv6(ip)) => {
                let ip = ip.header();
                (ip.source_addr().into(), ip.destination_addr().into(), 54 + usize::from(ip.payload_length()))
            }
            _ => return Err("no IP".into()),
        };
        if sound && behind != bytes.len() {
            return Err(format!("{} bytes, of which its headers tell {behind}", bytes.len()));
        }
        let mut mended = bytes.to_vec();
        mend(&mut mended);
        if sound && mended != bytes {
            return Err("a wrong checksum".into());
        }
        let clock = tcp.options_iterator().find_map(|option| match option {
            Ok(TcpOptionElement::Timestamp(clock, _)) => Some(clock),
            _ => None,
        });
        let bits = [(header.fin, FIN), (header.syn, SYN), (header.rst, RST), (header.psh, PSH), (header.ack, ACK)];
        Ok(Self {
            source: SocketAddr::new(source, header.source_port),
            destination: SocketAddr::new(destination, header.destination_port),
            flags: bits.iter().filter(|(set, _)| *set).map(|(_, bit)| bit).sum(),
            seq: header.sequence_number,
            clock,
            len: tcp.payload().len() as u32,
        })
    }
}
