//! Frames as a packet socket gives them, with what hardware would be told of them in front: whether the checksum is still to be
//! completed, and how many segments the frame stands for.
//!
//! A merged frame of 64 KiB is as many packets on a wire, and each has a fate of its own. So frames are cut into the runs of
//! segments that share one, and stay merged inside these.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

use super::super::Family;
use super::fate::{Fate, Fates};

/// Bytes of `struct virtio_net_hdr` (include/uapi/linux/virtio_net.h): flags, kind, then header length, segment size, start and
/// offset of the checksum, of 16 bits each, in the machine's byte order.
pub(super) const NOTE: usize = 10;
/// The kinds of frames that stand for several TCP segments, of each family. The kernel has the checksum of each still to be completed.
const MERGED: [(Family, u8); 2] = [(Family::V4, 1), (Family::V6, 4)];
/// The flag that the checksum is to be completed.
const NEEDS_CHECKSUM: u8 = 1;
/// Another kind's bit: the first of them has CWR set.
const WITH_CWR: u8 = 0x80;

const ETHERNET: usize = 14;
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
const FIN_AND_PSH: u8 = 0x09;
const CWR: u8 = 0x80;
/// The flag in the IP header that forbids cutting the packet into fragments (RFC 791, section 3.1).
const DONT_FRAGMENT: u8 = 0x40;
/// What an ICMP error may be long at most (RFC 1812, section 4.3.2.3), and one of ICMPv6 (RFC 4443, section 2.4).
const ICMP_ROOM: usize = 576;
const ICMPV6_ROOM: usize = 1280;

/// A frame, with its note in front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame(pub(super) Vec<u8>);

impl Frame {
    fn bytes(&self) -> &[u8] {
        &self.0[NOTE..]
    }

    fn noted(&self, at: usize) -> usize {
        usize::from(u16::from_ne_bytes([self.0[at], self.0[at + 1]]))
    }

    /// Its family, if it is one that the link treats badly. ARP and neighbour discovery pass: a lost question costs a second, and is not
    /// what is tested.
    pub(super) fn family(&self) -> Option<Family> {
        let bytes = self.bytes();
        match bytes.get(12..14)? {
            kind if kind == IPV4 && bytes.len() >= ETHERNET + 20 => Some(Family::V4),
            kind if kind == IPV6 && bytes.len() >= ETHERNET + 60 && bytes[ETHERNET + 6] == TCP => Some(Family::V6),
            _ => None,
        }
    }

    /// Bytes of the headers, and of each segment's payload, of a merged frame.
    fn merged(&self) -> Option<(usize, usize)> {
        let size = self.noted(4);
        if size == 0 || !self.family().is_some_and(|family| MERGED.contains(&(family, self.0[1] & !WITH_CWR))) {
            return None;
        }
        let tcp = self.transport();
        Some((tcp + usize::from(self.bytes()[tcp + 12] >> 4) * 4, size))
    }

    fn transport(&self) -> usize {
        let header = if self.family() == Some(Family::V6) { 40 } else { usize::from(self.bytes()[ETHERNET] & 0xf) * 4 };
        ETHERNET + header
    }

    /// How many packets it is on a wire.
    pub(super) fn segments(&self) -> usize {
        self.merged().map_or(1, |(headers, size)| (self.bytes().len() - headers).div_ceil(size).max(1))
    }

    /// Bytes of the largest IP packet that it is on a wire.
    fn longest(&self) -> usize {
        let longest = self.merged().map_or(usize::MAX, |(headers, size)| headers + size);
        longest.min(self.bytes().len()) - ETHERNET
    }

    /// The segments of a range as a frame of their own.
    pub(super) fn run(&self, range: Range<usize>) -> Self {
        let all = self.segments();
        let Some((headers, size)) = self.merged().filter(|_| range != (0..all)) else { return self.clone() };
        let last = range.end == all;
        let end = if last { self.bytes().len() } else { headers + range.end * size };
        let payload = &self.bytes()[headers + range.start * size..end];
        let mut run = Self([&self.0[..NOTE + headers], payload].concat());
        if range.len() == 1 {
            // One segment is an ordinary frame, whose checksum is to be completed as before.
            run.0[1..6].fill(0);
        }
        let (tcp, family) = (self.transport(), self.family().unwrap_or(Family::V4));
        let bytes = &mut run.0[NOTE..];
        let addresses = match family {
            Family::V4 => {
                let total = bytes.len() - ETHERNET;
                put(bytes, ETHERNET + 2, total as u16);
                let number = get(bytes, ETHERNET + 4).wrapping_add(range.start as u16);
                put(bytes, ETHERNET + 4, number);
                put(bytes, ETHERNET + 10, 0);
                let check = !sum(&bytes[ETHERNET..tcp]);
                put(bytes, ETHERNET + 10, check);
                ETHERNET + 12..tcp
            }
            Family::V6 => {
                let length = bytes.len() - tcp;
                put(bytes, ETHERNET + 4, length as u16);
                ETHERNET + 8..tcp
            }
        };
        let first = u32::from(get(bytes, tcp + 4)) << 16 | u32::from(get(bytes, tcp + 6));
        let first = first.wrapping_add((range.start * size) as u32);
        bytes[tcp + 4..tcp + 8].copy_from_slice(&first.to_be_bytes());
        if !last {
            bytes[tcp + 13] &= !FIN_AND_PSH;
        }
        if range.start != 0 {
            bytes[tcp + 13] &= !CWR;
        }
        // What a checksum that is to be completed holds meanwhile: the sum of the pseudo-header.
        let length = (bytes.len() - tcp) as u16;
        let pseudo = [&bytes[addresses], &[0, TCP], &length.to_be_bytes()].concat();
        let check = sum(&pseudo);
        put(bytes, tcp + 16, check);
        run
    }

