//! A table of frames that are none of our business, malformed, or segments.

use proptest::prelude::*;

use crate::net::*;
use crate::testing::{Tcp, VecFrame};

fn segment() -> Tcp {
    Tcp {
        source: ([10, 0, 0, 1], 40_000),
        destination: ([10, 0, 0, 2], 80),
        seq: 0x0102_0304,
        ack: 0xf1f2_f3f4,
        flags: ACK | PSH,
        window: 500,
        options: vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2],
        payload: b"0123456789".to_vec(),
    }
}

fn read(bytes: Vec<u8>) -> (Parsed, Segment) {
    // Dirty from another packet.
    let mut segment = Segment { timestamp_at: 1, sack_at: 2, sacks: 3, tsval: 4, tsecr: 5, ..Segment::default() };
    let mut frame = VecFrame::new(bytes);
    destination(&mut frame, &mut segment);
    let parsed = parse(&mut frame, &mut segment);
    (parsed, segment)
}

#[test]
fn a_segment_is_read_whole() {
    let (parsed, segment) = read(segment().frame());
    assert_eq!(parsed, Parsed::Segment);
    assert_eq!((segment.source, segment.destination), ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
    assert_eq!((segment.source_port, segment.destination_port), (40_000u16.to_be_bytes(), 80u16.to_be_bytes()));
    assert_eq!((segment.seq, segment.ack), (Seq(0x0102_0304), Seq(0xf1f2_f3f4)));
    assert_eq!((segment.flags, segment.window), (u32::from(ACK | PSH), 500));
    assert!(segment.has(ACK) && segment.has(PSH) && !segment.has(SYN) && !segment.has(FIN) && !segment.has(RST));
    assert_eq!((segment.options, segment.payload), (12, 10));
    assert_eq!((segment.payload_at(), segment.end()), (66, Seq(0x0102_030e)));
    assert_eq!((segment.timestamp_at, segment.sack_at, segment.sacks), (0, 0, 0));
}

type Change = fn(&mut Vec<u8>);

const FRAMES: &[(&str, Change, Parsed)] = &[
    ("whole", |_| {}, Parsed::Segment),
    ("padded by Ethernet", |b| b.extend([0; 20]), Parsed::Segment),
    ("may not be fragmented", |b| b[20] = 0x40, Parsed::Segment),
    ("the evil bit, which means nothing", |b| b[20] = 0x80, Parsed::Segment),
    ("may be fragmented", |b| b[20] = 0, Parsed::Segment),
    ("merged to 64 KiB or more: the length says 0", |b| b[16..18].fill(0), Parsed::Segment),
    ("no payload", |b| set_total(b, 52), Parsed::Segment),
    ("shorter than any header", |b| b.truncate(53), Parsed::Other),
    ("empty", Vec::clear, Parsed::Other),
    ("UDP", |b| b[23] = 17, Parsed::Other),
    ("IPv6 by its version", |b| b[14] = 0x65, Parsed::Other),
    ("options in the IP header", |b| b[14] = 0x46, Parsed::IpOptions),
    ("an IP header of 60 bytes", |b| b[14] = 0x4f, Parsed::IpOptions),
    ("an IP header of 16 bytes", |b| b[14] = 0x44, Parsed::IpOptions),
    ("a first fragment", |b| b[20] = 0x20, Parsed::Fragment),
    ("a later fragment", |b| b[21] = 1, Parsed::Fragment),
    ("a far fragment", |b| b[20] = 0x1f, Parsed::Fragment),
    ("shorter than it claims", |b| b.truncate(75), Parsed::Malformed),
    ("claims one byte more", |b| set_total(b, 63), Parsed::Malformed),
    ("claims 64 KiB", |b| set_total(b, 65535), Parsed::Malformed),
    ("ends in the options", |b| set_total(b, 51), Parsed::Malformed),
    ("ends in the IP header", |b| set_total(b, 19), Parsed::Malformed),
    ("ends in the TCP header", |b| set_total(b, 39), Parsed::Malformed),
    ("length 1", |b| set_total(b, 1), Parsed::Malformed),
    ("a TCP header of 16 bytes", |b| b[46] = 0x40, Parsed::Malformed),
    ("a TCP header of no bytes", |b| b[46] = 0, Parsed::Malformed),
    ("a TCP header behind the packet's end", |b| b[46] = 0xf0, Parsed::Malformed),
    (
        "length 0, and options behind the frame's end",
        |b| {
            set_total(b, 0);
            b.truncate(60)
        },
        Parsed::Malformed,
    ),
];

fn set_total(bytes: &mut [u8], total: u16) {
    bytes[16..18].copy_from_slice(&total.to_be_bytes());
}

/// N21.
#[test]
fn frames_are_told_apart() {
    for (what, change, expected) in FRAMES {
        let mut bytes = segment().frame();
        change(&mut bytes);
        assert_eq!(read(bytes).0, *expected, "{what}");
    }
}

#[test]
fn padding_is_no_payload() {
    let mut bytes = Tcp { payload: Vec::new(), options: Vec::new(), ..segment() }.frame();
    bytes.extend([0; 6]);
    assert_eq!(read(bytes).1.payload, 0);
}

#[test]
fn a_merged_frame_has_its_own_length() {
    let mut bytes = Tcp { options: Vec::new(), ..segment() }.frame();
    set_total(&mut bytes, 0);
    bytes.resize(54 + 70_000, 7);
    let (parsed, segment) = read(bytes);
    assert_eq!((parsed, segment.payload), (Parsed::Segment, 70_000));
}

#[test]
fn foreign_packets_are_told_by_their_destination() {
    let mut frame = VecFrame::new(segment().frame());
    let mut read = Segment::default();
    assert!(destination(&mut frame, &mut read) && source(&mut frame, &mut read));
    assert_eq!((read.source, read.destination), ([10, 0, 0, 1].into(), [10, 0, 0, 2].into()));
    for (at, byte) in [(12, 0x86), (13, 0x06), (23, 1)] {
        let mut bytes = segment().frame();
        bytes[at] = byte;
        assert!(!destination(&mut VecFrame::new(bytes), &mut read));
    }
}

proptest! {
    /// Whatever the bytes are, what is called a segment lies inside the frame.
    #[test]
    fn a_segment_lies_inside_its_frame(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..200),
        likely in any::<bool>(),
        total in 0u16..300,
    ) {
        if likely && bytes.len() >= 54 {
            (bytes[14], bytes[20], bytes[21], bytes[23]) = (0x45, 0, 0, 6);
            set_total(&mut bytes, total);
        }
        let len = bytes.len() as u32;
        let (parsed, segment) = read(bytes);
        if parsed == Parsed::Segment {
            prop_assert!(segment.options <= 40);
            prop_assert!(segment.payload_at() + segment.payload <= len);
        }
    }
}
