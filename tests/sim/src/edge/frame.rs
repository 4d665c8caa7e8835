//! A frame in the hands of a hook: a vector of bytes, as TC or as XDP would give it to the core.

use balancer_ebpf::layout::Buffer;
use balancer_ebpf::net::{Crafted, Egress, Frame, HEADERS, HEADERS_TS, Hop, fold, is_sound, sum_bytes, update};
use balancer_ebpf::work::Work;

use super::Mutation;

const IP_CHECK: usize = 24;
const TCP_CHECK: usize = 50;

/// What the hook is, and how the frame's checksum came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// TC: frames grow, and several leave for one.
    pub can_grow: bool,
    /// The TCP checksum field holds the pseudo-header's sum only: hardware, or what stands for it, completes it.
    pub partial: bool,
    pub mutation: Mutation,
}

/// A frame under way through the core.
pub struct SimFrame<'a> {
    pub bytes: Vec<u8>,
    pub kind: Kind,
    pub ingress: Egress,
    /// Next hops by destination.
    pub routes: &'a [([u8; 4], Hop)],
    /// Copies that were sent before the frame itself.
    pub copies: Vec<(Egress, Vec<u8>)>,
    /// What a mutation changed, so that the checksum stays right as it would if the core had the bug.
    pub falsified: u64,
}

impl Frame for SimFrame<'_> {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn ingress(&self) -> Egress {
        self.ingress
    }

    fn headers(&mut self) -> Option<&mut [u8; HEADERS]> {
        self.bytes.first_chunk_mut()
    }

    fn headers_ts(&mut self) -> Option<&mut [u8; HEADERS_TS]> {
        self.bytes.first_chunk_mut()
    }

    fn load8(&self, at: u32) -> Option<[u8; 8]> {
        self.bytes.get(at as usize..)?.first_chunk().copied()
    }

    fn store8(&mut self, at: u32, mut bytes: [u8; 8]) -> bool {
        if self.kind.mutation == Mutation::SackEdge && self.is_sack(at as usize) {
            let right = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let wrong = right.wrapping_add(1);
            bytes[4..].copy_from_slice(&wrong.to_be_bytes());
            let diff = balancer_ebpf::net::diff(right.to_be(), wrong.to_be());
            self.falsified += if at & 1 == 0 { diff } else { u64::from(fold(diff).swap_bytes()) };
        }
        match self.bytes.get_mut(at as usize..at as usize + 8) {
            Some(place) => {
                place.copy_from_slice(&bytes);
                true
            }
            None => false,
        }
    }

    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool {
        match (options.get_mut(..len as usize), self.bytes.get(HEADERS..HEADERS + len as usize)) {
            (Some(to), Some(from)) => {
                to.copy_from_slice(from);
                true
            }
            _ => false,
        }
    }

    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool {
        match self.bytes.get(at as usize..(at + len) as usize) {
            Some(bytes) if len != 0 => {
                buffer.fill(pos, bytes);
                true
            }
            _ => false,
        }
    }

    fn update_checksums(&mut self, addresses: u64, ip: u64, tcp: u64) -> bool {
        let tcp = tcp + std::mem::take(&mut self.falsified);
        self.replace(IP_CHECK, |check| update(check, addresses + ip));
        if self.kind.partial {
            // The field holds a sum, not its complement, and of the addresses only.
            self.replace(TCP_CHECK, |sum| fold(u64::from(sum) + addresses));
        } else {
            self.replace(TCP_CHECK, |check| update(check, addresses + tcp));
        }
        true
    }

    fn sum(&mut self, at: u32, len: u32, _: &mut Buffer) -> Option<u64> {
        self.bytes.get(at as usize..(at + len) as usize).map(sum_bytes)
    }

    fn is_sound(&mut self, work: &mut Work) -> bool {
        self.kind.mutation == Mutation::Unverified || is_sound(self, work)
    }

    fn truncate(&mut self, len: u32) -> bool {
        self.bytes.truncate(len as usize);
        true
    }

    fn can_grow(&self) -> bool {
        self.kind.can_grow
    }

    fn rebuild(&mut self, header: &Crafted, payload: Option<(&Buffer, u32, u32)>) -> bool {
        if !self.kind.can_grow && (payload.is_some() || header.len as usize > self.bytes.len()) {
            return false;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(&header.bytes[..header.len as usize]);
        if let Some((buffer, pos, len)) = payload {
            self.bytes.extend((pos..pos + len).map(|at| buffer.byte(at)));
        }
        if self.kind.partial {
            self.replace(TCP_CHECK, |_| header.pseudo as u16);
        }
        true
    }

    fn send_copy(&mut self, to: Egress) -> bool {
        self.copies.push((to, self.bytes.clone()));
        self.kind.can_grow
    }

    fn route(&mut self, _source: [u8; 4], destination: [u8; 4]) -> Option<Hop> {
        self.routes.iter().find(|(address, _)| *address == destination).map(|(_, hop)| *hop)
    }
}

impl SimFrame<'_> {
    /// Replaces a checksum field, whose bytes are summed as they lie in memory.
    fn replace(&mut self, at: usize, change: impl FnOnce(u16) -> u16) {
        if let Some(field) = self.bytes.get_mut(at..at + 2) {
            let old = u16::from_ne_bytes([field[0], field[1]]);
            field.copy_from_slice(&change(old).to_ne_bytes());
        }
    }

    /// Whether a SACK block lies at `at`.
    fn is_sack(&self, at: usize) -> bool {
        let end = 34 + usize::from(self.bytes[46] >> 4) * 4;
        let mut option = HEADERS;
        while option + 1 < end {
            let len = match self.bytes[option] {
                0 => return false,
                1 => 1,
                _ => usize::from(self.bytes[option + 1]).max(2),
            };
            if (option..option + len).contains(&at) {
                return self.bytes[option] == 5;
            }
            option += len;
        }
        false
    }
}
