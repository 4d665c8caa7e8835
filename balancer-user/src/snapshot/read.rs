//! Reading a snapshot: first all of it is checked, then its entries are handed out.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use balancer_ebpf::layout::{Binding, Key};
use crc32fast::Hasher;

use super::{
    FILE, Moment,
    format::{self, END, END_BYTES, ENTRY_BYTES, HEADER_BYTES, Header, MAGIC, Unusable},
};
use crate::dataplane::Image;

/// Entries that are read and summed in one piece.
const PIECE: usize = 32_768;

/// A snapshot that was read to its end and is whole.
#[derive(Debug)]
pub struct Snapshot {
    file: File,
    header: Header,
    sessions: u64,
    newest_generation: u32,
}

/// The snapshot of the director `name` in `dir`, if there is one. `key` is the session key in the same directory: with
/// another one, the tags in the snapshot mean nothing.
pub fn open(dir: &Path, name: &str, key: Option<Key>) -> Result<Option<Snapshot>, Unusable> {
    let file = match File::open(dir.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let snapshot = check(file)?;
    if snapshot.header.name != name {
        return Err(Unusable::OtherDirector(snapshot.header.name));
    }
    if key.is_some_and(|key| key != snapshot.header.key) {
        return Err(Unusable::OtherKey);
    }
    Ok(Some(snapshot))
}

/// Moves a snapshot away that cannot be used, so that the next one does not take its place and somebody can look at it.
pub fn set_aside(dir: &Path) -> io::Result<PathBuf> {
    let aside = dir.join(format!("{FILE}.bad"));
    fs::rename(dir.join(FILE), &aside)?;
    Ok(aside)
}

fn check(mut file: File) -> Result<Snapshot, Unusable> {
    let len = file.metadata()?.len();
    let mut bytes = [0; HEADER_BYTES];
    // A file of another kind may be shorter than our header, and is still one of another kind.
    if fill(&mut file, &mut bytes)? < HEADER_BYTES && bytes.starts_with(&MAGIC) {
        return Err(Unusable::Truncated);
    }
    let header = Header::from_bytes(&bytes)?;
    let body = len.checked_sub((HEADER_BYTES + END_BYTES) as u64).ok_or(Unusable::Truncated)?;
    if body % ENTRY_BYTES as u64 != 0 {
        return Err(Unusable::Truncated);
    }
    let sessions = body / ENTRY_BYTES as u64;

    let mut sum = Hasher::new();
    sum.update(&bytes);
    let mut newest_generation = 0;
    pieces(&mut file, sessions, |entries| {
        sum.update(entries);
        for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
            newest_generation = Binding(format::entry_from_bytes(entry).binding).generation().max(newest_generation);
        }
    })?;
    let mut end = [0; END_BYTES];
    file.read_exact(&mut end)?;
    if end[12..] != END {
        return Err(Unusable::Truncated);
    }
    sum.update(&end[..8]);
    if format::u64_at(&end, 0) != sessions || format::u32_at(&end, 8) != sum.finalize() {
        return Err(Unusable::Damaged);
    }
    Ok(Snapshot { file, header, sessions, newest_generation })
}

impl Snapshot {
    pub fn key(&self) -> Key {
        self.header.key
    }

    /// When it was taken.
    pub fn taken(&self) -> Moment {
        self.header.taken
    }

    pub fn sessions(&self) -> u64 {
        self.sessions
    }

    /// The highest generation that a binding has: versions of a director whose state was lost have to begin above it.
    pub fn newest_generation(&self) -> u32 {
        self.newest_generation
    }

    /// Visits all entries.
    pub fn each(&mut self, visit: &mut dyn FnMut(Image)) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
        pieces(&mut self.file, self.sessions, |entries| {
            for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
                visit(format::entry_from_bytes(entry));
            }
        })
    }
}

/// Reads so many entries, some at a time.
fn pieces(file: &mut File, sessions: u64, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; sessions.min(PIECE as u64) as usize * ENTRY_BYTES];
    let mut left = sessions;
    while left > 0 {
        let now = left.min(PIECE as u64);
        let piece = &mut piece[..now as usize * ENTRY_BYTES];
        file.read_exact(piece)?;
        take(piece);
        left -= now;
    }
    Ok(())
}

/// Reads until `bytes` is full or the file ends; answers how many there were.
fn fill(file: &mut File, bytes: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < bytes.len() {
        match file.read(&mut bytes[have..])? {
            0 => break,
            more => have += more,
        }
    }
    Ok(have)
}
