//! Frames as nobody should send them, made of frames as everybody does.

#![expect(clippy::ptr_arg, reason = "all changes have one type, and some make frames longer")]

use balancer_fuzz::mutate::{Random, mutate as mutate_text};

/// Where things are in an Ethernet frame with IPv4 and TCP, all of them without anything optional.
const IP: usize = 14;
const TCP: usize = 34;
const OPTIONS: usize = 54;
/// Frames get no longer than that.
const LONGEST: usize = 1800;
/// An Ethernet header.
const ETHERNET: usize = 14;

/// Distances by which numbers are off: a byte, segments, windows, what is believed of a RST, half of the circle.
const DISTANCES: [u32; 10] = [1, 2, 536, 1460, 14_600, 65_535, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 31];

/// A change to a frame; `other` is another frame of the same conversation.
type Change = fn(&mut Random, &mut Vec<u8>, &[u8]);

const CHANGES: &[Change] = &[
    flip_bits, cut, cut_well, extend, lengths, flags, options, options, sequence, sequence, window, fragment,
    ip_options, vlan, ipv6, icmp, checksum, rubbish, addresses, ports, lifetime, text, text, graft, sack,
];

/// One to three changes, and checksums that are right again more often than not.
pub(crate) fn mutate(random: &mut Random, frame: &[u8], other: &[u8]) -> Vec<u8> {
    let mut mutant = frame.to_vec();
    for _ in 0..=random.below(3) {
        CHANGES[random.below(CHANGES.len())](random, &mut mutant, other);
    }
    if random.below(8) != 0 {
        mend(&mut mutant);
    }
    mutant.truncate(LONGEST);
    mutant.resize(mutant.len().max(ETHERNET + 1), 0);
    // The kernel's test run takes no frame that lacks the header which its type says it has (net/bpf/test_run.c).
    let least = match get(&mutant, 12) {
        [0x08, 0x00] => TCP,
        [0x86, 0xdd] => ETHERNET + 40,
        _ => 0,
    };
    mutant.resize(mutant.len().max(least), 0);
    mutant
}

fn byte(random: &mut Random) -> u8 {
    random.below(256) as u8
}

fn bytes(random: &mut Random, most: usize) -> Vec<u8> {
    (0..=random.below(most)).map(|_| byte(random)).collect()
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(place) = frame.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn get<const N: usize>(frame: &[u8], at: usize) -> [u8; N] {
    frame.get(at..at + N).and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}

/// Where the payload begins, as the headers say it.
fn payload_at(frame: &[u8]) -> usize {
    let [offset] = get(frame, TCP + 12);
    (TCP + usize::from(offset >> 4) * 4).min(frame.len())
}

/// Makes the total length what the frame has, or would have with that header.
fn mend_length(frame: &mut [u8]) {
    let len = frame.len().saturating_sub(IP) as u16;
    put(frame, IP + 2, &len.to_be_bytes());
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0))).sum()
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Checksums of IPv4 and TCP.
fn mend(frame: &mut [u8]) {
    if frame.len() < OPTIONS || get(frame, 12) != [8, 0] {
        return;
    }
    let header = (usize::from(frame[IP] & 15) * 4).clamp(20, frame.len() - IP);
    put(frame, IP + 10, &[0, 0]);
    let check = folded(sum(&frame[IP..IP + header]));
    put(frame, IP + 10, &check);
    let tcp = IP + header;
    if frame.len() < tcp + 20 {
        return;
    }
    put(frame, tcp + 16, &[0, 0]);
    let len = (frame.len() - tcp) as u32;
    let check = folded(sum(&frame[IP + 12..IP + 20]) + 6 + len + sum(&frame[tcp..]));
    put(frame, tcp + 16, &check);
}

fn flip_bits(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    // Headers more often than what they carry.
    let range = if random.below(4) == 0 { frame.len() } else { frame.len().min(OPTIONS + 12) };
    for _ in 0..=random.below(8) {
        if let Some(byte) = frame.get_mut(random.below(range)) {
            *byte ^= 1 << random.below(8);
        }
    }
}

fn cut(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    frame.truncate(random.below(frame.len() + 1));
}

/// A shorter segment that is in order: parts of heads, of chunk headers, of bodies.
fn cut_well(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let at = payload_at(frame);
    let (from, to) = (random.below(frame.len() - at + 1), random.below(frame.len() - at + 1));
    frame.truncate(at + from.max(to));
    if random.below(2) == 0 {
        // From behind its beginning, with the number that belongs to it.
        frame.drain(at..at + from.min(to));
        shift(frame, TCP + 4, from.min(to) as u32);
    }
    mend_length(frame);
}

fn extend(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    frame.extend(bytes(random, 600));
    if random.below(2) == 0 {
        mend_length(frame);
    }
}

