//! The edge on the host: what the kernel is to the core, made of vectors and virtual time.

mod frame;
mod maps;

pub use frame::{Kind, SimFrame};
pub use maps::SimMaps;

use std::cell::Cell;

use balancer_ebpf::host::{Cpu, Step};

/// One CPU: what is atomic in the kernel is plain here.
#[derive(Clone, Copy, Debug)]
pub struct SimCpu;

impl Cpu for SimCpu {
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

/// A bug put in on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mutation {
    /// The core as it is.
    #[default]
    None,
    /// The right edge of every SACK block is one byte too far.
    SackEdge,
    /// A client's segment that looks like a request is taken for one, wherever it begins.
    GuessedRequest,
    /// The same for responses.
    GuessedResponse,
}
