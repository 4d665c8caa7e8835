//! Hints: in which slot a client's flow was found last, in a table that one read from memory answers.
//!
//! What is true is in `FLOW_KEYS`, a hash of the kernel's, which is a call, a hash and two reads from memory, each behind the other. A hint is
//! believed only if the slot that it names has a flow of that very key, and any of them may be lost or wrong: so nobody has to lock
//! them, or to take one out. Whoever makes keys that collide has his own flows found by the hash, as they would be without.

use core::cell::Cell;

use super::FlowKey;

/// Hints of a bucket.
const WAYS: usize = 8;

/// A bucket: one line of cache, since the kernel has tables that can be mapped begin with a page.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Hints {
    /// From the lowest bit: slot + 1 (32), tag (32); 0 is none.
    pub words: [Cell<u64>; WAYS],
}

/// Buckets for so many flows: half full when all of them are there.
#[inline(always)]
pub const fn hint_buckets(flows: u32) -> u32 {
    flows / (WAYS as u32 / 2) + 1
}

/// Where the hint of a key lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintPlace {
    pub bucket: u32,
    /// In the upper half, as in a word.
    tag: u64,
}

impl HintPlace {
    /// In a table for so many flows.
    #[inline(always)]
    pub fn of(key: &FlowKey, flows: u32) -> Self {
        // Odd factors, the fractions of roots: sums of products are spread by their upper half, which is then folded into the lower.
        let ([a, b], [c, d]) = (key.client.pairs(), key.vip.pairs());
        let ports = u32::from_ne_bytes([key.client_port[0], key.client_port[1], key.port[0], key.port[1]]);
        let sum = a
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(b.wrapping_mul(0xbb67_ae85_84ca_a73b))
            .wrapping_add(c.wrapping_mul(0x3c6e_f372_fe94_f82b))
            .wrapping_add(d.wrapping_mul(0xa54f_f53a_5f1d_36f1))
            .wrapping_add(u64::from(ports).wrapping_mul(0xd6e8_feb8_6659_fd93));
        let mixed = (sum ^ sum >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = mixed ^ mixed >> 32;
        // The lower half of a product with the table's size is spread evenly over it (Lemire, 2019).
        let bucket = ((mixed & 0xffff_ffff) * u64::from(hint_buckets(flows))) >> 32;
        Self { bucket: bucket as u32, tag: mixed & !0xffff_ffff }
    }

    /// The slot that a word names, if it is about this key.
    #[inline(always)]
    pub const fn slot(self, word: u64) -> Option<u32> {
        let about = word ^ self.tag;
        if about >> 32 == 0 && about != 0 { Some(about as u32 - 1) } else { None }
    }

    /// The word that names a slot.
    #[inline(always)]
    pub const fn word(self, slot: u32) -> u64 {
        self.tag | (slot as u64 + 1)
    }

    /// Which word of a full bucket gives way.
    #[inline(always)]
    pub const fn way(self) -> usize {
        (self.tag >> 61) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Address;

    fn key(client: [u8; 4], port: u16) -> FlowKey {
        FlowKey {
            client: client.into(),
            vip: [10, 0, 0, 1].into(),
            client_port: port.to_be_bytes(),
            port: 80u16.to_be_bytes(),
        }
    }

    #[test]
    fn a_word_names_its_slot_to_its_key_only() {
        let (one, other) = (HintPlace::of(&key([10, 0, 0, 9], 1), 64), HintPlace::of(&key([10, 0, 0, 9], 2), 64));
        for slot in [0, 1, 63, u32::MAX - 1] {
            assert_eq!(one.slot(one.word(slot)), Some(slot));
            assert_eq!(other.slot(one.word(slot)), None);
        }
        assert_eq!(one.slot(0), None, "an empty word");
    }

    /// Neighbours in address and port, as a load generator has them, and networks of IPv6.
    #[test]
    fn neighbours_are_spread() {
        const FLOWS: u32 = 100_000;
        let v4 =
            (0..FLOWS).map(|index| key((0x0afd_0001 + index / 50_000).to_be_bytes(), (10_000 + index % 50_000) as u16));
        let v6 = (0..FLOWS).map(|index| {
            let client = Address::v6([0x0db8_0120, index.to_be(), 0, 0x0100_0000]);
            FlowKey { client, ..key([0; 4], 40_000) }
        });
        for keys in [v4.collect::<Vec<_>>(), v6.collect()] {
            let mut full = vec![0u32; hint_buckets(FLOWS) as usize];
            keys.iter().for_each(|key| full[HintPlace::of(key, FLOWS).bucket as usize] += 1);
            let lost: u32 = full.iter().map(|count| count.saturating_sub(WAYS as u32)).sum();
            // Of a fair choice, 2.6 % of the buckets have more than eight of four on average, and one in a hundred keys is too many.
            assert!(lost < FLOWS / 50, "{lost} hints have no room");
        }
    }
}
