//! Options in every layout, sane or not, against etherparse's reader.

use etherparse::{TcpOptionElement, TcpOptionsIterator};
use proptest::prelude::*;

use crate::net::*;
use crate::testing::{Plain, Tcp, VecFrame};

/// A segment with these options and nothing behind them: a look beyond them is a look beyond the frame, and panics.
fn frame(options: &[u8]) -> VecFrame {
    assert_eq!(options.len() % 4, 0);
    VecFrame::new(Tcp { flags: ACK, options: options.to_vec(), ..Tcp::default() }.frame())
}

/// Scratch memory, dirty from another packet beyond the length as well.
fn dirty() -> Options {
    let mut options = Options::default();
    options.bytes = [8; 40];
    options
}

fn all(options: &[u8]) -> Options {
    let mut read = dirty();
    (read.mss, read.scale, read.sack_permitted, read.sacks) = (1, 2, 3, 4);
    (read.timestamp_at, read.sack_at, read.tsval, read.tsecr) = (5, 6, 7, 8);
    assert!(read_options::<Plain, _>(&mut frame(options), options.len() as u32, &mut read));
    read
}

/// What [`read_timestamp`] completes of a segment.
fn of_segment(options: &[u8]) -> Segment {
    let mut frame = frame(options);
    let mut segment = Segment::default();
    assert_eq!(parse(&mut frame, &mut segment), Parsed::Segment);
    let mut scratch = dirty();
    assert!(read_timestamp::<Plain, _>(&mut frame, &mut segment, &mut scratch));
    segment
}

const TS: [u8; 10] = [8, 10, 1, 2, 3, 4, 5, 6, 7, 8];

fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_syn_of_every_system() {
    // What Linux, Windows and macOS send, and one that says nothing.
    let linux = join(&[&[2, 4, 5, 180], &[4, 2], &TS, &[1, 3, 3, 7]]);
    let windows = join(&[&[2, 4, 5, 180], &[1, 3, 3, 8], &[1, 1, 4, 2]]);
    let macos = join(&[&[2, 4, 5, 180], &[1, 3, 3, 6], &[1, 1], &TS, &[4, 2], &[0, 0]]);
    for (syn, mss, scale, sack, timestamp_at) in [
        (linux, 1460, 7, 1, 54 + 8),
        (windows, 1460, 8, 1, 0),
        (macos, 1460, 6, 1, 54 + 12),
        (vec![], 0, NO_SCALE, 0, 0),
        (vec![2, 4, 2, 24], 536, NO_SCALE, 0, 0),
    ] {
        let read = all(&syn);
        assert_eq!((read.mss, read.scale, read.sack_permitted, read.timestamp_at), (mss, scale, sack, timestamp_at));
        assert_eq!((read.sack_at, read.sacks), (0, 0));
        let stamps = if timestamp_at == 0 { (0, 0) } else { (0x0102_0304, 0x0506_0708) };
        assert_eq!((read.tsval, read.tsecr), stamps);
    }
}

#[test]
fn a_scale_beyond_fourteen_is_fourteen() {
    for (scale, expected) in [(0, 0), (13, 13), (14, 14), (15, 14), (255, 14)] {
        assert_eq!(all(&[3, 3, scale, 0]).scale, expected, "RFC 7323, section 2.3");
    }
}

/// N7.
#[test]
fn timestamps_and_sack_blocks_of_every_layout() {
    let sack = |blocks: usize| {
        let mut option = vec![5, (2 + blocks * 8) as u8];
        option.resize(2 + blocks * 8, 9);
        option
    };
    let pad = |mut options: Vec<u8>| {
        options.resize(options.len().next_multiple_of(4), 0);
        options
    };
    let cases = [
        ("none", vec![], 0, 0, 0),
        ("plain", join(&[&[1, 1], &TS]), 58, 0, 0),
        ("timestamp first", join(&[&TS, &[1, 1]]), 56, 0, 0),
        ("timestamp first, then the end", join(&[&TS, &[0, 0]]), 56, 0, 0),
        ("at an odd place", join(&[&[1], &TS, &[1]]), 57, 0, 0),
        ("three SACK blocks behind it", join(&[&[1, 1], &TS, &[1, 1], &sack(3)]), 58, 70, 3),
        ("SACK before it", join(&[&[1, 1], &sack(2), &[1, 1], &TS]), 78, 58, 2),
        ("four SACK blocks alone", join(&[&[1, 1], &sack(4)]), 0, 58, 4),
        ("one, at an odd place", pad(join(&[&[1], &sack(1)])), 0, 57, 1),
        ("twelve bytes that are no timestamp", vec![1; 12], 0, 0, 0),
        ("a SACK of no block", vec![5, 2, 1, 1], 0, 0, 0),
        ("a SACK of a block and a half", pad(join(&[&[5, 14], &[7; 12]])), 0, 0, 0),
        ("a timestamp of another length", join(&[&[8, 12], &[7; 10]]), 0, 0, 0),
        ("unknown options before it", join(&[&[254, 6, 0, 0, 0, 0], &TS]), 62, 0, 0),
        ("behind the end", join(&[&[0, 1], &TS]), 0, 0, 0),
        ("a length of 0", join(&[&[254, 0], &TS]), 0, 0, 0),
        ("a length of 1", join(&[&[254, 1], &TS]), 0, 0, 0),
        ("a kind at the last byte", vec![1, 1, 1, 8], 0, 0, 0),
        ("beyond the end", vec![1, 1, 8, 10], 0, 0, 0),
        ("SACK beyond the end", join(&[&[5, 34], &[7; 30]]), 0, 0, 0),
    ];
    for (what, options, timestamp_at, sack_at, sacks) in cases {
        let segment = of_segment(&options);
        let expected = (timestamp_at, sack_at, sacks);
        assert_eq!((segment.timestamp_at, segment.sack_at, segment.sacks), expected, "{what}");
        let stamps = if timestamp_at == 0 { (0, 0) } else { (0x0102_0304, 0x0506_0708) };
        assert_eq!((segment.tsval, segment.tsecr), stamps, "{what}");
    }
}

