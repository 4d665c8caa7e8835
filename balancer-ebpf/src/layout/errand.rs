//! What the daemon says to the programs that it runs by itself: `balancer_close` and `balancer_release`.

use super::{Address, FlowKey};

/// Where an [`Errand`] begins in the frame: behind an Ethernet header.
pub const ERRAND_AT: usize = 14;

/// The flow that is meant: its slot, and what it has to be. In no map, but between the two all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Errand {
    pub key: FlowKey,
    pub slot: u32,
    pub service: u32,
    /// Index of the version that the flow's leg is of, where it is to be closed.
    pub version: u32,
}

impl Errand {
    /// Bytes in a frame.
    pub const BYTES: usize = 48;

    /// As it stands in a frame: the key in network order, the numbers in the machine's.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let FlowKey { client, vip, client_port, port } = self.key;
        let numbers = [self.slot, self.service, self.version].map(u32::to_ne_bytes);
        let addresses = [client, vip].map(<[u8; 16]>::from);
        let parts = addresses.as_flattened().iter().chain(&client_port).chain(&port).chain(numbers.as_flattened());
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = *from;
        }
        bytes
    }

    /// Back from [`Self::to_bytes`]: words rather than slices, which the verifier would want proofs for.
    #[inline(always)]
    pub const fn from_bytes(b: &[u8; Self::BYTES]) -> Self {
        Self {
            key: FlowKey {
                client: Address::v6([word(b, 0), word(b, 4), word(b, 8), word(b, 12)]),
                vip: Address::v6([word(b, 16), word(b, 20), word(b, 24), word(b, 28)]),
                client_port: [b[32], b[33]],
                port: [b[34], b[35]],
            },
            slot: word(b, 36),
            service: word(b, 40),
            version: word(b, 44),
        }
    }
}

#[inline(always)]
const fn word(b: &[u8; Errand::BYTES], at: usize) -> u32 {
    u32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let key = FlowKey {
            client: Address::v4([1, 2, 3, 4]),
            vip: Address::v4([5, 6, 7, 8]),
            client_port: [9, 10],
            port: [11, 12],
        };
        let request = Errand { key, slot: 0x1314_1516, service: 17, version: 18 };
        assert_eq!(Errand::from_bytes(&request.to_bytes()), request);
    }
}