    /// Cuts the frame where its segments' fates part; the lost ones are left out, and how many those were is the second answer.
    pub(super) fn part(self, fates: &mut Fates) -> (Vec<(Self, Fate)>, usize) {
        let all: Vec<_> = (0..self.segments()).map(|_| fates.next()).collect();
        let lost = all.iter().filter(|fate| **fate == Fate::Lost).count();
        if all.iter().all(|fate| *fate == all[0]) {
            return (if lost == 0 { vec![(self, all[0])] } else { Vec::new() }, lost);
        }
        let mut runs = Vec::new();
        let mut first = 0;
        for same in all.chunk_by(PartialEq::eq) {
            let range = first..first + same.len();
            first = range.end;
            if same[0] != Fate::Lost {
                runs.push((self.run(range), same[0]));
            }
        }
        (runs, lost)
    }

    /// Changes a bit of the TCP segment, whose checksum is completed first, as it would be on a wire.
    pub(super) fn damage(&mut self, bit: u32) {
        let tcp = self.transport();
        if self.0[0] & NEEDS_CHECKSUM != 0 {
            self.0[0] &= !NEEDS_CHECKSUM;
            let bytes = &mut self.0[NOTE..];
            // The field holds the sum of the pseudo-header.
            let check = !sum(&bytes[tcp..]);
            put(bytes, tcp + 16, check);
        }
        let segment = &mut self.0[NOTE + tcp..];
        let bit = bit as usize % (segment.len() * 8);
        segment[bit / 8] ^= 1 << (bit % 8);
    }

    /// What a router with this address answers if the packet is larger than its next link takes; `None` if it is not.
    pub(super) fn too_big(&self, mtu: u16, router: Ipv4Addr) -> Option<Refusal> {
        if self.longest() <= usize::from(mtu) {
            return None;
        }
        let first = self.run(0..1);
        let packet = &first.bytes()[ETHERNET..];
        let (kind, answer) = match Family::V6.of(router) {
            IpAddr::V6(router) if self.family() == Some(Family::V6) => (IPV6, told6(packet, mtu, router.octets())),
            _ if packet[6] & DONT_FRAGMENT == 0 => return Some(Refusal::Silent),
            _ => (IPV4, told4(packet, mtu, router)),
        };
        let ethernet = self.bytes();
        let ethernet = [&ethernet[6..12], &ethernet[..6], &kind].concat();
        Some(Refusal::Answer(Self([&[0; NOTE][..], &ethernet, &answer].concat())))
    }
}

/// Destination unreachable, fragmentation needed, and the MTU of the next link (RFC 1191, section 4).
fn told4(packet: &[u8], mtu: u16, router: Ipv4Addr) -> Vec<u8> {
    let quoted = &packet[..packet.len().min(ICMP_ROOM - 28)];
    let mut icmp = [&[3, 4, 0, 0, 0, 0][..], &mtu.to_be_bytes(), quoted].concat();
    let check = !sum(&icmp);
    put(&mut icmp, 2, check);
    let mut ip = [0x45, 0xc0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    put(&mut ip, 2, (20 + icmp.len()) as u16);
    ip[12..16].copy_from_slice(&router.octets());
    ip[16..].copy_from_slice(&packet[12..16]);
    let check = !sum(&ip);
    put(&mut ip, 10, check);
    [&ip[..], &icmp].concat()
}

/// Packet too big (RFC 4443, section 3.2).
fn told6(packet: &[u8], mtu: u16, router: [u8; 16]) -> Vec<u8> {
    let quoted = &packet[..packet.len().min(ICMPV6_ROOM - 48)];
    let mut icmp = [&[2, 0, 0, 0, 0, 0][..], &mtu.to_be_bytes(), quoted].concat();
    let ends = [&router[..], &packet[8..24]].concat();
    let length = icmp.len() as u16;
    let check = !sum(&[&ends[..], &length.to_be_bytes(), &[0, ICMPV6], &icmp].concat());
    put(&mut icmp, 2, check);
    let ip = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[ICMPV6, 64], &ends].concat();
    [ip, icmp].concat()
}

/// What becomes of a packet that is too big.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is dropped, and its sender told.
    Answer(Frame),
    /// It might be cut into fragments, which nothing here does: it is dropped.
    Silent,
}

fn get(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn put(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// The one's complement sum of RFC 1071.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)])));
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    ((sum >> 16) + (sum & 0xffff)) as u16
}

#[cfg(test)]
mod tests;
