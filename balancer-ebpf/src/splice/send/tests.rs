//! One segment from one side to the other: every field has its difference, and nothing else changes.

use etherparse::{TcpOptionElement, TcpOptionsIterator};
use proptest::prelude::*;

use super::translate::{Translation, room, shifted, translate};
use crate::layout::{Flow, MOVES};
use crate::net::*;
use crate::testing::{Plain, Tcp, VecFrame, six};

fn to() -> Translation {
    Translation {
        source: [10, 9, 8, 7].into(),
        destination: [192, 168, 255, 1].into(),
        source_port: 1024u16.to_be_bytes(),
        destination_port: 8080u16.to_be_bytes(),
        seq: 0x8000_0001,
        ack: 0xdead_beef,
        tsval: 0x0102_0304,
        tsecr: 0xffff_fff0,
        fin: false,
        shift: 16,
        room: 0xffff,
        hop: Hop { egress: Egress::default(), macs: [9; 12] },
    }
}

/// Translates as the data path does.
fn translated(tcp: &Tcp, to: &Translation) -> Tcp {
    let v4 = to.destination.is_v4();
    let mut frame = VecFrame::new(if v4 { tcp.frame() } else { tcp.frame6() });
    let mut segment = Segment::default();
    assert!(destination(&mut frame, &mut segment));
    assert!(frame.rebase(if v4 { 0 } else { IPV6_BASE }));
    assert_eq!(parse(&mut frame, &mut segment), Parsed::Segment);
    assert!(read_timestamp::<Plain, _>(&mut frame, &mut segment, &mut Options::default()));
    assert!(translate::<_, true>(&mut frame, &segment, to));
    assert_eq!(frame.bytes[..12], to.hop.macs);
    Tcp::read(&frame.bytes)
}

/// N5.
#[test]
fn windows_shift_and_saturate() {
    for (window, shift, expected) in [
        (500, 16, 500),
        (65535, 16, 65535),
        (500, 17, 1000),
        (500, 23, 64000),
        (500, 24, 65535),
        (1, 30, 16384),
        (4, 30, 65535),
        (65535, 30, 65535),
        (0, 30, 0),
        (500, 15, 250),
        (500, 9, 3),
        (500, 2, 0),
        (65535, 2, 3),
        (65535, 1, 1),
    ] {
        assert_eq!(shifted(window, shift), expected, "{window} by {shift}");
        let tcp = Tcp { flags: ACK, window: window as u16, ..Tcp::default() };
        assert_eq!(u32::from(translated(&tcp, &Translation { shift, ..to() }).window), expected);
    }
}

#[test]
fn without_ack_nothing_is_acknowledged() {
    let options = [&[1, 1, 8, 10][..], &[0, 0, 0, 5, 0, 0, 0, 6]].concat();
    let tcp = Tcp { flags: RST, seq: 7, ack: 0, options, ..Tcp::default() };
    let out = translated(&tcp, &to());
    assert_eq!((out.seq, out.ack), (7 + 0x8000_0001, 0));
    assert_eq!(out.options[4..], [1, 2, 3, 9, 0, 0, 0, 6]);
}

/// Timestamps, SACK blocks and fillers, in an order and with gaps that put them at odd and even places.
fn options() -> impl Strategy<Value = Vec<u8>> {
    let gap = prop_oneof![Just(vec![]), Just(vec![1u8]), Just(vec![1, 1]), Just(vec![254, 3, 9]), Just(vec![253, 2])];
    let stamps = any::<u64>().prop_map(|stamps| [&[8, 10][..], &stamps.to_be_bytes()].concat());
    let sack = proptest::collection::vec(any::<u64>(), 1..=4).prop_map(|blocks| {
        let bytes: Vec<u8> = blocks.iter().flat_map(|block| block.to_be_bytes()).collect();
        [&[5, 2 + bytes.len() as u8][..], &bytes].concat()
    });
    let stamps = prop_oneof![Just(vec![]), stamps];
    let sack = prop_oneof![Just(vec![]), sack];
    ((gap.clone(), stamps), (gap, sack), any::<bool>()).prop_filter_map(
        "more than 40 bytes",
        |((a, b), (c, d), swap)| {
            let mut bytes = if swap { [c, d, a, b].concat() } else { [a, b, c, d].concat() };
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            (bytes.len() <= 40).then_some(bytes)
        },
    )
}

