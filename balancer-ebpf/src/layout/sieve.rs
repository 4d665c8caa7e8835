//! A sieve of addresses: bits that tell most packets of others, which are not the director's business, without a search in a hash.
//!
//! An address whose bit is not set is certainly no key of `ADDRESSES`. Bits are set before what they stand for is entered, and cleared after
//! it was taken out.

use super::Address;

/// Words of the sieve.
pub const SIEVE_WORDS: u32 = 64;

/// The word and the bit of an address.
#[inline(always)]
pub const fn sieve_bit(address: &Address) -> (u32, u64) {
    let [a, b, c, d] = address.words();
    // The golden ratio of 32 bits spreads neighbours (Knuth, TAOCP 6.4); nobody gains by a collision, which costs a search.
    let mixed = (a ^ b.rotate_left(9) ^ c.rotate_left(18) ^ d).wrapping_mul(0x9e37_79b1);
    ((mixed >> 26) % SIEVE_WORDS, 1 << (mixed >> 20 & 63))
}
