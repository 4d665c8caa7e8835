//! Over IPv6: what of the data path is the family's.

use etherparse::{
    Icmpv6Header, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv6Header, NetSlice, SlicedPacket, TcpHeader, TransportSlice,
};

use super::rig::*;
use crate::net::{ACK, IPV6_BASE};
use crate::testing::{CLASS, LABEL, SOURCE, Tcp, VIP, VecFrame, six};
use crate::verdict::Verdict;

const CLIENT: [u8; 4] = [10, 0, 1, 77];
const ROUTER: [u8; 4] = [192, 0, 2, 1];

/// Class and label of an IPv6 frame.
fn class_and_label(frame: &[u8]) -> (u8, u32) {
    let packet = SlicedPacket::from_ethernet(frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6: {frame:?}") };
    (ip.header().traffic_class(), ip.header().flow_label().value())
}

/// N8: the second request goes to another backend, so another leg is opened, and the first one is reset.
#[test]
fn a_connection_is_served_and_rebound() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served_over_ipv6(hook);
        let (request, answer) = (get(""), response("", 700));
        rig.says(client, &request, director);
        assert_eq!(rig.verdict, Verdict::RequestSame, "{hook:?}");
        let out = rig.answers(index, director, &answer, client + len(&request));
        assert_eq!(data(&out), answer);
        assert_eq!(rig.flow().key.vip, six(VIP));
        assert_eq!((rig.flow().leg.source, rig.flow().leg.address), (six(SOURCE), six([10, 0, 2, index])));
    }
}

/// Traffic class, with ECN in it, and flow label stay what they were.
#[test]
fn what_is_translated_keeps_its_class_and_label() {
    for hook in HOOKS {
        let (rig, index, client, director) = Rig::served_over_ipv6(hook);
        let (mut rig, request) = (rig, get(""));
        rig.says(client, &request, director);
        let (seq, ack) = rig.wire(client + len(&request), director);
        let tcp = Tcp {
            source: ([10, 0, 2, index], 8080),
            destination: (SOURCE, rig.leg_port),
            seq: ack,
            ack: seq.wrapping_add(rig.flow().leg.to_leg),
            flags: ACK,
            window: 500,
            ..Tcp::default()
        };
        let mut frame = VecFrame::new(tcp.frame6());
        frame.can_grow = hook == Hook::Tc;
        assert_eq!(rig.direct(&mut frame), Verdict::ToClient);
        assert_eq!(class_and_label(&frame.bytes), (CLASS, LABEL));
        assert_eq!(Tcp::read(&frame.bytes).destination, (CLIENT, rig.client_port));
    }
}

/// "Packet too big" about a segment, as a router says it (RFC 4443, section 3.2): as much of it as fits 1280 bytes.
fn message(tcp: &Tcp, mtu: u32) -> Vec<u8> {
    let quoted = &tcp.frame6()[14..];
    let quoted = &quoted[..quoted.len().min(1280 - 48)];
    let [source, destination] = [ROUTER, tcp.source.0].map(|address| six(address).into());
    let icmp = Icmpv6Type::PacketTooBig { mtu };
    let icmp = Icmpv6Header::with_checksum(icmp, source, destination, quoted).unwrap();
    let ip = Ipv6Header {
        payload_length: (icmp.header_len() + quoted.len()) as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: 60,
        source,
        destination,
        ..Ipv6Header::default()
    };
    let mut bytes = vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0x86, 0xdd];
    ip.write(&mut bytes).unwrap();
    icmp.write(&mut bytes).unwrap();
    bytes.extend_from_slice(quoted);
    bytes
}

/// Who says it and to whom; the MTU; source, destination and number of the quoted segment. Panics where the checksum is wrong.
type Told = ([u8; 4], [u8; 4], u32, ([u8; 4], u16), ([u8; 4], u16), u32);

fn read(bytes: &[u8]) -> Told {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("not IPv6: {bytes:?}") };
    let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("not ICMPv6: {bytes:?}") };
    let outer = ip.header().to_header();
    assert!(Icmpv6Slice::from_slice(icmp.slice()).unwrap().is_checksum_valid(outer.source, outer.destination));
    let Icmpv6Type::PacketTooBig { mtu } = icmp.icmp_type() else { panic!("another message: {:?}", icmp.icmp_type()) };
    let (quoted, rest) = Ipv6Header::from_slice(icmp.payload()).unwrap();
    let (tcp, _) = TcpHeader::from_slice(rest).unwrap();
    let known = |address: [u8; 16]| {
        let [.., a, b, c, d] = address;
        assert_eq!(<[u8; 16]>::from(six([a, b, c, d])), address);
        [a, b, c, d]
    };
    let ends = [(quoted.source, tcp.source_port), (quoted.destination, tcp.destination_port)];
    let [source, destination] = ends.map(|(address, port)| (known(address), port));
    (known(outer.source), known(outer.destination), mtu, source, destination, tcp.sequence_number)
}

