//! Chunked bodies (RFC 9112, section 7.1): the size of the next chunk, and where the last one ends the body.
//!
//! An automaton of bytes, because a header may be cut anywhere and its extension may be longer than anything that could be
//! kept. With a header it reads the CRLF that ends the data before it: so a boundary is only believed where both stand.
//! Extensions and trailers are passed over, but only what every server reads in one way: the tricks that have been played
//! with them are all made of a line's end that some see and others do not.

use super::Scanned::{self, BadChunk, Complete, Incomplete, LongChunk};
use super::swar::{first, hexadecimal, is_token, not_hex};
use super::{HEAD_LIMIT, RUNNING};
use crate::host::{Cpu, Step};
use crate::layout::Buffer;

/// Digits of a size at most. Leading zeroes count.
const MAX_DIGITS: u32 = 8;
/// The largest size: what lies above it is negative to a server that counts in 32 bits.
const MAX_SIZE: u32 = i32::MAX as u32;
/// Bytes of a header's extension at most, from its semicolon to its LF.
const MAX_EXTENSION: u32 = 256;
/// Bytes of all trailers at most, the blank line included.
const MAX_TRAILERS: u32 = HEAD_LIMIT;
/// More turns than these limits allow.
const MAX_TURNS: u32 = 2 + MAX_DIGITS + 2 + MAX_EXTENSION + MAX_TRAILERS + 1;

/// The digits of a size; 0, so that a state of zeroes stands in front of a body.
const SIZE: u32 = 0;
/// The CR behind a chunk's data.
const DATA_CR: u32 = 1;
/// The LF behind it.
const DATA_LF: u32 = 2;
/// An extension, outside and inside of a quoted string.
const EXTENSION: u32 = 3;
const QUOTED: u32 = 4;
/// The LF that ends a header.
const HEADER_LF: u32 = 5;
/// The first byte of a trailer, or of the blank line that ends the body.
const TRAILER: u32 = 6;
const TRAILER_NAME: u32 = 7;
const TRAILER_VALUE: u32 = 8;
const TRAILER_LF: u32 = 9;
/// The LF that ends the body.
const LAST_LF: u32 = 10;

/// Where in a chunked body a reader is, between two packets. All zeroes: in front of the first chunk header. Lies in a map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct ChunkState {
    /// What the next byte is part of.
    pub mode: u32,
    /// The size that was read last, or as far as it has been read.
    pub size: u32,
    /// How many digits of it there were.
    pub digits: u32,
    /// Bytes of the extension or the trailers so far.
    pub spent: u32,
}

impl ChunkState {
    /// In front of a body.
    pub const START: Self = Self { mode: SIZE, size: 0, digits: 0, spent: 0 };

    /// Behind a header that announces `size` bytes of data; behind the whole body, and ready for another, if that is 0.
    const fn behind(size: u32) -> Self {
        Self { mode: if size == 0 { SIZE } else { DATA_CR }, size, ..Self::START }
    }
}

/// What a scan for chunk headers works on. It lies in a map value, as [`super::Scan`] does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Chunk {
    pub state: ChunkState,
    /// Position behind the last byte that was taken.
    pub at: u32,
    /// Where the bytes end.
    end: u32,
    /// A [`Scanned`], or [`RUNNING`].
    result: u32,
}

const CRLF: u64 = u16::from_le_bytes(*b"\r\n") as u64;
const CRLFCRLF: u64 = u32::from_le_bytes(*b"\r\n\r\n") as u64;

/// Reads on in a chunked body at position `pos` of the buffer, whose bytes end at `len`.
///
/// Complete: a header ended at `chunk.at`, and `chunk.state.size` bytes of data follow; the state is ready for the header
/// behind them. Of size 0, the body ended there, trailers included. Incomplete: all bytes were taken, and the state is to
/// be kept. Anything else is the reason why this body is not followed any further.
#[inline(always)]
pub fn scan_chunk<P: Cpu>(chunk: &mut Chunk, buffer: &Buffer, pos: u32, len: u32) -> Scanned {
    if plain(chunk, buffer, pos, len) {
        return Complete;
    }
    chunk.at = pos;
    chunk.end = len;
    chunk.result = RUNNING;
    P::repeat::<Walk, OneByte>(&mut Walk { chunk, buffer }, MAX_TURNS);
    Scanned::from_number(chunk.result)
}

