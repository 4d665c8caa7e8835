//! A CPU of user space that shares its memory with nobody: what `explain`, the simulation, fuzzing and tests run the core on.

use core::cell::Cell;

use crate::host::{Cpu, Step};

/// A plain loop instead of `bpf_loop`, plain words instead of atomic ones.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Cpu for Plain {
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
        word.get()
    }

    fn store(word: &Cell<u64>, value: u64) {
        word.set(value);
    }

    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool {
        let same = word.get() == old;
        if same {
            word.set(new);
        }
        same
    }

    fn fetch_add(word: &Cell<u64>, value: u64) -> u64 {
        word.replace(word.get().wrapping_add(value))
    }
}
