//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).
//!
//! Sums are taken over the fields as they lie in memory. One's complement sums do not care about the byte order as long
//! as every term has the same (RFC 1071, section 2(B)), so nothing is swapped.

/// Folds a sum of 16-bit or 32-bit words to 16 bits, with the carries brought round.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = sum as u32;
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The difference that a 32-bit field makes to a sum when `old` becomes `new`.
#[inline(always)]
pub const fn diff(old: u32, new: u32) -> u64 {
    (!old as u64) + new as u64
}

/// The same for a 16-bit field.
#[inline(always)]
pub const fn diff16(old: u16, new: u16) -> u64 {
    (!old as u64) + new as u64
}

/// A checksum field after the sum behind it changed by `diff`: HC' = ~(~HC + ~m + m') (RFC 1624, equation 3).
#[inline(always)]
pub const fn update(check: u16, diff: u64) -> u16 {
    !fold((!check) as u64 + diff)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(bytes: &[u8]) -> u16 {
        !fold(bytes.chunks(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum())
    }

    proptest::proptest! {
        #[test]
        fn an_update_equals_a_new_sum(mut bytes in proptest::collection::vec(0u8..=255, 40), new in 0u32..) {
            bytes[10] = 1; // an all-zero packet has two representations of its sum
            let before = sum(&bytes);
            let old = u32::from_ne_bytes(bytes[20..24].try_into().unwrap());
            bytes[20..24].copy_from_slice(&new.to_ne_bytes());
            proptest::prop_assert_eq!(update(before, diff(old, new)), sum(&bytes));
        }
    }
}
