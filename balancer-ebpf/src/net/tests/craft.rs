//! Headers made anew, read by etherparse; and the sums of payloads.

use etherparse::TcpOptionElement::{self, *};
use etherparse::TcpOptionsIterator;
use proptest::prelude::*;

use crate::layout::Buffer;
use crate::net::*;
use crate::testing::{Plain, Tcp, VecFrame, six};

/// What a header with a payload looks like on the wire.
fn made(draft: &Draft, payload: &[u8], pos: u32) -> Vec<u8> {
    let mut buffer = Box::new(Buffer::new());
    buffer.fill(0, &[0xee; 16384]);
    buffer.fill(pos, payload);
    let mut draft = *draft;
    draft.payload = payload.len() as u32;
    let mut scratch = Sum::default();
    draft.payload_sum = sum::<Plain>(&mut scratch, &buffer, pos, draft.payload);
    // Dirty from another header.
    let mut crafted = Crafted { bytes: [0xaa; CRAFTED], len: 5, pseudo: 5 };
    craft(&draft, &mut crafted);
    let base = if draft.destination.is_v4() { 0 } else { IPV6_BASE };
    assert!(matches!(crafted.len - base, 54 | 66 | 74), "the edge knows these lengths only");
    let mut frame = VecFrame::new(Vec::new());
    assert!(frame.rebuild(&crafted, Some((&buffer, pos, draft.payload))));
    check_pseudo(&frame.bytes, base as usize, crafted.pseudo as u16);
    frame.bytes
}

