//! The trace: a line for each packet, in the manner of tcpdump, and a hash of all of it.

use std::hash::{DefaultHasher, Hasher as _};

use balancer_ebpf::verdict::Verdict;

use crate::packet::View;

/// Bytes of a frame that the hash takes in: the headers, and enough of the payload to tell messages apart.
const HASHED: usize = 120;

/// Where the trace goes.
#[derive(Default)]
pub(crate) struct Trace {
    /// Lines are printed.
    pub(crate) print: bool,
    hasher: DefaultHasher,
    line: String,
}

impl Trace {
    pub(crate) fn new(print: bool) -> Self {
        Self { print, ..Self::default() }
    }

    /// What all packets and verdicts come to: the same for the same seed.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// Something happens that is no packet.
    pub(crate) fn note(&mut self, now: u64, what: &str) {
        self.hasher.write(what.as_bytes());
        if self.print {
            println!("{} *** {what}", time(now));
        }
    }

    /// A packet reaches the director.
    pub(crate) fn arrives(&mut self, now: u64, frame: &[u8], view: &View) {
        self.hasher.write_u64(now);
        self.hasher.write(&frame[..frame.len().min(HASHED)]);
        if self.print {
            self.line = format!("{} {view}", time(now));
        }
    }

    /// What became of it.
    pub(crate) fn verdict(&mut self, verdict: Verdict) {
        self.hasher.write_u32(verdict as u32);
        if self.print {
            println!("{}  => {}", self.line, Verdict::NAMES[verdict as usize]);
        }
    }

    /// A packet leaves the director.
    pub(crate) fn leaves(&mut self, frame: &[u8], view: &View) {
        self.hasher.write(&frame[..frame.len().min(HASHED)]);
        if self.print {
            println!("{:14} -> {view}", "");
        }
    }
}

fn time(now: u64) -> String {
    format!("{:4}.{:06}", now / 1_000_000, now % 1_000_000)
}
