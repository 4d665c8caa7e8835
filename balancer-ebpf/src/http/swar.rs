//! Eight bytes at a time: tests of all bytes of a word without a branch, since in BPF each branch costs twice, in the
//! verifier and in the pipeline.
//!
//! A *mark* is the highest bit of a byte. A function that promises the *first* mark may set false ones above it.

use super::HEAD_LIMIT;
use crate::layout::Buffer;

/// The aligned word that holds `pos`, or one of those behind it. All positions are below [`HEAD_LIMIT`], so one mask
/// serves for all of them: the other half of the buffer is there to be overshot.
#[inline(always)]
pub(super) fn word(buffer: &Buffer, pos: u32, index: usize) -> u64 {
    const BASE: usize = HEAD_LIMIT as usize / 8 - 1;
    u64::from_le(buffer.words[((pos >> 3) as usize & BASE) + index])
}

/// The eight bytes from `pos` on, the first in the lowest byte.
#[inline(always)]
pub(crate) fn word_at(buffer: &Buffer, pos: u32) -> u64 {
    let shift = (pos & 7) * 8;
    // Shifting twice leaves nothing of the neighbour where the word is aligned, without a branch.
    word(buffer, pos, 0) >> shift | (word(buffer, pos, 1) << 8) << (56 - shift)
}

/// The byte at `pos`.
#[inline(always)]
pub(crate) fn byte_at(buffer: &Buffer, pos: u32) -> u8 {
    (word(buffer, pos, 0) >> ((pos & 7) * 8)) as u8
}

/// A word of eight equal bytes.
pub(crate) const fn splat(byte: u8) -> u64 {
    0x0101_0101_0101_0101 * byte as u64
}

const MARKS: u64 = splat(0x80);
const ASCII: u64 = splat(0x7f);

/// Which byte the first mark is in; BPF has no instruction that counts zeroes. There must be a mark.
#[inline(always)]
pub(crate) fn first(marks: u64) -> u32 {
    let lowest = marks & marks.wrapping_neg();
    ((lowest >> 7).wrapping_mul(0x0001_0203_0405_0607) >> 56) as u32
}

/// All bits of the bytes that lie before the first mark: of all bytes, where there is none.
#[inline(always)]
pub(crate) fn ahead(marks: u64) -> u64 {
    ((marks & marks.wrapping_neg()) >> 7).wrapping_sub(1)
}

/// Marks for the bytes of an aligned word that lie before position `pos`.
#[inline(always)]
pub(super) fn before(pos: u32) -> u64 {
    MARKS & !(u64::MAX << ((pos & 7) * 8))
}

/// The first byte below `floor`'s, or that is DEL once `fold`'s bits are set. Bytes from 0x80 on are neither.
///
/// With nothing folded only DEL itself counts; folding 0x44 adds `;`, `?` and `{`.
#[inline(always)]
pub(super) fn stops(word: u64, floor: u64, fold: u64) -> u64 {
    let low = word.wrapping_sub(floor) & !word;
    let other = (word | fold) ^ ASCII;
    (low | (other.wrapping_sub(splat(1)) & !other)) & MARKS
}

/// The bytes that are neither letters nor `-`, each exactly.
#[inline(always)]
pub(crate) fn odd(word: u64) -> u64 {
    let ascii = word & ASCII;
    let lower = ascii | splat(0x20);
    let letter = (lower + splat(0x80 - b'a')) & !(lower + splat(0x7f - b'z'));
    let not_dash = (ascii ^ splat(b'-')) + ASCII;
    ((!letter & not_dash) | word) & MARKS
}

/// The bytes that are this one, each exactly.
#[inline(always)]
pub(crate) fn equal(word: u64, byte: u8) -> u64 {
    let other = word ^ splat(byte);
    !((((other & ASCII) + ASCII) | other) | ASCII) & MARKS
}

/// The bytes that are neither a space nor a tab, each exactly.
#[inline(always)]
fn inked(word: u64) -> u64 {
    let space = word ^ splat(b' ');
    let tab = word ^ splat(b'\t');
    (((space & ASCII) + ASCII) | space) & (((tab & ASCII) + ASCII) | tab) & MARKS
}

/// How many blanks a word begins with.
#[inline(always)]
pub(crate) fn leading_blanks(word: u64) -> u32 {
    let inked = inked(word);
    if inked == 0 { 8 } else { first(inked) }
}

/// How many blanks a word ends with.
#[inline(always)]
pub(super) fn trailing_blanks(word: u64) -> u32 {
    let mut inked = inked(word) >> 7;
    inked |= inked >> 8;
    inked |= inked >> 16;
    inked |= inked >> 32;
    8 - (inked.wrapping_mul(splat(1)) >> 56) as u32
}

/// The word's bytes from the first on, as many as `count` says, at most eight; zeroes behind them.
#[inline(always)]
pub(crate) fn keep(word: u64, count: u32) -> u64 {
    if count >= 8 { word } else { word & !(u64::MAX << (count * 8)) }
}

