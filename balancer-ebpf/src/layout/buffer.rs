//! A buffer of bytes as aligned words: what heads are scanned in and what a stash keeps.

/// Bytes of a [`Buffer`]. A power of two: every index is masked, so that neither the verifier nor Rust needs a check.
pub const BUFFER_BYTES: usize = 16384;
const WORDS: usize = BUFFER_BYTES / 8;

/// Bytes that one helper call copies at most.
pub const CHUNK_BYTES: usize = 2048;

/// 16 KiB of bytes, as little-endian words.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Buffer {
    pub words: [u64; WORDS],
    /// Never holds anything. A copy of up to a chunk to or from any position stays inside the map value, and that is all
    /// that the verifier can see.
    pub margin: [u64; CHUNK_BYTES / 8],
}

impl Buffer {
    /// A buffer of zeroes.
    pub const fn new() -> Self {
        Self { words: [0; WORDS], margin: [0; CHUNK_BYTES / 8] }
    }

    /// The aligned word that holds byte `pos`; positions wrap at [`BUFFER_BYTES`].
    #[inline(always)]
    pub fn aligned(&self, pos: u32) -> u64 {
        u64::from_le(self.words[(pos as usize >> 3) & (WORDS - 1)])
    }

    /// The eight bytes from `pos` on, the first in the lowest byte.
    #[inline(always)]
    pub fn word(&self, pos: u32) -> u64 {
        let shift = (pos & 7) * 8;
        let low = self.aligned(pos) >> shift;
        // Two shifts, because a shift by 64 has no meaning in any machine's arithmetic; of an aligned word they leave nothing.
        let high = (self.aligned(pos.wrapping_add(8)) << 8) << (56 - shift);
        low | high
    }

    /// The byte at `pos`.
    #[inline(always)]
    pub fn byte(&self, pos: u32) -> u8 {
        (self.aligned(pos) >> ((pos & 7) * 8)) as u8
    }

    /// Writes one byte; for the host, where buffers are filled without helpers.
    pub fn set(&mut self, pos: u32, byte: u8) {
        let shift = (pos & 7) * 8;
        let index = (pos as usize >> 3) & (WORDS - 1);
        let word = u64::from_le(self.words[index]);
        self.words[index] = ((word & !(0xff << shift)) | (u64::from(byte) << shift)).to_le();
    }

    /// Writes `bytes` from `pos` on; for the host.
    pub fn fill(&mut self, pos: u32, bytes: &[u8]) {
        for (at, byte) in (pos..).zip(bytes) {
            self.set(at, *byte);
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_from_any_position() {
        let mut buffer = Buffer::new();
        let bytes: Vec<u8> = (0..64).collect();
        buffer.fill(0, &bytes);
        for pos in 0..56usize {
            let expected = u64::from_le_bytes(bytes[pos..pos + 8].try_into().unwrap());
            assert_eq!(buffer.word(pos as u32), expected, "at {pos}");
            assert_eq!(buffer.byte(pos as u32), bytes[pos]);
        }
    }
}
