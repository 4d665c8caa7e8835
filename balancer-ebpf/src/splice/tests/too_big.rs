//! Routers that say that packets have to be smaller, to whoever can make them so.

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Header, Icmpv4Type, IpNumber, Ipv4Header, NetSlice, SlicedPacket, TcpHeader, TransportSlice};

use super::rig::*;
use crate::layout::FLOW_SPLICED;
use crate::testing::{SOURCE, Tcp, VIP};
use crate::verdict::Verdict;

const ROUTER: [u8; 4] = [192, 0, 2, 1];

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Who says it, and to whom.
    by: [u8; 4],
    to: [u8; 4],
    mtu: u16,
    /// The segment that it quotes.
    source: ([u8; 4], u16),
    destination: ([u8; 4], u16),
    seq: u32,
}

/// A message that quotes a segment, as Linux makes it: the first 548 bytes.
pub(super) fn message(tcp: &Tcp, mtu: u16) -> Vec<u8> {
    let quoted = &tcp.frame()[14..562];
    let unreachable = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
    let icmp = Icmpv4Header::with_checksum(Icmpv4Type::DestinationUnreachable(unreachable), quoted);
    let length = (icmp.header_len() + quoted.len()) as u16;
    let mut ip = Ipv4Header::new(length, 60, IpNumber::ICMP, ROUTER, tcp.source.0).unwrap();
    ip.header_checksum = ip.calc_header_checksum();
    let mut bytes = vec![1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0];
    ip.write(&mut bytes).unwrap();
    icmp.write(&mut bytes).unwrap();
    bytes.extend_from_slice(quoted);
    bytes
}

/// Reads one; panics where a checksum is wrong.
pub(super) fn read(bytes: &[u8]) -> Told {
    let packet = SlicedPacket::from_ethernet(bytes).unwrap();
    let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("not IPv4: {bytes:?}") };
    let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else { panic!("not ICMP: {bytes:?}") };
    let outer = ip.header().to_header();
    assert_eq!(outer.header_checksum, outer.calc_header_checksum(), "the outer IPv4 header's checksum");
    assert_eq!(icmp.header().checksum, icmp.header().icmp_type.calc_checksum(icmp.payload()), "the ICMP checksum");
    let Icmpv4Type::DestinationUnreachable(DestUnreachableHeader::FragmentationNeeded { next_hop_mtu }) =
        icmp.icmp_type()
    else {
        panic!("another message: {:?}", icmp.icmp_type())
    };
    let (quoted, rest) = Ipv4Header::from_slice(icmp.payload()).unwrap();
    assert_eq!(quoted.header_checksum, quoted.calc_header_checksum(), "the quoted IPv4 header's checksum");
    let (tcp, _) = TcpHeader::from_slice(rest).unwrap();
    Told {
        by: outer.source,
        to: outer.destination,
        mtu: next_hop_mtu,
        source: (quoted.source, tcp.source_port),
        destination: (quoted.destination, tcp.destination_port),
        seq: tcp.sequence_number,
    }
}

/// A flow whose response of two segments is on its way to the client: where that begins.
fn answering(hook: Hook) -> (Rig, u8, i64) {
    let (mut rig, index, client, director) = Rig::served(hook);
    let request = get("");
    rig.says(client, &request, director);
    let answer = response("", 2000);
    rig.answers(index, director, &answer[..1400], client + len(&request));
    rig.answers(index, director + 1400, &answer[1400..], client + len(&request));
    assert_eq!(rig.verdict, Verdict::ToClient);
    (rig, index, director)
}

/// N20.
#[test]
fn the_backend_is_told_of_a_small_link_of_the_clients() {
    for hook in HOOKS {
        let (mut rig, index, director) = answering(hook);
        let told = rig.too_big_for_client(director + 1400, 1280).unwrap();
        assert_eq!(rig.verdict, Verdict::TooBigToClient);
        let backend = ([10, 0, 2, index], 8080);
        let leg = (SOURCE, rig.leg_port);
        let seq = rig.wire(0, director + 1400).1;
        assert_eq!(told, Told { by: SOURCE, to: backend.0, mtu: 1280, source: backend, destination: leg, seq });
        assert_eq!(rig.flow().client_mss, 1240);
    }
}

