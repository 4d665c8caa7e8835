//! Fuzz target: frames as they lie on the wire, read beside etherparse, and put into the middle of a conversation.

use balancer_ebpf::layout::Address;
use balancer_ebpf::net::{
    ACK, Egress, Frame, Options, PSH, Parsed, Segment, base, destination, is_tagged, parse, read_timestamp,
};
use balancer_sim::Mutation;
use balancer_sim::edge::{Kind, SimFrame};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};

use crate::Plain;
use crate::splice::end::mend;
use crate::splice::world::{Side, World};

/// What the first byte may say besides what the world is like.
const BACK: u8 = 8;
const MENDED: u8 = 16;

/// The first byte says what the world is like and where the frame comes in; the rest is the frame.
pub fn check(data: &[u8]) {
    let [kind, bytes @ ..] = data else { return };
    let mut bytes = bytes.to_vec();
    if kind & MENDED != 0 {
        mend(&mut bytes);
    }
    agrees(&bytes);
    let mut world = World::new(kind & 7);
    serve(&mut world);
    world.balances();
    world.bring(if kind & BACK == 0 { Side::Client } else { Side::Backend }, bytes);
    world.balances();
}

/// The first client with a request that is worked on.
fn serve(world: &mut World) {
    world.knock(0, 0xff);
    world.segment(Side::Client, 0, ACK, (0, 0), &[]);
    world.segment(Side::Client, 0, PSH | ACK, (0, 0), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.agree(0, 0xff);
}

/// What is a segment to the core is the same one to etherparse, and the reverse.
fn agrees(bytes: &[u8]) {
    let mut frame = SimFrame {
        bytes: bytes.to_vec(),
        kind: Kind { can_grow: true, partial: false, mutation: Mutation::None },
        ingress: Egress { interface: 1, flags: 0 },
        routes: &[],
        copies: vec![],
        falsified: 0,
        tagged: false,
        base: 0,
    };
    let Some(headers) = frame.headers() else { return };
    if is_tagged(headers) {
        return;
    }
    let begins = base(headers);
    let mut segment = Segment::default();
    let read = destination(&mut frame, &mut segment) && frame.rebase(begins);
    let parsed = if read { parse(&mut frame, &mut segment) } else { Parsed::Other };
    let other = SlicedPacket::from_ethernet(bytes).ok();
    let other = other.as_ref().and_then(|packet| Some((packet.net.as_ref()?, packet.transport.as_ref()?)));
    let (plain, merged) = match &other {
        Some((NetSlice::Ipv4(ip), TransportSlice::Tcp(_))) => (ip.header().ihl() == 5, ip.header().total_len() == 0),
        Some((NetSlice::Ipv6(ip), TransportSlice::Tcp(_))) => {
            let mapped =
                [ip.header().source(), ip.header().destination()].map(|bytes| Address::from_bytes(bytes).is_v4());
            (ip.extensions().is_empty() && mapped == [false; 2], ip.header().payload_length() == 0)
        }
        _ => (false, bytes.get(16..20).is_some_and(|lengths| lengths[..2] == [0; 2] || lengths[2..] == [0; 2])),
    };
    // Where a header says 0, the frame's own length counts, and each reader has a rule of his own for that.
    if merged {
        return;
    }
    assert_eq!(parsed == Parsed::Segment, plain, "{parsed:?}: {bytes:02x?}");
    let (Parsed::Segment, Some((_, TransportSlice::Tcp(tcp)))) = (parsed, &other) else { return };
    let there = (tcp.source_port().to_be_bytes(), tcp.destination_port().to_be_bytes());
    assert_eq!((segment.source_port, segment.destination_port), there);
    assert_eq!((segment.seq.0, segment.ack.0), (tcp.sequence_number(), tcp.acknowledgment_number()));
    assert_eq!((segment.window, segment.options), (tcp.window_size().into(), tcp.options().len() as u32));
    assert_eq!(segment.payload, tcp.payload().len() as u32);
    assert!(read_timestamp::<Plain, _>(&mut frame, &mut segment, &mut Options::default()));
    let stamp = (segment.timestamp_at != 0).then_some((segment.tsval, segment.tsecr));
    assert_eq!(stamp, last_stamp(tcp.options()), "{bytes:02x?}");
}

/// The last timestamp among options. (etherparse reads none behind one that it does not know.)
fn last_stamp(mut options: &[u8]) -> Option<(u32, u32)> {
    let mut last = None;
    while let [kind, rest @ ..] = options {
        let len = match (kind, rest) {
            (0, _) => break,
            (1, _) => 1,
            (_, [len, ..]) if *len >= 2 && usize::from(*len) <= options.len() => usize::from(*len),
            _ => break,
        };
        if let [8, 10, a, b, c, d, e, f, g, h] = options[..len] {
            last = Some((u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])));
        }
        options = &options[len..];
    }
    last
}

/// Frames for the fuzzer to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![];
    for six in [false, true] {
        let mut world = World::new(six.into());
        serve(&mut world);
        let (client, backend) = (world.next(Side::Client, 0), world.next(Side::Backend, 0));
        all.push([&[u8::from(six)], &client[..]].concat());
        all.push([&[u8::from(six) | BACK], &backend[..]].concat());
        all.extend(around(six, &client));
    }
    all
}

/// What may be in front of a segment, and a router's word about one.
fn around(six: bool, frame: &[u8]) -> Vec<Vec<u8>> {
    let (ethernet, packet) = frame.split_at(14);
    let kind = [u8::from(six) | MENDED];
    let tagged = [&kind, &ethernet[..12], &[0x81, 0, 0, 7], &ethernet[12..], packet].concat();
    if !six {
        let mut options = packet.to_vec();
        options[0] = 0x46;
        let mut told = [&[0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 10, 9, 9, 9], &packet[16..20]].concat();
        told.extend([3, 4, 0, 0, 0, 0, 4, 200]);
        told.extend_from_slice(&packet[..28]);
        let len = told.len() as u16;
        told[2..4].copy_from_slice(&len.to_be_bytes());
        return vec![tagged, [&kind, ethernet, &options].concat(), [&kind, ethernet, &told].concat()];
    }
    let extended = |next: u8, header: [u8; 8]| {
        let mut packet = [&packet[..40], &header, &packet[40..]].concat();
        packet[6] = next;
        let len = (packet.len() - 40) as u16;
        packet[4..6].copy_from_slice(&len.to_be_bytes());
        [&kind, ethernet, &packet[..]].concat()
    };
    let mut told = [&packet[..40], &[2, 0, 0, 0, 0, 0, 5, 0], packet].concat();
    told[6] = 58;
    let len = (told.len() - 40) as u16;
    told[4..6].copy_from_slice(&len.to_be_bytes());
    vec![
        tagged,
        extended(0, [6, 0, 1, 4, 0, 0, 0, 0]),
        extended(43, [6, 0, 0, 0, 0, 0, 0, 0]),
        extended(44, [6, 0, 0, 1, 0, 0, 0, 1]),
        extended(60, [6, 0, 1, 4, 0, 0, 0, 0]),
        [&kind, ethernet, &told].concat(),
    ]
}
