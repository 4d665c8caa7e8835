//! Array maps that are mapped into memory: one store changes a value, and a table is read without a system call per entry.
//!
//! A system call's update copies bytes, and nothing promises that it copies eight of them at once; a store through the
//! mapping does. The maps have `BPF_F_MMAPABLE` (Linux 5.5).

#![expect(unsafe_code, reason = "mmap gives a raw pointer, whose bounds and lifetime are argued here")]

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering},
};

use anyhow::{Context as _, bail};

/// Whether words may be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    ReadWrite,
}

/// An array map as aligned words that the kernel's programs change at the same time.
#[derive(Debug)]
pub struct MappedArray {
    base: NonNull<AtomicU64>,
    words: usize,
    access: Access,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only ever touched as atomics.
unsafe impl Send for MappedArray {}
// SAFETY: as above.
unsafe impl Sync for MappedArray {}

impl MappedArray {
    /// Maps an array of `entries` values, each of `value_size` bytes rounded up to whole words.
    pub fn new(map: BorrowedFd<'_>, value_size: u32, entries: u32, access: Access) -> anyhow::Result<Self> {
        let words = (value_size as usize).div_ceil(8) * entries as usize;
        let protection = match access {
            Access::Read => libc::PROT_READ,
            Access::ReadWrite => libc::PROT_READ | libc::PROT_WRITE,
        };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory that Rust knows of.
        let base = unsafe { libc::mmap(ptr::null_mut(), words * 8, protection, libc::MAP_SHARED, map.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error()).context("mmap: does the map have BPF_F_MMAPABLE?");
        }
        let Some(base) = NonNull::new(base.cast()) else { bail!("mmap gave a null pointer") };
        Ok(Self { base, words, access })
    }

    /// The word at `index`, as it is at this instant; `None` beyond the array.
    pub fn load(&self, index: usize) -> Option<u64> {
        Some(self.word(index)?.load(Ordering::Acquire))
    }

    /// Stores a word, visible to the programs at once and whole. False beyond the array, and if it is mapped for reading.
    pub fn store(&self, index: usize, value: u64) -> bool {
        match (self.access, self.word(index)) {
            (Access::ReadWrite, Some(word)) => {
                word.store(value, Ordering::Release);
                true
            }
            (Access::Read, _) | (_, None) => false,
        }
    }

    /// Stores `new` if the word is still `old`; whether it was. `None` beyond the array, and if it is mapped for reading.
    pub fn exchange(&self, index: usize, old: u64, new: u64) -> Option<bool> {
        let word = self.word(index).filter(|_| self.access == Access::ReadWrite)?;
        Some(word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok())
    }

    /// A pointer to so many words, all of which lie in the array, if they may be written.
    pub fn range(&self, first: usize, words: usize) -> Option<NonNull<AtomicU64>> {
        let inside = first.checked_add(words).is_some_and(|end| end <= self.words);
        // SAFETY: `first` lies within the mapping.
        (inside && self.access == Access::ReadWrite).then(|| unsafe { self.base.add(first) })
    }

    pub fn words(&self) -> usize {
        self.words
    }

    fn word(&self, index: usize) -> Option<&AtomicU64> {
        if index >= self.words {
            return None;
        }
        // SAFETY: `index` lies within the mapping, which is page-aligned, lives as long as `self`, and is only accessed
        // atomically by this process. The kernel's programs change it with single loads and stores of words as well.
        Some(unsafe { self.base.add(index).as_ref() })
    }
}

impl Drop for MappedArray {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `new` with this address and size, and no reference into it outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.words * 8) };
    }
}