/// N20.
#[test]
fn too_big_is_told_in_the_senders_numbers() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served_over_ipv6(hook);
        let request = get("");
        rig.says(client, &request, director);
        rig.answers(index, director, &response("", 2000)[..1400], client + len(&request));
        let (backend, leg) = (([10, 0, 2, index], 8080), (SOURCE, rig.leg_port));
        for (mtu, mss) in [(1400, 1340), (1280, 1220), (600, 1220)] {
            let (source, destination) = ((VIP, 80), (CLIENT, rig.client_port));
            let (_, number) = rig.wire(0, director);
            let seen = number.wrapping_add(rig.flow().leg.to_client);
            let tcp = Tcp { source, destination, seq: seen, flags: ACK, payload: vec![b'x'; 1300], ..Tcp::default() };
            let mut frame = VecFrame::new(message(&tcp, mtu));
            frame.can_grow = hook == Hook::Tc;
            assert_eq!(rig.direct(&mut frame), Verdict::TooBigToClient, "{mtu}");
            assert_eq!(read(&frame.bytes), (SOURCE, backend.0, mtu, backend, leg, number));
            assert_eq!(rig.flow().client_mss, mss, "{mtu}");
        }
        // Of nothing that is under way, and of no TCP.
        let tcp =
            Tcp { source: (VIP, 80), destination: (CLIENT, rig.client_port), payload: vec![0; 900], ..Tcp::default() };
        assert_eq!(rig.verdict_of(message(&tcp, 1280)), Verdict::TooBigStray);
        for (what, at, value) in [("another type", 54, 1), ("a quote of UDP", 68, 17), ("no whole quote", 19, 50)] {
            let mut bytes = message(&tcp, 1280);
            bytes[at] = value;
            if at == 19 {
                bytes[18] = 0;
            }
            assert_eq!(rig.verdict_of(bytes), Verdict::NotOurs, "{what}");
        }
        // Neighbours are asked for by the same protocol.
        let mut solicitation = message(&tcp, 1280);
        solicitation[54] = 135;
        assert_eq!(rig.verdict_of(solicitation), Verdict::NotOurs);
    }
}

/// N21.
#[test]
fn extension_headers_have_a_rule_each() {
    let syn = Tcp { source: (CLIENT, 5), destination: (VIP, 80), flags: crate::net::SYN, ..Tcp::default() };
    let behind = |kinds: &[(u8, [u8; 8])], last: u8| {
        let mut bytes = syn.frame6();
        bytes[20] = last;
        for (kind, header) in kinds.iter().rev() {
            let next = std::mem::replace(&mut bytes[20], *kind);
            bytes.splice(54..54, *header);
            bytes[54] = next;
            bytes[19] += 8;
        }
        bytes
    };
    const PLAIN: [u8; 8] = [0, 0, 1, 4, 0, 0, 0, 0];
    const MORE: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 9];
    const OFFSET: [u8; 8] = [0, 0, 5, 0, 0, 0, 0, 9];
    // The two bits between the offset and the last one mean nothing (RFC 8200, section 4.5).
    const ATOMIC: [u8; 8] = [0, 7, 0, 6, 0, 0, 0, 9];
    for hook in HOOKS {
        let mut rig = Rig::new(hook);
        for (what, kinds, last, verdict) in [
            ("hop-by-hop", &[(0, PLAIN)][..], 6, Verdict::ExtensionHeaders),
            ("two kinds", &[(0, PLAIN), (60, PLAIN)], 6, Verdict::ExtensionHeaders),
            ("routing", &[(43, PLAIN)], 6, Verdict::ExtensionHeaders),
            ("a first fragment", &[(44, MORE)], 6, Verdict::Fragment),
            ("a later fragment", &[(44, OFFSET)], 6, Verdict::Fragment),
            ("a later fragment of options", &[(44, OFFSET)], 60, Verdict::Fragment),
            ("an atomic fragment", &[(44, ATOMIC)], 6, Verdict::AtomicFragment),
            ("an atomic fragment with options", &[(44, ATOMIC), (60, PLAIN)], 6, Verdict::AtomicFragment),
            ("a fragment of UDP", &[(44, MORE)], 17, Verdict::NotOurs),
            ("options before UDP", &[(0, PLAIN), (60, PLAIN)], 17, Verdict::NotOurs),
            ("an end without anything", &[(60, PLAIN)], 59, Verdict::NotOurs),
            ("seven of them", &[(60, PLAIN); 7], 17, Verdict::ExtensionHeaders),
            ("six of them", &[(60, PLAIN); 6], 17, Verdict::NotOurs),
        ] {
            assert_eq!(rig.verdict_of(behind(kinds, last)), verdict, "{what}");
        }
        let mut tagged = VecFrame::new(syn.frame6());
        tagged.tagged = true;
        assert_eq!(rig.direct(&mut tagged), Verdict::Tagged);
        assert_eq!(tagged.bytes, syn.frame6());
    }
    assert_eq!(IPV6_BASE, 20);
}
