//! A frame in the hands of a hook: a vector of bytes, as TC or as XDP would give it to the core.

use balancer_ebpf::layout::{Address, Buffer};
use balancer_ebpf::net::{
    Crafted, Egress, FRONT, Frame, HEADERS, HEADERS_SYN, HEADERS_TS, Hop, fold, is_sound, sum_bytes, update,
};
use balancer_ebpf::work::Work;

use super::Mutation;

/// Where checksums lie in the window.
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
    pub routes: &'a [(Address, Hop)],
    /// Copies that were sent before the frame itself.
    pub copies: Vec<(Egress, Vec<u8>)>,
    /// What a mutation changed, so that the checksum stays right as it would if the core had the bug.
    pub falsified: u64,
    /// A VLAN's tag came beside it.
    pub tagged: bool,
    /// Where the window begins.
    pub base: usize,
}

impl Frame for SimFrame<'_> {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn ingress(&self) -> Egress {
        self.ingress
    }

    fn tagged(&self) -> bool {
        self.tagged
    }

    fn base(&self) -> u32 {
        self.base as u32
    }

    fn rebase(&mut self, base: u32) -> bool {
        self.base = base as usize;
        true
    }

    fn front(&mut self) -> Option<&mut [u8; FRONT]> {
        self.bytes.first_chunk_mut()
    }

    fn headers(&mut self) -> Option<&mut [u8; HEADERS]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }

    fn headers_ts(&mut self) -> Option<&mut [u8; HEADERS_TS]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }
    fn headers_syn(&mut self) -> Option<&mut [u8; HEADERS_SYN]> {
        self.bytes.get_mut(self.base..)?.first_chunk_mut()
    }

    fn load8(&self, at: u32) -> Option<[u8; 8]> {
        self.bytes.get(self.base + at as usize..)?.first_chunk().copied()
    }

    fn store8(&mut self, at: u32, mut bytes: [u8; 8]) -> bool {
        if self.kind.mutation == Mutation::SackEdge && self.is_sack(at as usize) {
            let right = u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
            let wrong = right.wrapping_add(1);
            bytes[4..].copy_from_slice(&wrong.to_be_bytes());
            let diff = balancer_ebpf::net::diff(right.to_be(), wrong.to_be());
            self.falsified += if at & 1 == 0 { diff } else { u64::from(fold(diff).swap_bytes()) };
        }
        let at = self.base + at as usize;
        match self.bytes.get_mut(at..at + 8) {
            Some(place) => {
                place.copy_from_slice(&bytes);
                true
            }
            None => false,
        }
    }

    fn load_address(&self, at: u32, address: &mut Address) -> bool {
        let Some(bytes) = self.bytes.get(self.base + at as usize..).and_then(<[u8]>::first_chunk) else { return false };
        *address = Address::from_bytes(*bytes);
        true
    }

    fn store_address(&mut self, at: u32, address: &Address) -> bool {
        let Some(place) = self.bytes.get_mut(self.base + at as usize..).and_then(<[u8]>::first_chunk_mut) else {
            return false;
        };
        *place = (*address).into();
        true
    }

    fn load_options(&self, options: &mut [u8; 40], len: u32) -> bool {
        let at = self.base + HEADERS;
        match (options.get_mut(..len as usize), self.bytes.get(at..at + len as usize)) {
            (Some(to), Some(from)) => {
                to.copy_from_slice(from);
                true
            }
            _ => false,
        }
    }

    fn load(&self, at: u32, len: u32, buffer: &mut Buffer, pos: u32) -> bool {
        let at = self.base + at as usize;
        match self.bytes.get(at..at + len as usize) {
            Some(bytes) if len != 0 => {
                buffer.fill(pos, bytes);
                true
            }
            _ => false,
        }
    }

    fn update_checksums(&mut self, addresses: u64, tcp: u64) -> bool {
        let tcp = tcp + std::mem::take(&mut self.falsified);
        if self.base == 0 {
            self.replace(IP_CHECK, |check| update(check, addresses));
        }
        if self.kind.partial {
            // The field holds a sum, not its complement, and of the addresses only.
            self.replace(TCP_CHECK, |sum| fold(u64::from(sum) + addresses));
        } else {
            self.replace(TCP_CHECK, |check| update(check, addresses + tcp));
        }
        true
    }

    fn sum(&mut self, at: u32, len: u32, _: &mut Buffer) -> Option<u64> {
        self.bytes.get(self.base + at as usize..)?.get(..len as usize).map(sum_bytes)
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

    fn route(&mut self, _source: &Address, destination: &Address, hop: &mut Hop) -> bool {
        let found = self.routes.iter().find(|(address, _)| address == destination);
        found.is_some_and(|(_, found)| {
            *hop = *found;
            true
        })
    }
}

impl SimFrame<'_> {
    /// Replaces a checksum field of the window, whose bytes are summed as they lie in memory.
    fn replace(&mut self, at: usize, change: impl FnOnce(u16) -> u16) {
        if let Some(field) = self.bytes.get_mut(self.base + at..self.base + at + 2) {
            let old = u16::from_ne_bytes([field[0], field[1]]);
            field.copy_from_slice(&change(old).to_ne_bytes());
        }
    }

    /// Whether a SACK block lies at `at` of the window.
    fn is_sack(&self, at: usize) -> bool {
        let bytes = &self.bytes[self.base..];
        let end = 34 + usize::from(bytes[46] >> 4) * 4;
        let mut option = HEADERS;
        while option + 1 < end {
            let len = match bytes[option] {
                0 => return false,
                1 => 1,
                _ => usize::from(bytes[option + 1]).max(2),
            };
            if (option..option + len).contains(&at) {
                return bytes[option] == 5;
            }
            option += len;
        }
        false
    }
}
