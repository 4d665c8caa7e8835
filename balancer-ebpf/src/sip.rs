//! SipHash-2-4: the keyed MAC of session ids, SYN cookies and initial sequence numbers.
//!
//! All of them have to be unforgeable by whoever sees some outputs, and a SYN flood makes one per packet: SipHash is
//! made for exactly that (Aumasson and Bernstein, 2012). Its 128-bit form is the authors' later reference code.

use crate::http::{Span, word_at};
use crate::layout::{Buffer, Key, SessionHash};

/// Bytes of a session id at most (C33); longer ones are never looked up.
pub const MAX_ID: u32 = 128;

/// The MAC of whole words, as SipHash-2-4 defines it for their little-endian bytes.
#[inline(always)]
pub fn sip64<const N: usize>(key: Key, words: [u64; N]) -> u64 {
    let mut state = State::new(key);
    for word in words {
        state.absorb(word);
    }
    // The last block carries the length's low byte; whole words leave nothing else for it.
    state.absorb((N as u64) << 59);
    state.v2 ^= 0xff;
    state.rounds4();
    state.fold()
}

/// The key that belongs to `number` among those that `key` stands for: SipHash-2-4 with 128 bits of output over its eight
/// little-endian bytes. Whoever finds out one of them knows neither `key` nor another.
#[inline(always)]
pub fn derive(key: Key, number: u64) -> Key {
    let mut state = State::new128(key);
    state.absorb(number);
    let hash = state.finish128(0, 0);
    Key { k0: hash.tag, k1: hash.bucket }
}

/// The hash of the session id that lies at `span` of `buffer`: SipHash-2-4 with 128 bits of output over the service (four
/// little-endian bytes), four zero bytes and the id. The span lies
/// within [`crate::http::HEAD_LIMIT`]; an id beyond [`MAX_ID`] is cut there.
///
/// A plain loop, not [`crate::host::Cpu::repeat`]: the id has at most 16 words, which the verifier can afford to walk,
/// and the state stays in registers.
#[inline(always)]
pub fn session_hash(key: Key, service: u32, buffer: &Buffer, span: Span) -> SessionHash {
    let len = if span.len > MAX_ID { MAX_ID } else { span.len };
    let mut state = State::new128(key);
    state.absorb(u64::from(service));
    let mut done = 0;
    // Bounded by the constant as well as by the length, so that the verifier sees an end whatever it knows of `len`.
    while done < MAX_ID {
        if done + 8 > len {
            break;
        }
        state.absorb(word_at(buffer, span.pos.wrapping_add(done)));
        done += 8;
    }
    let tail = len & 7;
    let rest = word_at(buffer, span.pos.wrapping_add(len - tail)) & !(u64::MAX << (tail * 8));
    state.finish128(rest, len)
}

/// [`session_hash`] of an id that lies in a slice, for the host: what the daemon binds, explains and exports.
pub fn hash_id(key: Key, service: u32, id: &[u8]) -> SessionHash {
    let id = id.get(..MAX_ID as usize).unwrap_or(id);
    let mut state = State::new128(key);
    state.absorb(u64::from(service));
    let (words, rest) = id.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    state.finish128(u64::from_le_bytes(last), id.len() as u32)
}

/// The four words that SipHash stirs.
#[derive(Clone, Copy)]
struct State {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl State {
    #[inline(always)]
    fn new(key: Key) -> Self {
        Self {
            v0: key.k0 ^ 0x736f_6d65_7073_6575,
            v1: key.k1 ^ 0x646f_7261_6e64_6f6d,
            v2: key.k0 ^ 0x6c79_6765_6e65_7261,
            v3: key.k1 ^ 0x7465_6462_7974_6573,
        }
    }

