//! What is going to happen, in the order in which it will.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use crate::backend::Peer;

/// Something that happens to the world.
pub(crate) enum Event {
    /// A frame reaches the director by an interface.
    Arrives(u32, Vec<u8>),
    ToClient(usize, Vec<u8>),
    ToBackend(usize, Vec<u8>),
    Tab(usize, usize),
    ClientTimer(usize, u16),
    BackendTimer(usize, Peer),
    Operator,
    Dies(usize),
    Revives(usize),
    Noticed(usize, bool),
    Watch,
}

struct Scheduled {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
    }
}
impl Eq for Scheduled {}
impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// Events by time; of the same time, in the order in which they were planned.
#[derive(Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Scheduled>>,
    planned: u64,
}

impl Queue {
    /// Plans an event.
    pub(crate) fn at(&mut self, at: u64, event: Event) {
        self.planned += 1;
        self.heap.push(Reverse(Scheduled { at, order: self.planned, event }));
    }

    /// The next event, and its time.
    pub(crate) fn next(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|Reverse(next)| (next.at, next.event))
    }
}
