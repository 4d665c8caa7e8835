//! A sieve of addresses: bits that tell most packets of others, which are not the director's business, without a search in a hash.
//!
//! An address whose bit is not set is certainly no key of `ADDRESSES`. Bits are set before what they stand for is entered, and cleared after
//! it was taken out.

use super::Address;

/// Words of bits.
const WORDS: usize = 64;

/// The sieve, and how often what it stands before has changed.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Sieve {
    bits: [u64; WORDS],
    /// Another number before and behind each change of `ADDRESSES`, so that nobody goes on using what was found there before.
    pub changes: u64,
}

impl Sieve {
    /// With the bits of these addresses.
    pub fn of<'a>(addresses: impl IntoIterator<Item = &'a Address>, changes: u64) -> Self {
        let mut sieve = Self { bits: [0; WORDS], changes };
        for address in addresses {
            let mixed = mixed(address);
            sieve.bits[word(mixed)] |= bit(mixed);
        }
        sieve
    }

    /// Whether an address may be a key of `ADDRESSES`, and if so, where to remember what was found there.
    #[inline(always)]
    pub fn passes(&self, address: &Address) -> Option<usize> {
        let mixed = mixed(address);
        if self.bits[word(mixed)] & bit(mixed) == 0 { None } else { Some(mixed as usize >> 8 & (REMEMBERED - 1)) }
    }
}

/// The golden ratio of 32 bits spreads neighbours (Knuth, TAOCP 6.4). Nobody gains by a collision, which costs a search.
#[inline(always)]
const fn mixed(address: &Address) -> u32 {
    let [a, b, c, d] = address.words();
    (a ^ b.rotate_left(9) ^ c.rotate_left(18) ^ d).wrapping_mul(0x9e37_79b1)
}

#[inline(always)]
const fn word(mixed: u32) -> usize {
    mixed as usize >> 26 & (WORDS - 1)
}

#[inline(always)]
const fn bit(mixed: u32) -> u64 {
    1 << (mixed >> 20 & 63)
}

/// Addresses of which a CPU remembers what they are to the director.
pub const REMEMBERED: usize = 8;

/// What was found in `ADDRESSES` for an address, when [`Sieve::changes`] was that number.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Remembered {
    pub address: Address,
    pub role: u64,
    pub changes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_passes_and_most_others_do_not() {
        let inside: [Address; 3] = [[10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [192, 0, 2, 7].into()];
        let sieve = Sieve::of(&inside, 1);
        assert!(inside.iter().all(|address| sieve.passes(address).is_some_and(|place| place < REMEMBERED)));
        let others = (0..=255u8).flat_map(|b| (0..=255).map(move |c| Address::from([172, 16, b, c])));
        let passed = others.filter(|address| sieve.passes(address).is_some()).count();
        assert!(passed < 65_536 * 4 / 4096, "{passed}");
    }
}