/// N20.
#[test]
fn the_client_is_told_of_a_small_link_of_a_backends() {
    for hook in HOOKS {
        let (mut rig, index, client, director) = Rig::served(hook);
        let request = post(2000);
        rig.says(client, &request[..1400], director);
        rig.says(client + 1400, &request[1400..], director);
        let told = rig.too_big_for_backend(index, client, 1280).unwrap();
        assert_eq!(rig.verdict, Verdict::TooBigToBackend);
        let (source, port) = (told.source.0, rig.client_port);
        let seq = rig.wire(client, 0).0;
        assert_eq!(told, Told { by: VIP, to: source, mtu: 1280, source: (source, port), destination: (VIP, 80), seq });
        // What the director itself sends is smaller too: the timestamp takes twelve bytes.
        assert_eq!(rig.flow().leg.mss, 1228);
    }
}

#[test]
fn what_is_not_under_way_is_nobodys_news() {
    for hook in HOOKS {
        let (mut rig, index, director) = answering(hook);
        let mss = (rig.flow().client_mss, rig.flow().leg.mss);
        let end = director + len(&response("", 2000));
        for of in [director - 1, end, end + 100_000] {
            assert_eq!(rig.too_big_for_client(of, 1280), None, "{of}");
            assert_eq!(rig.verdict, Verdict::TooBigStray, "{of}");
        }
        for of in [-1, 1_000_000] {
            assert_eq!(rig.too_big_for_backend(index, of, 1280), None, "{of}");
            assert_eq!(rig.verdict, Verdict::TooBigStray, "{of}");
        }
        assert_eq!((rig.flow().client_mss, rig.flow().leg.mss), mss);
        assert_eq!(rig.flow().state, FLOW_SPLICED);
    }
}

#[test]
fn an_absurd_mtu_does_not_make_the_directors_segments_absurd() {
    for (mtu, mss) in [(0, 536), (68, 536), (576, 536), (1500, 1460), (9000, 1460)] {
        let (mut rig, _, director) = answering(Hook::Tc);
        assert_eq!(rig.too_big_for_client(director, mtu).unwrap().mtu, mtu);
        assert_eq!(rig.flow().client_mss, mss, "{mtu}");
    }
}

#[test]
fn messages_about_others_are_the_hosts() {
    for hook in HOOKS {
        let (mut rig, index, _) = answering(hook);
        let backend = ([10, 0, 2, index], 8080);
        let leg_port = rig.leg_port;
        for (what, source, destination) in [
            ("a client's port without a flow", (VIP, 80), ([10, 0, 1, 77], 1)),
            ("a port without a leg", (SOURCE, leg_port + 1), backend),
            ("a port that no leg has", (SOURCE, 80), backend),
            ("somebody else", ([198, 51, 100, 1], 80), backend),
        ] {
            let tcp = Tcp { source, destination, payload: vec![0; 900], ..Tcp::default() };
            assert_eq!(rig.verdict_of(message(&tcp, 1280)), Verdict::NotOurs, "{what}");
        }
        let tcp = Tcp { source: (SOURCE, leg_port), destination: backend, payload: vec![0; 900], ..Tcp::default() };
        for (what, at, value) in [
            ("another type", 34, 11),
            ("another code", 35, 1),
            ("a quote of UDP", 51, 17),
            ("a quote of a later fragment", 49, 1),
            ("a fragment", 20, 0x20),
            ("options", 14, 0x46),
            ("no eight bytes", 17, 50),
        ] {
            let mut bytes = message(&tcp, 1280);
            bytes[at] = value;
            if at == 17 {
                bytes[16] = 0;
            }
            assert_eq!(rig.verdict_of(bytes), Verdict::NotOurs, "{what}");
        }
        let mut short = message(&tcp, 1280);
        short.truncate(69);
        assert_eq!(rig.verdict_of(short), Verdict::NotOurs);
    }
}
