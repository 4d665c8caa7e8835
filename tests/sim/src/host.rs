//! A host at an end: smoltcp's TCP, with an Ethernet header put on and taken off at its edge.
//!
//! Each connection has a socket set of its own. So a port that comes back finds the old connection's TIME-WAIT where the
//! host wants it, and not where smoltcp's order of sockets happens to put it.

use std::cell::Cell;
use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{self, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber,
};

use crate::monitor::Monitor;
use crate::packet::{ETHERNET, View, distance};
use crate::plan::Stack;
use crate::wire::Family;

/// Microseconds that a segment may be under way, with what it makes others send.
pub(crate) const LATE: u64 = 5_000_000;

/// Microseconds after which nobody keeps a connection alive any more, or the world would never end.
const KEPT_ALIVE: u64 = 20_000_000;

thread_local! {
    /// The timestamp clock of the host that is being polled: smoltcp asks a plain function for it.
    static CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// One connection of a host.
pub(crate) struct Connection {
    pub(crate) sockets: SocketSet<'static>,
    handle: SocketHandle,
    pub(crate) monitor: Monitor,
    /// When an event is under way that will look after it.
    pub(crate) timer: Option<u64>,
    /// Until when late segments of an older connection of the same port may come, which no monitor understands.
    pub(crate) wary_until: u64,
    /// Since when its application has been done with it.
    pub(crate) orphaned: Option<u64>,
}

impl Connection {
    pub(crate) fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }
}

/// A host.
pub(crate) struct Host {
    pub(crate) address: [u8; 4],
    family: Family,
    pub(crate) mac: [u8; 6],
    /// The director's address on this link.
    pub(crate) gateway: [u8; 6],
    pub(crate) stack: Stack,
    /// What its timestamps run ahead of time.
    clock: u32,
    wire: Wire,
    interface: Interface,
    /// No sockets: what answers for connections that are not there.
    nobody: SocketSet<'static>,
}

impl Host {
    pub(crate) fn new(
        family: Family,
        address: [u8; 4],
        mac: [u8; 6],
        gateway: [u8; 6],
        stack: Stack,
        seed: u64,
    ) -> Self {
        let mut wire = Wire { incoming: VecDeque::new(), outgoing: Vec::new(), mtu: stack.mtu };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(family.ip(address), 8));
        });
        let nobody = SocketSet::new([]);
        Self { address, family, mac, gateway, stack, clock: (seed >> 32) as u32, wire, interface, nobody }
    }

    fn connection(&self) -> Connection {
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; self.stack.receive]),
            tcp::SocketBuffer::new(vec![0; self.stack.send]),
        );
        socket.set_nagle_enabled(self.stack.nagle);
        socket.set_ack_delay(self.stack.ack_delay.map(Duration::from_millis));
        socket.set_keep_alive(self.stack.keep_alive.map(Duration::from_millis));
        if self.stack.timestamps {
            socket.set_tsval_generator(Some(|| CLOCK.get()));
        }
        let mut sockets = SocketSet::new([]);
        let handle = sockets.add(socket);
        Connection { sockets, handle, monitor: Monitor::default(), timer: None, wary_until: 0, orphaned: None }
    }

    /// A connection that waits for a SYN.
    pub(crate) fn listen(&self, port: u16) -> Connection {
        let mut connection = self.connection();
        connection.socket().listen(port).expect("a fresh socket listens");
        connection
    }

    /// A connection that is being opened.
    pub(crate) fn connect(&mut self, from: u16, to: ([u8; 4], u16)) -> Connection {
        let mut connection = self.connection();
        let socket = connection.sockets.get_mut::<tcp::Socket<'static>>(connection.handle);
        socket.connect(self.interface.context(), (self.family.ip(to.0), to.1), from).expect("a fresh socket connects");
        connection
    }

    /// Its timestamp clock.
    pub(crate) fn clock(&self, now: u64) -> u32 {
        self.clock.wrapping_add((now / 1000) as u32)
    }

    /// Gives a frame to a connection, or to nobody, who resets it.
    pub(crate) fn input(&mut self, now: u64, connection: Option<&mut Connection>, frame: &[u8]) {
        CLOCK.set(self.clock(now));
        let mut packet = frame[ETHERNET..].to_vec();
        self.leave_out(&mut packet);
        if let Some(acked) = connection.as_ref().and_then(|connection| connection.monitor.acked()) {
            lift(self.family, &mut packet, acked);
        }
        self.wire.incoming.push_back(packet);
        let sockets = connection.map_or(&mut self.nobody, |connection| &mut connection.sockets);
        self.interface.poll_ingress_single(instant(now), &mut self.wire, sockets);
        self.wire.incoming.clear();
    }

    /// Lets a connection send what it has to send.
    pub(crate) fn output(&mut self, now: u64, connection: &mut Connection) {
        CLOCK.set(self.clock(now));
        // Behind a FIN smoltcp's question is one that smoltcp answers by a RST.
        if now > KEPT_ALIVE || !connection.socket().may_send() {
            connection.socket().set_keep_alive(None);
        }
        self.interface.poll_egress(instant(now), &mut self.wire, &mut connection.sockets);
    }

    /// Answers a SYN to a connection that is open with a bare acknowledgement (RFC 5961, section 4.2), as everybody does but
    /// smoltcp, which says nothing.
    pub(crate) fn challenge(&mut self, syn: &View, (seq, ack): (u32, u32)) {
        let tcp = TcpRepr {
            src_port: syn.destination_port,
            dst_port: syn.source_port,
            control: TcpControl::None,
            seq_number: TcpSeqNumber(seq as i32),
            ack_number: Some(TcpSeqNumber(ack as i32)),
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let (source, destination) = (self.family.ip(syn.destination), self.family.ip(syn.source));
        let ip = IpRepr::new(source, destination, IpProtocol::Tcp, tcp.buffer_len(), 64);
        let mut packet = vec![0; ip.buffer_len()];
        let sums = ChecksumCapabilities::default();
        ip.emit(&mut packet[..], &sums);
        let header = self.family.header();
        tcp.emit(&mut TcpPacket::new_unchecked(&mut packet[header..]), &source, &destination, &sums);
        self.wire.outgoing.push(packet);
    }

    /// When the connection has to be looked after again.
    pub(crate) fn next(&mut self, now: u64, connection: &Connection) -> Option<u64> {
        let at = self.interface.poll_at(instant(now), &connection.sockets)?;
        // A stack that wants something at once and does not do it would stop virtual time.
        Some((at.total_micros().max(0) as u64).max(now + 100))
    }

    /// Whether smoltcp has forgotten a connection: something that it sent is not acknowledged, and no timer runs. It happens
    /// after three equal acknowledgements, of a full window or of a lone FIN.
    pub(crate) fn has_forgotten(&mut self, now: u64, connection: &mut Connection) -> bool {
        let socket = connection.socket();
        let unsaid = matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck);
        (unsaid || socket.send_queue() != 0) && self.next(now, connection).is_none()
    }

    /// The frames that were sent since the last call.
    pub(crate) fn take(&mut self) -> Vec<Vec<u8>> {
        let packets = std::mem::take(&mut self.wire.outgoing);
        packets.into_iter().map(|packet| self.wrap(packet)).collect()
    }

    fn wrap(&self, mut packet: Vec<u8>) -> Vec<u8> {
        self.leave_out(&mut packet);
        if self.stack.nops {
            lay_out(self.family, &mut packet);
        }
        let mut frame = Vec::with_capacity(ETHERNET + packet.len());
        frame.extend_from_slice(&self.gateway);
        frame.extend_from_slice(&self.mac);
        frame.extend_from_slice(&self.family.ethertype());
        frame.append(&mut packet);
        frame
    }
}