/// What etherparse reads up to the first thing that it does not.
fn oracle(options: &[u8]) -> (u32, u32, u32, Option<(u32, u32)>, u32) {
    let (mut mss, mut scale, mut sack_permitted, mut stamps, mut sacks) = (0, NO_SCALE, 0, None, 0);
    for option in TcpOptionsIterator::from_slice(options) {
        match option {
            Ok(TcpOptionElement::MaximumSegmentSize(size)) => mss = u32::from(size),
            Ok(TcpOptionElement::WindowScale(shift)) => scale = u32::from(shift).min(14),
            Ok(TcpOptionElement::SelectiveAcknowledgementPermitted) => sack_permitted = 1,
            Ok(TcpOptionElement::Timestamp(value, echo)) => stamps = Some((value, echo)),
            Ok(TcpOptionElement::SelectiveAcknowledgement(_, more)) => {
                sacks = 1 + more.iter().flatten().count() as u32;
            }
            Ok(TcpOptionElement::Noop) => {}
            Err(_) => break,
        }
    }
    (mss, scale, sack_permitted, stamps, sacks)
}

fn option() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(vec![1]),
        any::<u16>().prop_map(|mss| [&[2, 4][..], &mss.to_be_bytes()].concat()),
        any::<u8>().prop_map(|scale| vec![3, 3, scale]),
        Just(vec![4, 2]),
        any::<u64>().prop_map(|stamps| [&[8, 10][..], &stamps.to_be_bytes()].concat()),
        proptest::collection::vec(any::<u64>(), 1..=4).prop_map(|blocks| {
            let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.to_be_bytes()).collect();
            [&[5, 2 + bytes.len() as u8][..], &bytes].concat()
        }),
    ]
}

proptest! {
    #[test]
    fn known_options_in_any_order_are_read_as_etherparse_reads_them(
        options in proptest::collection::vec(option(), 0..12),
        rest in 0u8..2,
    ) {
        let mut bytes = options.concat();
        bytes.truncate(40);
        bytes.resize(bytes.len().next_multiple_of(4), rest);
        let read = all(&bytes);
        let (mss, scale, sack_permitted, stamps, sacks) = oracle(&bytes);
        prop_assert_eq!((read.mss, read.scale, read.sack_permitted, read.sacks), (mss, scale, sack_permitted, sacks));
        prop_assert_eq!((read.timestamp_at != 0).then_some((read.tsval, read.tsecr)), stamps);
    }

    /// Garbage: what is found lies inside the options, and is found again by whoever reads there.
    #[test]
    fn nothing_is_read_beyond_the_options(
        mut bytes in proptest::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..=40),
    ) {
        bytes.truncate(bytes.len() / 4 * 4);
        let end = 54 + bytes.len() as u32;
        let segment = of_segment(&bytes);
        let at = |place: u32, count: usize| &bytes[place as usize - 54..][..count];
        if segment.timestamp_at != 0 {
            prop_assert!(segment.timestamp_at + 8 <= end);
            prop_assert_eq!(at(segment.timestamp_at - 2, 2), &[8, 10]);
            prop_assert_eq!(at(segment.timestamp_at, 4), &segment.tsval.to_be_bytes());
            prop_assert_eq!(at(segment.timestamp_at + 4, 4), &segment.tsecr.to_be_bytes());
        }
        prop_assert_eq!(segment.sack_at != 0, segment.sacks != 0);
        if segment.sacks != 0 {
            prop_assert!(segment.sacks <= 4 && segment.sack_at + segment.sacks * 8 <= end);
            prop_assert_eq!(at(segment.sack_at - 2, 2), &[5, 2 + 8 * segment.sacks as u8]);
        }
    }
}
