//! What the daemon says to the programs that it runs by itself: `balancer_close` and `balancer_release`.

use super::FlowKey;

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
    pub const BYTES: usize = 24;

    /// As it stands in a frame: the key in network order, the numbers in the machine's.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let FlowKey { client, vip, client_port, port } = self.key;
        bytes[..4].copy_from_slice(&client);
        bytes[4..8].copy_from_slice(&vip);
        bytes[8..10].copy_from_slice(&client_port);
        bytes[10..12].copy_from_slice(&port);
        bytes[12..16].copy_from_slice(&self.slot.to_ne_bytes());
        bytes[16..20].copy_from_slice(&self.service.to_ne_bytes());
        bytes[20..24].copy_from_slice(&self.version.to_ne_bytes());
        bytes
    }

    /// Back from [`Self::to_bytes`]: words rather than slices, which the verifier would want proofs for.
    #[inline(always)]
    pub const fn from_bytes(b: &[u8; Self::BYTES]) -> Self {
        Self {
            key: FlowKey {
                client: [b[0], b[1], b[2], b[3]],
                vip: [b[4], b[5], b[6], b[7]],
                client_port: [b[8], b[9]],
                port: [b[10], b[11]],
            },
            slot: u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
            service: u32::from_ne_bytes([b[16], b[17], b[18], b[19]]),
            version: u32::from_ne_bytes([b[20], b[21], b[22], b[23]]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let key = FlowKey { client: [1, 2, 3, 4], vip: [5, 6, 7, 8], client_port: [9, 10], port: [11, 12] };
        let request = Errand { key, slot: 0x1314_1516, service: 17, version: 18 };
        assert_eq!(Errand::from_bytes(&request.to_bytes()), request);
    }
}
