//! Bytes that a seed determines: the demo sends them, and a client can tell whether they arrived whole.

/// Fills `bytes` with the pattern of `seed` from `offset` on.
pub fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
    for (byte, position) in bytes.iter_mut().zip(offset..) {
        let word = mix(seed ^ (position / 8).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        *byte = word.to_le_bytes()[(position % 8) as usize];
    }
}

/// The first `length` bytes of the pattern.
pub fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    fill(seed, 0, &mut bytes);
    bytes
}

/// The finaliser of SplitMix64, so that neighbouring words have nothing in common.
fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_fit_together() {
        let whole = bytes(7, 1000);
        let mut pieces = vec![0; 1000];
        for (index, piece) in pieces.chunks_mut(33).enumerate() {
            fill(7, index as u64 * 33, piece);
        }
        assert_eq!(whole, pieces);
        assert_ne!(whole, bytes(8, 1000));
    }
}