/// The options as they have to come out: read by etherparse, changed, compared with what it reads then.
fn expected(options: &[u8], to: &Translation, ack: bool) -> Vec<TcpOptionElement> {
    use TcpOptionElement::*;
    let block = |(left, right): (u32, u32)| (left.wrapping_add(to.ack), right.wrapping_add(to.ack));
    read(options)
        .into_iter()
        .map(|option| match option {
            Timestamp(value, echo) => {
                Timestamp(value.wrapping_add(to.tsval), if ack { echo.wrapping_add(to.tsecr) } else { echo })
            }
            SelectiveAcknowledgement(first, more) => {
                SelectiveAcknowledgement(block(first), more.map(|more| more.map(block)))
            }
            other => other,
        })
        .collect()
}

/// Options that both know. Of those that etherparse does not, it says nothing more.
fn read(options: &[u8]) -> Vec<TcpOptionElement> {
    let mut at = 0;
    let mut known = Vec::new();
    while at < options.len() {
        match options[at] {
            0 => break,
            1 => at += 1,
            kind => {
                let len = usize::from(options[at + 1]);
                if kind < 200 {
                    known.extend(TcpOptionsIterator::from_slice(&options[at..at + len]).map(|option| option.unwrap()));
                }
                at += len;
            }
        }
    }
    known
}

proptest! {
    #[test]
    fn every_field_has_its_difference(
        seq in any::<u32>(), ack in any::<u32>(), flags in 0u8..32, window in any::<u16>(), options in options(),
        payload in proptest::collection::vec(any::<u8>(), 0..100),
        deltas in any::<(u32, u32, u32, u32)>(), shift in 1u32..31,
        addresses in any::<([u8; 4], u16, [u8; 4], u16, [u8; 4], u16, [u8; 4], u16)>(), over_ipv6 in any::<bool>(),
    ) {
        let address = |address: [u8; 4]| if over_ipv6 { six(address) } else { address.into() };
        let (a, ap, b, bp, c, cp, d, dp) = addresses;
        let tcp = Tcp { source: (a, ap), destination: (b, bp), seq, ack, flags, window, options, payload };
        let to = Translation {
            source: address(c), source_port: cp.to_be_bytes(), destination: address(d), destination_port: dp.to_be_bytes(),
            seq: deltas.0, ack: deltas.1, tsval: deltas.2, tsecr: deltas.3, shift, ..to()
        };
        // `Tcp::read` has verified both checksums.
        let out = translated(&tcp, &to);
        let has_ack = flags & ACK != 0;
        prop_assert_eq!(read(&out.options), expected(&tcp.options, &to, has_ack));
        let expected = Tcp {
            source: (c, cp), destination: (d, dp), seq: seq.wrapping_add(deltas.0),
            ack: if has_ack { ack.wrapping_add(deltas.1) } else { ack },
            window: shifted(window.into(), shift) as u16,
            options: out.options.clone(), payload: tcp.payload.clone(), flags,
        };
        prop_assert_eq!(&out, &expected);
        prop_assert_eq!(out.options.len(), tcp.options.len());

        // And back again, but for what a window loses: nothing is where it was not.
        let back = Translation {
            source: address(a), source_port: ap.to_be_bytes(), destination: address(b), destination_port: bp.to_be_bytes(),
            seq: deltas.0.wrapping_neg(), ack: deltas.1.wrapping_neg(), tsval: deltas.2.wrapping_neg(),
            tsecr: deltas.3.wrapping_neg(), shift: 16, ..to
        };
        let again = translated(&out, &back);
        prop_assert_eq!(again, Tcp { window: out.window, ..tcp });
    }
}

#[test]
fn a_window_between_requests_is_small_and_never_none() {
    let mut flow = Flow { flags: MOVES, ..Flow::default() };
    for (scale, window) in [(0, 14_600), (7, 114), (13, 1), (14, 1)] {
        flow.our_scale = scale;
        assert_eq!(room(&flow), window, "scaled by {scale}");
    }
    flow.request.next = Seq(1);
    assert_eq!(room(&flow), 0xffff, "in the middle of a request");
    assert_eq!(room(&Flow::default()), 0xffff, "it has not moved");
}
