//! The file: a header that says what is in it, the entries, and an end that proves that all of it is there.
//!
//! All numbers are little-endian.
//!
//! | offset | bytes | header |
//! |---|---|---|
//! | 0 | 8 | [`MAGIC`] |
//! | 8 | 4 | [`FORMAT`] |
//! | 12 | 4 | bytes of the header |
//! | 16 | 4 | bytes of an entry |
//! | 20 | 4 | version of the layout that the entries come from |
//! | 24 | 16 | the session key |
//! | 40 | 16 | the boot's id |
//! | 56 | 8 | seconds of the boot clock |
//! | 64 | 8 | seconds of the wall clock |
//! | 72 | 32 | the director's name, zeroes behind it |
//!
//! | offset | bytes | entry |
//! |---|---|---|
//! | 0 | 8 | tag |
//! | 8 | 8 | bucket hash |
//! | 16 | 8 | binding: backend (16 bits), version (8), kind (8), generation (32), from the lowest |
//! | 24 | 4 | expires, seconds of the boot clock |
//! | 28 | 4 | made, seconds of the boot clock |
//!
//! | offset | bytes | end |
//! |---|---|---|
//! | 0 | 8 | how many entries |
//! | 8 | 4 | CRC-32 (IEEE 802.3) of all before |
//! | 12 | 4 | [`END`] |

use std::io;

use balancer_ebpf::layout::{self, Key};

use super::clock::Moment;
use crate::dataplane::Image;

/// The line break shows whether something took it for text.
pub(super) const MAGIC: [u8; 8] = *b"balsnp\r\n";
pub(super) const FORMAT: u32 = 1;
pub(super) const END: [u8; 4] = *b"end\n";

pub(super) const HEADER_BYTES: usize = 104;
pub(super) const ENTRY_BYTES: usize = 32;
pub(super) const END_BYTES: usize = 16;
const NAME_BYTES: usize = 32;

/// What a snapshot says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) layout: u32,
    pub(super) key: Key,
    pub(super) taken: Moment,
    pub(super) name: String,
}

/// Why a file cannot be restored from.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    #[error("it is no snapshot")]
    Foreign,
    #[error("it has format {0}, and this balancer reads format {FORMAT}: another release wrote it")]
    Format(u32),
    #[error("its end is missing")]
    Truncated,
    #[error("it is damaged: its checksum does not fit")]
    Damaged,
    #[error("the director `{0}` wrote it, and that is not this one's name")]
    OtherDirector(String),
    #[error("its session key is not the one in the state directory")]
    OtherKey,
}

impl Header {
    pub(super) fn new(name: &str, key: Key, taken: Moment) -> Self {
        Self { layout: layout::VERSION, key, taken, name: name.to_owned() }
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut name = [0; NAME_BYTES];
        for (byte, character) in name.iter_mut().zip(self.name.bytes()) {
            *byte = character;
        }
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend(MAGIC);
        for number in [FORMAT, HEADER_BYTES as u32, ENTRY_BYTES as u32, self.layout] {
            bytes.extend(number.to_le_bytes());
        }
        for half in [self.key.k0, self.key.k1] {
            bytes.extend(half.to_le_bytes());
        }
        bytes.extend(self.taken.boot_id);
        bytes.extend(self.taken.boot.to_le_bytes());
        bytes.extend(self.taken.wall.to_le_bytes());
        bytes.extend(name);
        std::array::from_fn(|at| bytes.get(at).copied().unwrap_or_default())
    }

    pub(super) fn from_bytes(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Unusable> {
        if bytes[..8] != MAGIC {
            return Err(Unusable::Foreign);
        }
        let sizes = (u32_at(bytes, 12), u32_at(bytes, 16));
        if u32_at(bytes, 8) != FORMAT {
            return Err(Unusable::Format(u32_at(bytes, 8)));
        }
        if sizes != (HEADER_BYTES as u32, ENTRY_BYTES as u32) {
            return Err(Unusable::Damaged);
        }
        let name: Vec<u8> = bytes[72..].iter().copied().take_while(|byte| *byte != 0).collect();
        Ok(Self {
            layout: u32_at(bytes, 20),
            key: Key { k0: u64_at(bytes, 24), k1: u64_at(bytes, 32) },
            taken: Moment {
                boot_id: std::array::from_fn(|at| bytes[40 + at]),
                boot: u64_at(bytes, 56),
                wall: u64_at(bytes, 64),
            },
            name: String::from_utf8_lossy(&name).into_owned(),
        })
    }
}

pub(super) fn entry_to_bytes(image: &Image) -> [u8; ENTRY_BYTES] {
    let words = [image.tag, image.bucket_hash, image.binding, image.times].map(u64::to_le_bytes);
    std::array::from_fn(|at| words[at / 8][at % 8])
}

pub(super) fn entry_from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Image {
    Image { tag: u64_at(bytes, 0), bucket_hash: u64_at(bytes, 8), binding: u64_at(bytes, 16), times: u64_at(bytes, 24) }
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| bytes[at + byte]))
}