fn lengths(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    match random.below(4) {
        0 => put(frame, IP, &[0x40 | byte(random) & 15]),
        1 => put(frame, IP + 2, &bytes(random, 1).repeat(2)[..2]),
        2 => put(frame, TCP + 12, &[byte(random)]),
        _ => put(frame, IP + 2, &(random.below(80) as u16).to_be_bytes()),
    }
}

fn flags(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    const COMBINATIONS: [u8; 10] = [0, 1, 2, 3, 4, 0x12, 0x13, 0x14, 0x11, 0x3f];
    let random_flags = byte(random);
    put(frame, TCP + 13, &[if random.below(2) == 0 { random_flags } else { COMBINATIONS[random.below(10)] }]);
}

/// Anything where options are: of lengths that cannot be, cut off, doubled, empty, all forty bytes of them.
fn options(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    const ODD: &[&[u8]] = &[
        &[2, 0],
        &[2, 1],
        &[2, 3, 5],
        &[2, 4, 0, 0],
        &[2, 4, 0xff, 0xff],
        &[2, 40],
        &[3, 3, 255],
        &[3, 2],
        &[3, 3, 14],
        &[4, 2],
        &[4, 3, 0],
        &[5, 2],
        &[5, 3, 1],
        &[5, 9, 1, 2, 3, 4, 5, 6, 7],
        &[5, 255],
        &[8, 2],
        &[8, 9],
        &[8, 11],
        &[8, 10, 0, 0, 0, 1],
        &[8, 10, 255, 255, 255, 255, 0, 0, 0, 0],
        &[0],
        &[0, 8, 10, 1, 1],
        &[1],
        &[1, 1, 1],
        &[30, 4, 0, 0],
        &[34, 10, 1, 2, 3, 4, 5, 6, 7, 8],
        &[253, 0],
        &[255, 255],
        &[19, 18],
    ];
    let at = payload_at(frame).max(OPTIONS.min(frame.len()));
    let old = frame.get(OPTIONS..at).unwrap_or_default().to_vec();
    let mut new = Vec::new();
    for _ in 0..=random.below(6) {
        match random.below(4) {
            0 => new.extend(&old),
            1 => new.extend(bytes(random, 11)),
            _ => new.extend(ODD[random.below(ODD.len())]),
        }
    }
    new.truncate(random.below(11) * 4);
    new.resize(new.len().next_multiple_of(4), random.below(2) as u8);
    if at >= OPTIONS {
        frame.splice(OPTIONS..at, new.iter().copied());
        put(frame, TCP + 12, &[((20 + new.len()) as u8 / 4) << 4]);
        mend_length(frame);
    }
}

/// Blocks of SACK around the acknowledgement, behind the timestamp that is there.
fn sack(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let at = payload_at(frame);
    if at != OPTIONS + 12 {
        return;
    }
    let ack = u32::from_be_bytes(get(frame, TCP + 8));
    let blocks = 1 + random.below(3);
    let mut new = vec![1, 1, 5, 2 + 8 * blocks as u8];
    for _ in 0..2 * blocks {
        new.extend(ack.wrapping_add(distance(random)).to_be_bytes());
    }
    frame.splice(at..at, new.iter().copied());
    put(frame, TCP + 12, &[((32 + new.len()) as u8 / 4) << 4]);
    mend_length(frame);
}

fn distance(random: &mut Random) -> u32 {
    let off = DISTANCES[random.below(DISTANCES.len())].wrapping_add(random.below(3) as u32);
    if random.below(2) == 0 { off } else { off.wrapping_neg() }
}

fn shift(frame: &mut [u8], at: usize, by: u32) {
    let number = u32::from_be_bytes(get(frame, at)).wrapping_add(by);
    put(frame, at, &number.to_be_bytes());
}

/// Sequence number, acknowledgement, or one of the timestamps.
fn sequence(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let at = [TCP + 4, TCP + 4, TCP + 8, TCP + 8, OPTIONS + 4, OPTIONS + 8][random.below(6)];
    let by = if random.below(8) == 0 { random.below(1 << 32) as u32 } else { distance(random) };
    shift(frame, at, by);
}

fn window(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let window = [0, 1, 535, 0x7fff, 0xffff, byte(random).into()][random.below(6)];
    put(frame, TCP + 14, &u16::to_be_bytes(window));
    // The urgent pointer, too.
    put(frame, TCP + 18, &[byte(random) & 1, byte(random)]);
}

fn fragment(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    put(frame, IP + 6, &[byte(random) & 0xbf, [0, 0, 1, byte(random)][random.below(4)]]);
}

fn ip_options(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    if frame.len() >= TCP {
        let words = 1 + random.below(10);
        let new: Vec<u8> = (0..words * 4).map(|_| [0, 1, 7, 68, 131, 148, byte(random)][random.below(7)]).collect();
        frame.splice(TCP..TCP, new);
        put(frame, IP, &[0x40 | (5 + words) as u8]);
        mend_length(frame);
    }
}