/// Takes in a whole header without extension, as nearly all are, and of the last one the blank line behind it.
#[inline(always)]
fn plain(chunk: &mut Chunk, buffer: &Buffer, pos: u32, len: u32) -> bool {
    let behind_data = chunk.state.mode == DATA_CR;
    if behind_data && buffer.word(pos) & 0xffff != CRLF {
        return false;
    }
    if !behind_data && (chunk.state.mode != SIZE || chunk.state.digits != 0) {
        return false;
    }
    let start = if behind_data { pos + 2 } else { pos };
    let word = buffer.word(start);
    let marks = not_hex(word);
    let digits = if marks == 0 { MAX_DIGITS } else { first(marks) };
    if digits == 0 {
        return false;
    }
    let size = hexadecimal(word << (64 - 8 * digits));
    let end = buffer.word(start + digits) & if size == 0 { 0xffff_ffff } else { 0xffff };
    if size > MAX_SIZE || end != if size == 0 { CRLFCRLF } else { CRLF } {
        return false;
    }
    let at = start + digits + if size == 0 { 4 } else { 2 };
    if at > len {
        return false;
    }
    chunk.at = at;
    chunk.state = ChunkState::behind(size);
    true
}

/// What a turn works with.
struct Walk<'a> {
    chunk: &'a mut Chunk,
    buffer: &'a Buffer,
}

/// The turn: one byte.
struct OneByte;

impl Step<Walk<'_>> for OneByte {
    #[inline(always)]
    fn step(walk: &mut Walk<'_>) -> bool {
        let chunk = &mut *walk.chunk;
        if chunk.at >= chunk.end {
            chunk.result = Incomplete as u32;
            return false;
        }
        let byte = walk.buffer.byte(chunk.at);
        chunk.at += 1;
        let taken = if chunk.state.mode <= DATA_LF { size(chunk, byte) } else { rest(chunk, byte) };
        if !taken {
            chunk.result = BadChunk as u32;
        }
        chunk.result == RUNNING
    }
}

/// Takes a byte of the size, or of the line's end before it; whether it may stand there.
#[inline(always)]
fn size(chunk: &mut Chunk, byte: u8) -> bool {
    let state = &mut chunk.state;
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => 16,
    };
    match (state.mode, byte) {
        (DATA_CR, b'\r') => state.mode = DATA_LF,
        // The rest is zero behind data, and storing all of it would call `memset`: one more on the longest chain of calls,
        // each of which Linux 6.1 counts as 32 bytes of stack at least.
        (DATA_LF, b'\n') => (state.mode, state.size) = (SIZE, 0),
        (SIZE, _) if digit < 16 => {
            state.size = state.size << 4 | u32::from(digit);
            state.digits += 1;
            return state.digits <= MAX_DIGITS && state.size <= MAX_SIZE;
        }
        (SIZE, b'\r') if state.digits != 0 => state.mode = HEADER_LF,
        (SIZE, b';') if state.digits != 0 => {
            state.mode = EXTENSION;
            state.spent = 1;
        }
        _ => return false,
    }
    true
}

/// Takes a byte of what follows a size: an extension, trailers and the ends of lines; whether it may stand there.
#[inline(always)]
fn rest(chunk: &mut Chunk, byte: u8) -> bool {
    let state = &mut chunk.state;
    let text = byte >= b' ' && byte != 0x7f || byte == b'\t';
    state.spent += 1;
    let limit = if state.mode < TRAILER { MAX_EXTENSION } else { MAX_TRAILERS };
    if state.spent > limit {
        chunk.result = LongChunk as u32;
        return true;
    }
    state.mode = match (state.mode, byte) {
        (EXTENSION, b'\r') => HEADER_LF,
        (EXTENSION, b'"') => QUOTED,
        (QUOTED, b'"') => EXTENSION,
        // Whether a quote behind it ends the string is not for us to say.
        (EXTENSION | QUOTED, b'\\') => return false,
        (EXTENSION | QUOTED | TRAILER_VALUE, _) if text => state.mode,
        (HEADER_LF, b'\n') if state.size == 0 => {
            state.spent = 0;
            TRAILER
        }
        (HEADER_LF | LAST_LF, b'\n') => {
            *state = ChunkState::behind(state.size);
            chunk.result = Complete as u32;
            return true;
        }
        (TRAILER, b'\r') => LAST_LF,
        (TRAILER | TRAILER_NAME, _) if is_token(byte) => TRAILER_NAME,
        (TRAILER_NAME, b':') => TRAILER_VALUE,
        (TRAILER_VALUE, b'\r') => TRAILER_LF,
        (TRAILER_LF, b'\n') => TRAILER,
        _ => return false,
    };
    true
}