/// A partial checksum is right if hardware, which adds the sum from the TCP header on, makes a right one of it.
fn check_pseudo(bytes: &[u8], base: usize, pseudo: u16) {
    let mut completed = bytes.to_vec();
    completed[base + 50..base + 52].copy_from_slice(&pseudo.to_ne_bytes());
    let words = completed[base + 34..]
        .chunks(2)
        .map(|pair| u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let check = !fold(words.sum());
    completed[base + 50..base + 52].copy_from_slice(&check.to_ne_bytes());
    Tcp::read(&completed);
}

fn options(tcp: &Tcp) -> Vec<TcpOptionElement> {
    let elements = TcpOptionsIterator::from_slice(&tcp.options).map(|element| element.unwrap());
    elements.filter(|element| *element != Noop).collect()
}

fn draft() -> Draft {
    Draft {
        macs: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
        source: [10, 0, 0, 1].into(),
        destination: [10, 0, 0, 2].into(),
        source_port: 40_000u16.to_be_bytes(),
        destination_port: 80u16.to_be_bytes(),
        seq: Seq(0x0102_0304),
        ack: Seq(0x0506_0708),
        flags: u32::from(ACK),
        window: 0xabcd,
        ..Draft::default()
    }
}

/// N1.
#[test]
fn every_combination_of_options() {
    for bits in 0..16u32 {
        let bit = |index: u32| bits >> index & 1;
        let draft = Draft {
            timestamps: bit(0),
            tsval: 11,
            tsecr: 22,
            mss: bit(1) * 1460,
            sack: bit(2),
            scale: if bit(3) != 0 { 9 } else { NO_SCALE },
            ..draft()
        };
        let bytes = made(&draft, b"", 0);
        let tcp = Tcp::read(&bytes);
        assert_eq!(bytes[..12], draft.macs);
        assert_eq!(bytes[12..16], [8, 0, 0x45, 0]);
        assert_eq!(bytes[20..22], [0x40, 0], "may not be fragmented");
        let expected = [
            (draft.mss != 0).then_some(MaximumSegmentSize(1460)),
            (draft.mss != 0 && draft.sack != 0).then_some(SelectiveAcknowledgementPermitted),
            (draft.timestamps != 0).then_some(Timestamp(11, 22)),
            (draft.mss != 0 && draft.scale != NO_SCALE).then_some(WindowScale(9)),
        ];
        assert_eq!(options(&tcp), expected.into_iter().flatten().collect::<Vec<_>>(), "{draft:?}");
    }
}

#[test]
fn the_core_reads_what_it_makes() {
    let draft = Draft { flags: u32::from(SYN), timestamps: 1, tsval: 1, mss: 1440, sack: 1, scale: 7, ..draft() };
    let mut frame = VecFrame::new(made(&draft, b"", 0));
    let mut read = Options::default();
    assert!(read_options::<Plain, _>(&mut frame, 20, &mut read));
    assert_eq!((read.mss, read.scale, read.sack_permitted, read.tsval), (1440, 7, 1, 1));
    let mut frame = VecFrame::new(made(&Draft { mss: 0, ..draft }, b"", 0));
    let mut segment = Segment::default();
    assert!(destination(&mut frame, &mut segment));
    assert_eq!(parse(&mut frame, &mut segment), Parsed::Segment);
    assert!(read_timestamp::<Plain, _>(&mut frame, &mut segment, &mut read));
    assert_eq!((segment.timestamp_at, segment.tsval), (58, 1), "in the layout that has a fast path");
}

#[test]
fn windows_and_sizes_are_cut_to_their_fields() {
    let tcp = Tcp::read(&made(&Draft { window: 65535, mss: 65535, ..draft() }, b"", 0));
    assert_eq!(tcp.window, 65535);
    assert_eq!(options(&tcp)[0], MaximumSegmentSize(65535));
}

#[test]
fn every_length_of_payload() {
    let payload: Vec<u8> = (0..2048u32).map(|at| (at * 7 + at / 256) as u8).collect();
    for len in (0..300).chain([511, 512, 1447, 1448, 1459, 1460, 2047, 2048]) {
        for timestamps in [0, 1] {
            let tcp = Tcp::read(&made(&Draft { timestamps, ..draft() }, &payload[..len], len as u32 % 17));
            assert_eq!(tcp.payload, payload[..len]);
        }
    }
}

proptest! {
    #[test]
    fn any_header_reads_back(
        source in any::<[u8; 4]>(), destination in any::<[u8; 4]>(), ports in any::<(u16, u16)>(),
        seq in any::<u32>(), ack in any::<u32>(), flags in 0u8..32, window in any::<u16>(),
        stamps in proptest::option::of(any::<(u32, u32)>()),
        syn in proptest::option::of((1u16.., any::<bool>(), 0u8..=15)),
        payload in proptest::collection::vec(any::<u8>(), 0..1500),
        pos in 0u32..16384 - 1500, over_ipv6 in any::<bool>(),
    ) {
        let address = |address: [u8; 4]| if over_ipv6 { six(address) } else { address.into() };
        let (mss, sack, scale) = syn.unwrap_or((0, false, 15));
        let draft = Draft {
            source: address(source), destination: address(destination), source_port: ports.0.to_be_bytes(), destination_port: ports.1.to_be_bytes(),
            seq: Seq(seq), ack: Seq(ack), flags: flags.into(), window: window.into(),
            timestamps: stamps.is_some().into(), tsval: stamps.unwrap_or_default().0, tsecr: stamps.unwrap_or_default().1,
            mss: mss.into(), sack: sack.into(), scale: scale.into(), ..Draft::default()
        };
        let tcp = Tcp::read(&made(&draft, &payload, pos));
        let expected = Tcp {
            source: (source, ports.0), destination: (destination, ports.1), seq, ack, flags, window,
            options: tcp.options.clone(), payload,
        };
        prop_assert_eq!(&tcp, &expected);
        let options = options(&tcp);
        prop_assert_eq!(options.contains(&MaximumSegmentSize(mss)), mss != 0);
        let stamp = options.iter().find_map(|option| match option {
            Timestamp(value, echo) => Some((*value, *echo)),
            _ => None,
        });
        prop_assert_eq!(stamp, stamps);
    }

    /// The sum of a stretch at any position, as a loop over its bytes has it.
    #[test]
    fn sums_of_any_stretch(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        pos in 0u32..16384 - 600,
        around in any::<u8>(),
    ) {
        let mut buffer = Box::new(Buffer::new());
        buffer.fill(0, &[around; 16384]);
        buffer.fill(pos, &bytes);
        let words = bytes.chunks(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
        let mut scratch = Sum::default();
        let summed = sum::<Plain>(&mut scratch, &buffer, pos, bytes.len() as u32);
        prop_assert_eq!(summed, u32::from(fold(words.sum())));
    }
}

#[test]
fn the_sum_of_a_whole_buffer() {
    let mut buffer = Box::new(Buffer::new());
    buffer.fill(0, &[0xff; 16384]);
    assert_eq!(sum::<Plain>(&mut Sum::default(), &buffer, 0, 16384), 0xffff);
    buffer.fill(16383, &[0xfe]);
    let expected = u32::from(fold(8191 * 0xffff + u64::from(u16::from_ne_bytes([0xff, 0xfe]))));
    assert_eq!(sum::<Plain>(&mut Sum::default(), &buffer, 0, 16384), expected);
}
