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

/// The sum of bytes that begin at an even place, to be folded.
pub fn sum_bytes(bytes: &[u8]) -> u64 {
    bytes.chunks(2).map(|pair| u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]))).sum()
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
    use proptest::prelude::any;

    use super::*;

    fn check(bytes: &[u8]) -> u16 {
        !fold(sum_bytes(bytes))
    }

    #[test]
    fn carries_come_round() {
        for (sum, folded) in [
            (0, 0),
            (0xffff, 0xffff),
            (0x1_0000, 1),
            (0x1_ffff, 1),
            (0xffff_ffff, 0xffff),
            (0x1_0000_0000, 1),
            (u64::MAX, 0xffff),
            (0xffff_0000_ffff_0001, 1),
        ] {
            assert_eq!(fold(sum), folded, "{sum:#x}");
        }
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // Section 4: a header's checksum is 0xdd2f, a field goes from 0x5555 to 0x3285; naive arithmetic gives 0xffff.
        let big = |value: u16| value.to_be();
        assert_eq!(update(big(0xdd2f), diff16(big(0x5555), big(0x3285))), big(0x0000));
    }

    proptest::proptest! {
        /// N1.
        #[test]
        fn an_update_equals_a_new_sum(mut bytes in proptest::collection::vec(0u8..=255, 40), new in 0u32..) {
            bytes[10] = 1; // an all-zero packet has two representations of its sum
            let before = check(&bytes);
            let old = u32::from_ne_bytes(bytes[20..24].try_into().unwrap());
            bytes[20..24].copy_from_slice(&new.to_ne_bytes());
            proptest::prop_assert_eq!(update(before, diff(old, new)), check(&bytes));
        }

        /// Several changes at once, some of them at odd places, as one sum.
        #[test]
        fn many_updates_are_one(
            mut bytes in proptest::collection::vec(1u8..=255, 60),
            changes in proptest::collection::vec((0usize..14, any::<u32>()), 0..20),
            ports in proptest::collection::vec((0usize..29, any::<u16>()), 0..20),
        ) {
            let before = check(&bytes);
            let mut difference = 0;
            for (at, new) in changes {
                let field: &mut [u8; 4] = bytes[at * 4..].first_chunk_mut().unwrap();
                difference += diff(u32::from_ne_bytes(*field), new);
                *field = new.to_ne_bytes();
            }
            for (at, new) in ports {
                let field: &mut [u8; 2] = bytes[at * 2..].first_chunk_mut().unwrap();
                difference += diff16(u16::from_ne_bytes(*field), new);
                *field = new.to_ne_bytes();
            }
            proptest::prop_assume!(bytes.iter().any(|byte| *byte != 0));
            proptest::prop_assert_eq!(update(before, difference), check(&bytes));
        }
    }
}