impl Host {
    /// Makes of a SYN what one is that does not speak of what the host does not know. smoltcp knows it all.
    fn leave_out(&self, packet: &mut [u8]) {
        let (source, destination) = ends(self.family, packet);
        let mut tcp = TcpPacket::new_unchecked(&mut packet[self.family.header()..]);
        if !tcp.syn() {
            return;
        }
        let options = tcp.options_mut();
        let mut at = 0;
        while at + 1 < options.len() {
            let len = match options[at] {
                0 => break,
                1 => 1,
                _ => usize::from(options[at + 1]).max(2),
            };
            let known = match options[at] {
                3 => self.stack.scale,
                4 => self.stack.sack,
                _ => true,
            };
            if !known {
                options[at..at + len].fill(1);
            }
            at += len;
        }
        tcp.fill_checksum(&source, &destination);
    }
}

/// Lifts an old acknowledgement of a segment with data. smoltcp drops such a segment as a whole; everybody else takes the
/// data (RFC 9293, section 3.10.7.4, fifth), and it is the director's right to acknowledge earlier than the backend. Its window
/// begins where the old acknowledgement is, so it gets the later one's.
fn lift(family: Family, packet: &mut [u8], (acked, window): (u32, u16)) {
    let (source, destination) = ends(family, packet);
    let mut tcp = TcpPacket::new_unchecked(&mut packet[family.header()..]);
    let old = tcp.ack() && distance(tcp.ack_number().0 as u32, acked) < 0;
    if old && tcp.segment_len() != 0 && !tcp.rst() {
        tcp.set_ack_number(TcpSeqNumber(acked as i32));
        tcp.set_window_len(window);
        tcp.fill_checksum(&source, &destination);
    }
}

/// Moves a lone timestamp behind two NOPs.
fn lay_out(family: Family, packet: &mut [u8]) {
    let (source, destination) = ends(family, packet);
    let tcp = &mut packet[family.header()..];
    let plain = tcp[12] >> 4 == 8 && tcp[20..22] == [8, 10] && tcp[30..32] == [0, 0];
    if plain {
        tcp.copy_within(20..30, 22);
        tcp[20..22].fill(1);
        TcpPacket::new_unchecked(tcp).fill_checksum(&source, &destination);
    }
}

/// Source and destination of a packet.
fn ends(family: Family, packet: &[u8]) -> (IpAddress, IpAddress) {
    match family {
        Family::V4 => {
            let ip = Ipv4Packet::new_unchecked(packet);
            (IpAddress::Ipv4(ip.src_addr()), IpAddress::Ipv4(ip.dst_addr()))
        }
        Family::V6 => {
            let ip = Ipv6Packet::new_unchecked(packet);
            (IpAddress::Ipv6(ip.src_addr()), IpAddress::Ipv6(ip.dst_addr()))
        }
    }
}

fn instant(now: u64) -> Instant {
    Instant::from_micros(now as i64)
}

/// The device: what came, and what leaves.
struct Wire {
    incoming: VecDeque<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
    mtu: usize,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.incoming.pop_front()?;
        Some((Received(packet), Sending(&mut self.outgoing)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}
