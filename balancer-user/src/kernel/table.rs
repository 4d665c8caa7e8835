//! The session table in the kernel, read and filled while programs may change it.

#![expect(unsafe_code, reason = "the core reaches a table by reference, and this one lies in a mapping")]

use std::{
    cell::Cell,
    marker::PhantomData,
    mem::{offset_of, size_of},
    sync::atomic::{AtomicU64, Ordering},
};

use balancer_ebpf::{
    host::{Cpu, Machine, Step},
    layout::{Bucket, Entry},
    sessions::{RESERVED, Table},
};

use super::mmap::MappedArray;
use crate::dataplane::{Image, SessionTable};

/// Where an entry has what, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words {
    pub(super) entry: usize,
    pub(super) tag: usize,
    pub(super) binding: usize,
    pub(super) times: usize,
    pub(super) hash: usize,
    /// The tag of an entry that is being written.
    pub(super) reserved: u64,
}

/// In the present layout.
pub(super) const WORDS: Words = Words {
    entry: size_of::<Entry>() / 8,
    tag: offset_of!(Entry, tag) / 8,
    binding: offset_of!(Entry, binding) / 8,
    times: offset_of!(Entry, times) / 8,
    hash: offset_of!(Entry, bucket_hash) / 8,
    reserved: RESERVED,
};

/// How often an entry is looked at that changes hands again and again before it counts as being written.
const LOOKS: u32 = 4;

impl SessionTable for MappedArray {
    fn each(&self, visit: &mut dyn FnMut(Image)) {
        for first in (0..self.words()).step_by(WORDS.entry) {
            if let Some(image) = WORDS.whole(|at| self.load(first + at).unwrap_or_default()) {
                visit(image);
            }
        }
    }
}

impl Words {
    /// An entry whose words belong together: its tag is the same before and after the others were read, and who gives an
    /// entry to another id takes the tag away first. `None` if it is free.
    pub(super) fn whole(&self, word: impl Fn(usize) -> u64) -> Option<Image> {
        for _ in 0..LOOKS {
            let tag = word(self.tag);
            if tag == 0 {
                return None;
            }
            let (binding, times, bucket_hash) = (word(self.binding), word(self.times), word(self.hash));
            if tag != self.reserved && word(self.tag) == tag {
                return Some(Image { tag, binding, times, bucket_hash });
            }
        }
        None
    }
}

/// The table as the core sees it.
///
/// Not `Sync`: two threads could get at the same cell.
#[derive(Debug)]
pub struct LiveTable {
    array: MappedArray,
    _one_thread: PhantomData<Cell<()>>,
}

impl LiveTable {
    pub(super) fn new(array: MappedArray) -> Self {
        Self { array, _one_thread: PhantomData }
    }
}

impl Machine for LiveTable {
    type Cpu = Shared;
}

impl Table for LiveTable {
    fn bucket(&self, index: u32) -> Option<&Bucket> {
        let words = self.array.range(index as usize * size_of::<Bucket>() / 8, size_of::<Bucket>() / 8)?;
        // SAFETY: the words lie within the mapping, which lives as long as `self` and is aligned to pages, so that every word
        // is aligned. A bucket is an array of cells, for which any bits are a value, and of this process only the thread
        // that has `self` reaches them, through `Shared`, which is atomic: as the kernel's programs are.
        Some(unsafe { words.cast::<Bucket>().as_ref() })
    }
}

/// A CPU that shares the table with the kernel's programs.
#[derive(Clone, Copy, Debug)]
pub struct Shared;

impl Shared {
    fn word(cell: &Cell<u64>) -> &AtomicU64 {
        // SAFETY: the cell is valid for reads and writes and aligned as an atomic of its size (checked below), and while the
        // atomic is used nobody in this process reaches the cell in another way.
        unsafe { AtomicU64::from_ptr(cell.as_ptr()) }
    }
}

const _: () = assert!(align_of::<Cell<u64>>() == align_of::<AtomicU64>());

impl Cpu for Shared {
    fn repeat<C, S: Step<C>>(context: &mut C, max: u32) {
        for _ in 0..max {
            if !S::step(context) {
                break;
            }
        }
    }
    fn copy<T: Copy>(to: &mut T, from: &T) {
        *to = *from;
    }

    fn load(word: &Cell<u64>) -> u64 {
        Self::word(word).load(Ordering::Acquire)
    }
    fn store(word: &Cell<u64>, value: u64) {
        Self::word(word).store(value, Ordering::Release);
    }
    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool {
        Self::word(word).compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
    fn fetch_add(word: &Cell<u64>, value: u64) -> u64 {
        Self::word(word).fetch_add(value, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Words of an entry as they are read one after another, while a program gives it to another id.
    fn read(reads: &[(usize, u64)]) -> Option<Image> {
        let reads = RefCell::new(reads.iter());
        let image = WORDS.whole(|at| {
            let (expected, value) = reads.borrow_mut().next().copied().unwrap();
            assert_eq!(at, expected);
            value
        });
        assert_eq!(reads.borrow_mut().next(), None);
        image
    }

    #[test]
    fn an_entry_is_read_whole_or_not_at_all() {
        let Words { tag, binding, times, hash, .. } = WORDS;
        let image = Some(Image { tag: 1, binding: 2, times: 3, bucket_hash: 4 });
        assert_eq!(read(&[(tag, 0)]), None);
        assert_eq!(read(&[(tag, 1), (binding, 2), (times, 3), (hash, 4), (tag, 1)]), image);
        let changes = [(tag, 9), (binding, 8), (times, 3), (hash, 4), (tag, RESERVED)];
        let settled = [(tag, 1), (binding, 2), (times, 3), (hash, 4), (tag, 1)];
        assert_eq!(read(&[changes, settled].concat()), image);
        let written = [(tag, RESERVED), (binding, 2), (times, 3), (hash, 4)];
        assert_eq!(read(&[written; LOOKS as usize].concat()), None);
    }
}
