//! Writing a snapshot: a stream, however large the table is.

use std::{
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::Context as _;
use crc32fast::Hasher;

use super::{
    FILE,
    format::{self, END, Header},
};
use crate::{
    dataplane::{Image, SessionTable},
    store::Replacement,
};

/// What goes to the disk in one piece.
const PIECE: usize = 1 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) sessions: u64,
    pub(super) bytes: u64,
}

/// Writes `table` into `dir`, in place of the snapshot that is there, once it is complete.
pub(super) fn write(dir: &Path, header: &Header, table: &dyn SessionTable) -> anyhow::Result<Written> {
    let mut replacement = Replacement::begin(dir, FILE)?;
    let written = stream(replacement.file(), header, table).context("write the snapshot")?;
    replacement.finish()?;
    Ok(written)
}

fn stream(file: impl Write, header: &Header, table: &dyn SessionTable) -> io::Result<Written> {
    let mut out = Summed { out: BufWriter::with_capacity(PIECE, file), sum: Hasher::new(), bytes: 0 };
    out.put(&header.to_bytes())?;
    let mut sessions = 0u64;
    let mut failed = Ok(());
    table.each(&mut |image: Image| {
        // The rest of a disk that is full is no better.
        if failed.is_ok() {
            sessions += 1;
            failed = out.put(&format::entry_to_bytes(&image));
        }
    });
    failed?;
    out.put(&sessions.to_le_bytes())?;
    let sum = out.sum.clone().finalize();
    out.put(&sum.to_le_bytes())?;
    out.put(&END)?;
    out.out.flush()?;
    Ok(Written { sessions, bytes: out.bytes })
}

/// A writer that sums what passes.
struct Summed<W: Write> {
    out: BufWriter<W>,
    sum: Hasher,
    bytes: u64,
}

impl<W: Write> Summed<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }
}