    /// The start of the 128-bit form, which differs in one byte.
    #[inline(always)]
    fn new128(key: Key) -> Self {
        let mut state = Self::new(key);
        state.v1 ^= 0xee;
        state
    }

    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    /// The end of the 128-bit form; `rest` has the id's last `len % 8` bytes. The message has eight bytes before the id.
    #[inline(always)]
    fn finish128(mut self, rest: u64, len: u32) -> SessionHash {
        self.absorb(rest | u64::from(len.wrapping_add(8)) << 56);
        self.v2 ^= 0xee;
        self.rounds4();
        let tag = self.fold();
        self.v1 ^= 0xdd;
        self.rounds4();
        // A tag of 0 marks a free entry of the session table.
        SessionHash { tag: if tag == 0 { 1 } else { tag }, bucket: self.fold() }
    }

    #[inline(always)]
    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    #[inline(always)]
    fn rounds4(&mut self) {
        self.round();
        self.round();
        self.round();
        self.round();
    }

    #[inline(always)]
    fn fold(&self) -> u64 {
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::hash::Hasher;
    use proptest::prelude::*;
    use siphasher::sip::SipHasher24;
    use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};

    /// The key of the reference code's vectors: the bytes 0 to 15.
    const KEY: Key = Key { k0: 0x0706_0504_0302_0100, k1: 0x0f0e_0d0c_0b0a_0908 };

    #[test]
    fn the_reference_vectors() {
        // vectors_sip64[0], [8] and [16] of the reference code: messages of the bytes 0, 1, 2, …
        let first = 0x0706_0504_0302_0100;
        let second = 0x0f0e_0d0c_0b0a_0908;
        assert_eq!(sip64(KEY, []), 0x726f_db47_dd0e_0e31);
        assert_eq!(sip64(KEY, [first]), 0x93f5_f579_9a93_2462);
        assert_eq!(sip64(KEY, [first, second]), 0x3f2a_cc7f_57c2_9bdb);
        // vectors_sip128[0] and [8]; eight bytes are counted that `absorb` has had.
        let hash = State::new128(KEY).finish128(0, 0u32.wrapping_sub(8));
        assert_eq!([hash.tag, hash.bucket], [0xe6a8_25ba_047f_81a3, 0x9302_55c7_1472_f66d]);
        let mut state = State::new128(KEY);
        state.absorb(first);
        let hash = state.finish128(0, 0);
        assert_eq!([hash.tag, hash.bucket], [0x61f5_5862_baa9_623b, 0xb497_14f3_64e2_830f]);
    }

    proptest! {
        #[test]
        fn words_hash_as_the_oracle_says(k0: u64, k1: u64, words: [u64; 3]) {
            let mut oracle = SipHasher24::new_with_keys(k0, k1);
            for word in words {
                oracle.write(&word.to_le_bytes());
            }
            prop_assert_eq!(sip64(Key { k0, k1 }, words), oracle.finish());
        }

        #[test]
        fn keys_derive_as_the_oracle_says(k0: u64, k1: u64, number: u64) {
            let mut oracle = SipHasher128::new_with_keys(k0, k1);
            oracle.write(&number.to_le_bytes());
            let expected = oracle.finish128();
            prop_assert_eq!(derive(Key { k0, k1 }, number), Key { k0: expected.h1, k1: expected.h2 });
        }

        #[test]
        fn ids_hash_as_the_oracle_says_wherever_they_lie(
            k0: u64,
            k1: u64,
            service: u32,
            pos in 0u32..8192 - MAX_ID,
            id in prop::collection::vec(any::<u8>(), 0..=MAX_ID as usize),
        ) {
            let key = Key { k0, k1 };
            let mut oracle = SipHasher128::new_with_keys(k0, k1);
            oracle.write(&u64::from(service).to_le_bytes());
            oracle.write(&id);
            let expected = oracle.finish128();
            let mut buffer = Box::new(Buffer::new());
            buffer.words.fill(0xa5a5_a5a5_a5a5_a5a5);
            buffer.fill(pos, &id);
            let hash = session_hash(key, service, &buffer, Span { pos, len: id.len() as u32 });
            prop_assert_eq!(hash, hash_id(key, service, &id));
            prop_assert_eq!((hash.tag, hash.bucket), (expected.h1, expected.h2));
        }
    }
}
