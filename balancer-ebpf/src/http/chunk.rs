//! Chunk headers (RFC 9112, section 7.1): the size of the next chunk, and where the last one ends the body.
//!
//! One header is read at a time, and with it the CRLF that ends the chunk before: so a boundary is only believed where
//! both stand. Extensions and trailers are legal, rare, and read differently by different servers: they are not followed.

use super::Scanned;
use crate::layout::Buffer;

/// Bytes of a chunk header at most: CRLF, eight digits, CRLF, and CRLF again behind the last chunk.
pub const CHUNK_LIMIT: u32 = 14;
/// Digits of a size at most. Leading zeroes count.
const MAX_DIGITS: u32 = 8;

/// What a chunk header says. Lies in a map value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Chunk {
    /// Bytes of the header, with the CRLF before it; of the last chunk, with the CRLF that ends the body.
    pub len: u32,
    /// Bytes of data that follow; 0 is the last chunk.
    pub size: u32,
}

const CRLF: u64 = u16::from_le_bytes(*b"\r\n") as u64;

/// Whether `CRLF` stands at `pos`: yes, no, or not decided by the bytes there are.
#[inline(always)]
fn line_end(buffer: &Buffer, pos: u32, len: u32) -> Scanned {
    let word = buffer.word(pos) & 0xffff;
    if pos + 2 <= len {
        return if word == CRLF { Scanned::Complete } else { Scanned::BadChunk };
    }
    if pos + 1 == len && word & 0xff != CRLF & 0xff {
        return Scanned::BadChunk;
    }
    Scanned::Incomplete
}

/// The value of a hexadecimal digit; 16 for anything else.
#[inline(always)]
const fn digit(byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => (byte - b'0') as u32,
        b'a'..=b'f' => (byte - b'a') as u32 + 10,
        b'A'..=b'F' => (byte - b'A') as u32 + 10,
        _ => 16,
    }
}

/// Reads the chunk header at the front of the buffer, of which `len` bytes are there. The `first` one has no CRLF before.
#[inline(always)]
pub fn scan_chunk(chunk: &mut Chunk, buffer: &Buffer, len: u32, first: bool) -> Scanned {
    let start = if first { 0 } else { 2 };
    if !first {
        let end = line_end(buffer, 0, len);
        if end as u32 != Scanned::Complete as u32 {
            return end;
        }
    }
    chunk.size = 0;
    chunk.len = start;
    for _ in 0..=MAX_DIGITS {
        if chunk.len >= len {
            return if chunk.len - start > MAX_DIGITS { Scanned::BadChunk } else { Scanned::Incomplete };
        }
        let value = digit(buffer.byte(chunk.len));
        if value > 15 {
            break;
        }
        chunk.size = chunk.size << 4 | value;
        chunk.len += 1;
    }
    let digits = chunk.len - start;
    if digits == 0 || digits > MAX_DIGITS {
        return Scanned::BadChunk;
    }
    let end = line_end(buffer, chunk.len, len);
    if end as u32 != Scanned::Complete as u32 {
        return end;
    }
    chunk.len += 2;
    if chunk.size == 0 {
        let end = line_end(buffer, chunk.len, len);
        if end as u32 != Scanned::Complete as u32 {
            return end;
        }
        chunk.len += 2;
    }
    Scanned::Complete
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], first: bool) -> (Scanned, Chunk) {
        let mut buffer = Buffer::new();
        buffer.fill(0, bytes);
        let mut chunk = Chunk::default();
        let scanned = scan_chunk(&mut chunk, &buffer, bytes.len() as u32, first);
        (scanned, chunk)
    }

    #[test]
    fn headers_say_how_much_follows() {
        for (bytes, first, len, size) in [
            (&b"5\r\nhello"[..], true, 3, 5),
            (b"1aF\r\n", true, 5, 0x1af),
            (b"\r\n10\r\n", false, 6, 16),
            (b"0\r\n\r\n", true, 5, 0),
            (b"\r\n0\r\n\r\nHTTP/1.1", false, 7, 0),
            (b"0000000a\r\nx", true, 10, 10),
            (b"ffffffff\r\n", true, 10, u32::MAX),
        ] {
            assert_eq!(scan(bytes, first), (Scanned::Complete, Chunk { len, size }), "{bytes:?}");
        }
    }

    #[test]
    fn anything_else_is_not_followed() {
        for (bytes, first) in [
            (&b"\r\n"[..], true),
            (b"5\n", true),
            (b"5\r\r", true),
            (b"5;a=b\r\n", true),
            (b" 5\r\n", true),
            (b"5 \r\n", true),
            (b"+5\r\n", true),
            (b"0x5\r\n", true),
            (b"-1\r\n", true),
            (b"000000005\r\n", true),
            (b"5\r\n", false),
            (b"\n5\r\n", false),
            (b"0\r\nTrailer: x\r\n\r\n", true),
        ] {
            assert_eq!(scan(bytes, first).0, Scanned::BadChunk, "{bytes:?}");
        }
    }

    #[test]
    fn a_header_in_pieces_waits_for_its_end() {
        for (whole, first) in [(&b"\r\n1f40\r\n"[..], false), (b"\r\n0\r\n\r\n", false), (b"ab\r\n", true)] {
            for cut in 0..whole.len() {
                assert_eq!(scan(&whole[..cut], first).0, Scanned::Incomplete, "{:?}", &whole[..cut]);
            }
            assert_eq!(scan(whole, first).0, Scanned::Complete);
        }
    }
}
