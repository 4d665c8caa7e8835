//! Addresses: whoever lives here is known by four bytes, and on the wire of a world over IPv6 by the address that stands for them.

use balancer_ebpf::layout::Address;
use smoltcp::wire::{IpAddress, Ipv4Address, Ipv6Address};

/// Which family a world speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// Half of the seeds each.
    pub(crate) fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::V4 } else { Self::V6 }
    }

    /// Bytes of the IP header.
    pub(crate) const fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    pub(crate) const fn ethertype(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }

    /// The family of a frame.
    pub(crate) fn of_frame(frame: &[u8]) -> Self {
        if frame.get(12..14) == Some(&Self::V6.ethertype()) { Self::V6 } else { Self::V4 }
    }

    /// As the core knows an address.
    pub(crate) fn address(self, address: [u8; 4]) -> Address {
        match self {
            Self::V4 => address.into(),
            Self::V6 => Address::from_bytes(six(address)),
        }
    }

    /// As smoltcp does.
    pub(crate) fn ip(self, address: [u8; 4]) -> IpAddress {
        match self {
            Self::V4 => IpAddress::Ipv4(Ipv4Address::from(address)),
            Self::V6 => IpAddress::Ipv6(Ipv6Address::from(six(address))),
        }
    }
}

/// Bytes of all kinds in all places, so that none is mistaken for another.
fn six([a, b, c, d]: [u8; 4]) -> [u8; 16] {
    [0xfd, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc, a ^ 0x55, 0xff, 0xee, d, 0x80, a, b, c, d]
}

/// Whom an IPv6 address stands for.
pub(crate) fn known(address: [u8; 16]) -> Result<[u8; 4], String> {
    let [.., a, b, c, d] = address;
    if six([a, b, c, d]) == address { Ok([a, b, c, d]) } else { Err(format!("nobody's address {address:02x?}")) }
}
