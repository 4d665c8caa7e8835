//! etherparse says whether what is cut out of a merged frame is what a network card would make of it.

use std::time::Duration;

use etherparse::icmpv4::DestUnreachableHeader;
use etherparse::{Icmpv4Type, Icmpv6Type, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};

use super::super::fate::Link;
use super::*;

const SIZE: usize = 1000;
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 60, 0, 250);

/// A frame of `length` bytes of payload, merged of segments of 1000 if it is longer.
fn frame(length: usize) -> Frame {
    frame_of(Family::V4, length)
}

fn frame_of(family: Family, length: usize) -> Frame {
    let builder = PacketBuilder::ethernet2([1; 6], [2; 6]);
    let builder = match family {
        Family::V4 => builder.ipv4([10, 60, 0, 2], [10, 60, 255, 1], 64),
        Family::V6 => builder.ipv6([0xfd; 16], [0xfe; 16], 64),
    };
    let builder = builder
        .tcp(40_000, 80, 0xffff_ff00, 500)
        .ack(7)
        .psh()
        .fin()
        .cwr()
        .options_raw(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2])
        .unwrap();
    let payload: Vec<u8> = (0..length).map(|at| (at / 7) as u8).collect();
    let mut bytes = vec![NEEDS_CHECKSUM, 0, 0, 0, 0, 0, 34, 0, 16, 0];
    if length > SIZE {
        bytes[1] = MERGED[usize::from(family == Family::V6)].1;
        bytes[4..6].copy_from_slice(&(SIZE as u16).to_ne_bytes());
    }
    builder.write(&mut bytes, &payload).unwrap();
    if family == Family::V4 {
        bytes[NOTE + 20] |= DONT_FRAGMENT;
        put(&mut bytes[NOTE..], 24, 0);
        let check = !sum(&bytes[NOTE + 14..NOTE + 34]);
        put(&mut bytes[NOTE..], 24, check);
    }
    let check = pseudo(family, &bytes[NOTE..]);
    put(&mut bytes[NOTE..], tcp(family) + 16, check);
    Frame(bytes)
}

/// Where the TCP header begins.
fn tcp(family: Family) -> usize {
    if family == Family::V6 { 54 } else { 34 }
}

/// What a checksum that is to be completed holds.
fn pseudo(family: Family, frame: &[u8]) -> u16 {
    let (tcp, addresses) = (tcp(family), if family == Family::V6 { 22 } else { 26 });
    sum(&[&frame[addresses..tcp], &[0, TCP], &((frame.len() - tcp) as u16).to_be_bytes()].concat())
}

/// Sequence number, payload, and FIN, PSH and CWR.
fn read(frame: &Frame) -> (u32, Vec<u8>, [bool; 3]) {
    let packet = SlicedPacket::from_ethernet(frame.bytes()).unwrap();
    let family = match &packet.net {
        Some(NetSlice::Ipv4(ip)) => {
            assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
            Family::V4
        }
        Some(NetSlice::Ipv6(ip)) => {
            assert_eq!(usize::from(ip.header().payload_length()) + 54, frame.bytes().len());
            Family::V6
        }
        _ => panic!("no IP"),
    };
    let Some(TransportSlice::Tcp(tcp)) = &packet.transport else { panic!("no TCP") };
    assert_eq!(tcp.checksum(), pseudo(family, frame.bytes()));
    (tcp.sequence_number(), tcp.payload().to_vec(), [tcp.fin(), tcp.psh(), tcp.cwr()])
}

#[test]
fn runs_of_a_merged_frame_are_its_bytes() {
    for family in [Family::V4, Family::V6] {
        runs_are_bytes(family, &frame_of(family, 5500));
    }
}

fn runs_are_bytes(family: Family, whole: &Frame) {
    assert_eq!(whole.segments(), 6);
    let bytes = whole.bytes()[tcp(family) + 32..].to_vec();
    for (range, payload, flags) in [
        (0..1, 0..1000, [false, false, true]),
        (0..3, 0..3000, [false, false, true]),
        (2..4, 2000..4000, [false, false, false]),
        (5..6, 5000..5500, [true, true, false]),
        (3..6, 3000..5500, [true, true, false]),
    ] {
        let run = whole.run(range.clone());
        let seq = 0xffff_ff00_u32.wrapping_add(payload.start as u32);
        assert_eq!(read(&run), (seq, bytes[payload].to_vec(), flags), "{range:?}");
        assert_eq!(run.segments(), range.len());
        assert_eq!(run.0[0], NEEDS_CHECKSUM);
    }
    assert_eq!(whole.run(0..6), *whole);
}

