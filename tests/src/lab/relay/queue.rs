//! Frames on their way, in the order of their arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::frame::Frame;

/// Those that arrive at the same moment keep the order in which they left.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: BinaryHeap<Reverse<Waiting>>,
    count: u64,
}

#[derive(Debug)]
struct Waiting {
    at: Instant,
    number: u64,
    frame: Frame,
}

impl Queue {
    pub(super) fn push(&mut self, at: Instant, frame: Frame) {
        self.count += 1;
        self.frames.push(Reverse(Waiting { at, number: self.count, frame }));
    }

    /// The next frame that has arrived by now.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Frame> {
        if self.next()? > now {
            return None;
        }
        self.frames.pop().map(|Reverse(waiting)| waiting.frame)
    }

    /// When the next one arrives.
    pub(super) fn next(&self) -> Option<Instant> {
        self.frames.peek().map(|Reverse(waiting)| waiting.at)
    }
}

impl Waiting {
    fn order(&self) -> (Instant, u64) {
        (self.at, self.number)
    }
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn frames_arrive_in_the_order_of_their_times() {
        let begin = Instant::now();
        let mut queue = Queue::default();
        for (after, name) in [(5, 0), (2, 1), (2, 2), (9, 3), (2, 4)] {
            queue.push(begin + Duration::from_millis(after), Frame(vec![name]));
        }
        assert_eq!(queue.next(), Some(begin + Duration::from_millis(2)));
        let mut arrived = |ms| {
            let now = begin + Duration::from_millis(ms);
            std::iter::from_fn(|| queue.pop(now)).flat_map(|frame| frame.0).collect::<Vec<_>>()
        };
        assert!(arrived(1).is_empty());
        assert_eq!(arrived(5), [1, 2, 4, 0]);
        assert!(arrived(8).is_empty());
        assert_eq!(arrived(9), [3]);
    }
}