fn vlan(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    if frame.len() < ETHERNET {
        return;
    }
    for _ in 0..=random.below(2) {
        let kind = [[0x81, 0x00], [0x88, 0xa8]][random.below(2)];
        frame.splice(12..12, [kind[0], kind[1], byte(random), byte(random)]);
    }
}

/// The same segment over IPv6, behind extension headers at times.
fn ipv6(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    if frame.len() < TCP {
        return;
    }
    let segment = frame.split_off(TCP);
    frame.truncate(12);
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
    let next = [6, 0, 43, 44, 60, 59, byte(random)][random.below(7)];
    let extension = if next == 6 { Vec::new() } else { vec![6, 0, 1, 4, 0, 0, 0, byte(random)] };
    frame.extend(((segment.len() + extension.len()) as u16).to_be_bytes());
    frame.extend([next, 64]);
    frame.extend((0..32).map(|_| byte(random)));
    frame.extend(extension);
    frame.extend(segment);
}

/// What a router says of a frame: types and codes of all kinds, with the headers that it quotes.
fn icmp(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    if frame.len() < OPTIONS {
        return;
    }
    let quoted = frame[IP..IP + 28 + random.below(frame.len() - IP - 28 + 1)].to_vec();
    let (from, to): ([u8; 4], [u8; 4]) = (get(frame, IP + 12), get(frame, IP + 16));
    let (kind, code) = ([3, 3, 3, 4, 5, 8, 11, 12, byte(random)][random.below(9)], [4, 4, 0, 1, 3][random.below(5)]);
    let mtu = [0, 68, 576, 1280, 1499, 65_535][random.below(6)];
    frame.truncate(IP);
    frame.extend([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 1, 0, 0]);
    // To whoever sent it, or to whom it was for: some quote what they never saw.
    let (source, destination) = if random.below(2) == 0 { (to, from) } else { (from, to) };
    frame.extend(source);
    frame.extend(destination);
    frame.extend([kind, code, 0, 0, 0, 0]);
    frame.extend(u16::to_be_bytes(mtu));
    frame.extend(quoted);
    mend_length(frame);
    let check = folded(sum(&frame[TCP..]));
    put(frame, TCP + 2, &check);
}

/// Alone it stays wrong only if nothing mends it.
fn checksum(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let at = [IP + 10, TCP + 16][random.below(2)];
    shift(frame, at - 2, 1 + random.below(0xffff) as u32);
}

/// Wholly random, behind addresses that are right or not.
fn rubbish(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    let kept = [0, ETHERNET, TCP, OPTIONS][random.below(4)].min(frame.len());
    frame.truncate(kept);
    frame.extend(bytes(random, 200));
}

fn addresses(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    let (source, destination): ([u8; 4], [u8; 4]) = (get(frame, IP + 12), get(frame, IP + 16));
    match random.below(5) {
        0 => (put(frame, IP + 12, &destination), put(frame, IP + 16, &source)),
        1 => (put(frame, IP + 12, &get::<4>(other, IP + 12)), put(frame, IP + 16, &get::<4>(other, IP + 16))),
        2 => (put(frame, IP + 12, &destination), ()),
        3 => (put(frame, IP + 15, &[byte(random)]), ()),
        _ => (put(frame, IP + 12, &[[0; 4], [255; 4], [127, 0, 0, 1], [224, 0, 0, 1]][random.below(4)]), ()),
    };
}

fn ports(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    let (source, destination): ([u8; 2], [u8; 2]) = (get(frame, TCP), get(frame, TCP + 2));
    match random.below(4) {
        0 => (put(frame, TCP, &destination), put(frame, TCP + 2, &source)),
        1 => (put(frame, TCP, &get::<2>(other, TCP)), put(frame, TCP + 2, &get::<2>(other, TCP + 2))),
        2 => (put(frame, TCP, &[byte(random), byte(random)]), ()),
        _ => (put(frame, TCP + 2, &[byte(random), byte(random)]), ()),
    };
}

/// Time to live, type of service, identification, protocol.
fn lifetime(random: &mut Random, frame: &mut Vec<u8>, _: &[u8]) {
    match random.below(4) {
        0 => put(frame, IP + 8, &[random.below(3) as u8]),
        1 => put(frame, IP + 1, &[byte(random)]),
        2 => put(frame, IP + 4, &[byte(random), byte(random)]),
        _ => put(frame, IP + 9, &[[6, 1, 17, 47, 58, byte(random)][random.below(6)]]),
    }
}

/// Another message in the same place.
fn text(random: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    let at = payload_at(frame);
    let message = mutate_text(random, &frame[at..], &other[payload_at(other)..]);
    frame.truncate(at);
    frame.extend(message);
    frame.truncate(LONGEST);
    mend_length(frame);
}

/// The headers of this frame with what the other one carries.
fn graft(_: &mut Random, frame: &mut Vec<u8>, other: &[u8]) {
    frame.truncate(payload_at(frame));
    frame.extend(&other[payload_at(other)..]);
    mend_length(frame);
}