#[test]
fn fates_part_a_frame() {
    let mut fates = Fates::new(Link { held: 30.0, hold: Duration::from_millis(1), ..Link::lossy(30.0, 2) }, 0);
    let mut seen = 0;
    for _ in 0..200 {
        let whole = frame(8000);
        let (first, _, _) = read(&whole);
        let bytes = whole.bytes()[66..].to_vec();
        let (runs, lost) = whole.part(&mut fates);
        let mut arrived = 0;
        for (run, fate) in &runs {
            assert_ne!(*fate, Fate::Lost);
            let (seq, payload, _) = read(run);
            let at = seq.wrapping_sub(first) as usize;
            assert_eq!(payload, bytes[at..at + payload.len()]);
            arrived += payload.len();
        }
        assert_eq!(arrived + lost * SIZE, bytes.len());
        seen += usize::from(runs.len() > 1);
    }
    assert!(seen > 100, "only {seen} frames were cut");
}

#[test]
fn a_router_says_what_fits() {
    assert_eq!(frame(1000).too_big(1052, ROUTER), None);
    assert_eq!(frame(5000).too_big(1052, ROUTER), None);
    for (length, mtu) in [(1000, 1051), (5000, 1051)] {
        let Some(Refusal::Answer(answer)) = frame(length).too_big(mtu, ROUTER) else { panic!("it fits") };
        let packet = SlicedPacket::from_ethernet(answer.bytes()).unwrap();
        let Some(NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
        assert_eq!((ip.header().source_addr(), ip.header().destination_addr()), (ROUTER, Ipv4Addr::new(10, 60, 0, 2)));
        assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
        let Some(TransportSlice::Icmpv4(icmp)) = &packet.transport else { panic!("no ICMP") };
        let unreachable = DestUnreachableHeader::FragmentationNeeded { next_hop_mtu: mtu };
        assert_eq!(icmp.icmp_type(), Icmpv4Type::DestinationUnreachable(unreachable));
        assert_eq!(sum(icmp.slice()), 0xffff);
        assert_eq!(icmp.payload()[..20][12..20], [10, 60, 0, 2, 10, 60, 255, 1]);
        assert_eq!(icmp.payload()[24..28], 0xffff_ff00_u32.to_be_bytes());
    }
    let mut may_be_cut = frame(1000);
    may_be_cut.0[NOTE + 20] = 0;
    assert_eq!(may_be_cut.too_big(1051, ROUTER), Some(Refusal::Silent));
}

#[test]
fn a_router_says_what_fits_over_ipv6() {
    assert_eq!(frame_of(Family::V6, 5000).too_big(1072, ROUTER), None);
    for length in [1000, 5000] {
        let Some(Refusal::Answer(answer)) = frame_of(Family::V6, length).too_big(1071, ROUTER) else {
            panic!("it fits")
        };
        let packet = SlicedPacket::from_ethernet(answer.bytes()).unwrap();
        let Some(NetSlice::Ipv6(ip)) = &packet.net else { panic!("no IPv6") };
        let (source, destination) = (ip.header().source_addr(), ip.header().destination_addr());
        assert_eq!((IpAddr::from(source), destination.octets()), (Family::V6.of(ROUTER), [0xfd; 16]));
        let Some(TransportSlice::Icmpv6(icmp)) = &packet.transport else { panic!("no ICMPv6") };
        assert_eq!(icmp.icmp_type(), Icmpv6Type::PacketTooBig { mtu: 1071 });
        assert!(icmp.is_checksum_valid(source.octets(), destination.octets()));
        assert_eq!(icmp.payload()[44..48], 0xffff_ff00_u32.to_be_bytes());
    }
}

#[test]
fn a_bit_that_changed_is_one_that_a_checksum_shows() {
    for length in [0, 1, 333, 1000] {
        for bit in (0..20_000).step_by(97) {
            let mut damaged = frame(length);
            damaged.damage(bit);
            assert_eq!(damaged.0[0], 0, "the checksum is complete");
            let tcp = &damaged.bytes()[34..];
            let pseudo = [&damaged.bytes()[26..34], &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
            // Exactly one bit is wrong: with it right again, so is the checksum.
            let right = |tcp: &[u8]| sum(&[&pseudo[..], tcp].concat()) == 0xffff;
            assert!(!right(tcp), "{length} bytes, bit {bit}");
            let mut mended = tcp.to_vec();
            let bit = bit as usize % (mended.len() * 8);
            mended[bit / 8] ^= 1 << (bit % 8);
            assert!(right(&mended), "{length} bytes, bit {bit}");
        }
    }
}
