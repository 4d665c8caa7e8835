//! The CPU of a host with one thread.

use std::cell::Cell;

use balancer_ebpf::host::{Cpu, Step};

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
    fn load(word: &Cell<u64>) -> u64 {
        word.get()
    }
    fn store(word: &Cell<u64>, value: u64) {
        word.set(value);
    }
    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool {
        word.get() == old && word.replace(new) == old
    }
    fn fetch_add(word: &Cell<u64>, value: u64) -> u64 {
        word.replace(word.get().wrapping_add(value))
    }
}
