//! Addresses of both families in one shape: an IPv4 address is kept as RFC 4291, section 2.5.5.2, maps it into IPv6.
//!
//! So a key, a leg and a role need no family beside the address, and nothing that compares addresses knows of two kinds. On the
//! wire a mapped address means nothing: a packet that has one in its IPv6 header is malformed (`net/segment.rs`).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The third word of a mapped address, as it lies in memory.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

/// An IPv4 or IPv6 address in *network order*. Words rather than bytes, for an LLVM that copies nothing wider than its alignment.
#[derive(Clone, Copy, Default, Eq)]
#[repr(C)]
pub struct Address {
    words: [u32; 4],
}

impl Address {
    /// No address: `::`.
    pub const NONE: Self = Self { words: [0; 4] };

    /// Of IPv4.
    #[inline(always)]
    pub const fn v4(bytes: [u8; 4]) -> Self {
        Self { words: [0, 0, MAPPED, u32::from_ne_bytes(bytes)] }
    }

    /// Of IPv6: its four words as they lie in memory.
    #[inline(always)]
    pub const fn v6(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// All 16 bytes.
    pub const fn from_bytes(b: [u8; 16]) -> Self {
        Self {
            words: [
                u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
                u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
                u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
                u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
            ],
        }
    }

    /// Whether it is one of IPv4.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.words[0] | self.words[1] | (self.words[2] ^ MAPPED) == 0
    }

    /// Its words as they lie in memory; that of an IPv4 address is the last one.
    #[inline(always)]
    pub const fn words(&self) -> [u32; 4] {
        self.words
    }

    /// The same in pairs, for a hash.
    #[inline(always)]
    pub const fn pairs(&self) -> [u64; 2] {
        let [a, b, c, d] = self.words;
        [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
    }

    /// The four bytes of an IPv4 address, and the last four of another.
    #[inline(always)]
    pub const fn last(&self) -> [u8; 4] {
        self.words[3].to_ne_bytes()
    }

    /// Bytes of the IP and TCP headers of its family, without options.
    #[inline(always)]
    pub const fn headers(&self) -> u32 {
        if self.is_v4() { 40 } else { 60 }
    }

    /// What every host of its family takes in one packet (RFC 1122, section 3.3.2; RFC 8200, section 5).
    #[inline(always)]
    pub const fn least_mtu(&self) -> u32 {
        if self.is_v4() { 576 } else { 1280 }
    }

    /// The segment size that counts where nobody names one (RFC 9293, section 3.7.1).
    #[inline(always)]
    pub const fn default_mss(&self) -> u32 {
        self.least_mtu() - self.headers()
    }

    /// The bits that both addresses have.
    #[inline(always)]
    #[must_use]
    pub const fn and(&self, mask: &Self) -> Self {
        let (a, b) = (&self.words, &mask.words);
        Self { words: [a[0] & b[0], a[1] & b[1], a[2] & b[2], a[3] & b[3]] }
    }

    /// A number that stands for the address where a decision takes a client's part in something: an IPv4 address itself, and of
    /// the others one in which every bit counts.
    #[inline(always)]
    pub const fn number(&self) -> u32 {
        let [a, b, c, d] = self.words;
        let last = u32::from_be(d);
        if self.is_v4() {
            return last;
        }
        // Networks and hosts are numbered from below, so what lies further left is moved to other places.
        last ^ u32::from_be(c).wrapping_mul(0x9e37_79b1)
            ^ u32::from_be(b).wrapping_mul(0x85eb_ca77)
            ^ u32::from_be(a).wrapping_mul(0xc2b2_ae3d)
    }

    /// The address as the standard library has it.
    pub fn to_ip(self) -> IpAddr {
        let bytes: [u8; 16] = self.into();
        Ipv6Addr::from(bytes).to_canonical()
    }
}

/// One comparison instead of four branches, each of which the verifier would follow.
impl PartialEq for Address {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        let (a, b) = (&self.words, &other.words);
        (a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) == 0
    }
}

/// In the order of the addresses on paper.
impl Ord for Address {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        <[u8; 16]>::from(*self).cmp(&(*other).into())
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl core::hash::Hash for Address {
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        self.words.hash(state);
    }
}

impl From<Address> for [u8; 16] {
    fn from(address: Address) -> Self {
        let [a, b, c, d] = address.words.map(u32::to_ne_bytes);
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(a.into_iter().chain(b).chain(c).chain(d)) {
            *to = from;
        }
        bytes
    }
}

impl From<[u8; 4]> for Address {
    fn from(bytes: [u8; 4]) -> Self {
        Self::v4(bytes)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Self {
        Self::v4(address.octets())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Self::from_bytes(address.octets()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_ip().fmt(f)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Address {
        text.parse::<IpAddr>().unwrap().into()
    }

    #[test]
    fn both_families_read_back() {
        for text in ["10.60.0.1", "0.0.0.0", "255.255.255.255", "2001:db8::1", "::", "::1", "fd00:1:2:3:4:5:6:7"] {
            let address = of(text);
            assert_eq!(address.to_string(), text);
            assert_eq!(address.is_v4(), !text.contains(':'), "{text}");
            assert_eq!(Address::from_bytes(address.into()), address);
        }
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"), "the mapped form is the address");
        assert_eq!(Address::v4([10, 0, 0, 1]).last(), [10, 0, 0, 1]);
        assert_eq!(Address::default(), Address::NONE);
    }

    #[test]
    fn every_bit_makes_another_address() {
        let address = of("2001:db8::1:2:3");
        for bit in 0..128 {
            let mut bytes: [u8; 16] = address.into();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let other = Address::from_bytes(bytes);
            assert_ne!(other, address, "bit {bit}");
            assert_ne!(other.number(), address.number(), "bit {bit}");
        }
    }

    #[test]
    fn the_number_of_an_ipv4_address_is_itself() {
        assert_eq!(of("10.1.2.3").number(), 0x0a01_0203);
    }

    #[test]
    fn they_are_in_the_order_of_their_bytes() {
        let sorted = ["::1", "10.0.0.1", "10.0.1.0", "192.0.2.1", "2001:db8::1", "fd00::2"];
        assert!(sorted.map(of).is_sorted());
    }
}