/// The number that eight decimal digits write, the first in the lowest byte; `None` if one of them is no digit.
#[inline(always)]
pub(super) fn decimal(word: u64) -> Option<u64> {
    let digits = word ^ splat(b'0');
    // 0 to 9 have nothing in the upper half even after 6 is added; any other byte has.
    if (digits | (digits & splat(0x0f)).wrapping_add(splat(6))) & splat(0xf0) != 0 {
        return None;
    }
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff)
}

/// The bytes that are no hexadecimal digits, each exactly.
#[inline(always)]
pub(super) fn not_hex(word: u64) -> u64 {
    let ascii = word & ASCII;
    let lower = ascii | splat(0x20);
    let digit = (ascii + splat(0x80 - b'0')) & !(ascii + splat(0x7f - b'9'));
    let letter = (lower + splat(0x80 - b'a')) & !(lower + splat(0x7f - b'f'));
    (!(digit | letter) | word) & MARKS
}

/// The number that the hexadecimal digits in the word's last bytes write; the bytes before them are zero.
#[inline(always)]
pub(super) fn hexadecimal(word: u64) -> u32 {
    // A letter's low half is one to six.
    let digits = (word & splat(0x0f)) + ((word >> 6) & splat(1)) * 9;
    let pairs = (digits << 4 | digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs << 8 | pairs >> 16) & 0x0000_ffff_0000_ffff;
    (fours << 16 | fours >> 32) as u32
}

/// A byte that RFC 9110 section 5.6.2 allows in a token.
#[inline(always)]
pub(super) fn is_token(byte: u8) -> bool {
    const TOKEN: [u64; 2] = bitmap(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    let half = if byte < 64 { TOKEN[0] } else { TOKEN[1] };
    byte < 128 && (half >> (byte & 63)) & 1 != 0
}

/// The set of some bytes below 128.
const fn bitmap(bytes: &[u8]) -> [u64; 2] {
    let mut map = [0; 2];
    let mut index = 0;
    while index < bytes.len() {
        map[bytes[index] as usize / 64] |= 1 << (bytes[index] % 64);
        index += 1;
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All bytes, each at every place of a word of letters.
    fn every_byte(check: impl Fn(u64, u8, u32)) {
        for byte in 0..=255u8 {
            for at in 0..8u32 {
                check(splat(b'x') & !(0xff << (at * 8)) | u64::from(byte) << (at * 8), byte, at);
            }
        }
    }

    fn expect(marks: u64, wanted: bool, at: u32) {
        assert_eq!(marks != 0, wanted);
        assert!(!wanted || first(marks) == at);
    }

    #[test]
    fn marks_are_what_a_loop_over_bytes_finds() {
        every_byte(|word, byte, at| {
            expect(stops(word, splat(0x20), 0), byte < 0x20 || byte == 0x7f, at);
            let class = matches!(byte, b';' | b'?' | b'{');
            expect(stops(word, splat(0x21), splat(0x44)), byte < 0x21 || byte == 0x7f || class, at);
            expect(equal(word, b'&'), byte == b'&', at);
            expect(odd(word), !byte.is_ascii_alphabetic() && byte != b'-', at);
            expect(inked(word ^ splat(b'x') ^ splat(b' ')), byte != b'x' && byte != b'Q', at);
        });
    }

    #[test]
    fn blanks_are_counted_at_both_ends() {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        for (bytes, leading, trailing) in
            [(b"abcdefgh", 0, 0), (b" \tcdefg ", 2, 1), (b"a\t      ", 0, 7), (b"        ", 8, 8), (b"       a", 7, 0)]
        {
            assert_eq!(leading_blanks(word(bytes)), leading, "{bytes:?}");
            assert_eq!(trailing_blanks(word(bytes)), trailing, "{bytes:?}");
        }
    }

    #[test]
    fn decimals_are_eight_digits_and_nothing_else() {
        assert_eq!(decimal(u64::from_le_bytes(*b"12345678")), Some(12_345_678));
        assert_eq!(decimal(u64::from_le_bytes(*b"00000000")), Some(0));
        assert_eq!(decimal(u64::from_le_bytes(*b"99999999")), Some(99_999_999));
        every_byte(|word, byte, at| {
            let word = word & (0xff << (at * 8)) | splat(b'0') & !(0xff << (at * 8));
            assert_eq!(decimal(word).is_some(), byte.is_ascii_digit(), "{byte:#x} at {at}");
        });
    }

    #[test]
    fn hexadecimal_digits_are_found_and_read() {
        every_byte(|word, byte, at| {
            let zero = splat(b'0') & !(0xff << (at * 8));
            expect(not_hex(word & (0xff << (at * 8)) | zero), !byte.is_ascii_hexdigit(), at);
        });
        for text in ["12345678", "9abcDEF0", "00000000", "ffffffff", "\0\0\0\0\0\0\x001", "\0\0\0\x001fA0"] {
            let wanted = u32::from_str_radix(text.trim_start_matches('\0'), 16).unwrap();
            assert_eq!(hexadecimal(u64::from_le_bytes(text.as_bytes().try_into().unwrap())), wanted, "{text:?}");
        }
    }

    #[test]
    fn tokens_are_those_of_the_rfc() {
        for byte in 0..=255u8 {
            let wanted = byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
            assert_eq!(is_token(byte), wanted, "{byte:#x}");
        }
    }
}
