//! Fills tables: as the kernel would, but without a response for each session.

use balancer_ebpf::layout::{BUCKET_WAYS, Binding, SessionHash, Times};
use balancer_ebpf::sessions::ROOMY;

use crate::progrun::BUCKET_WORDS;

/// Buckets, as they lie in the map.
pub(super) struct Filling {
    buckets: Vec<[u64; BUCKET_WORDS]>,
    used: Vec<u8>,
}

/// Words of an entry.
const ENTRY: usize = BUCKET_WORDS / BUCKET_WAYS;

impl Filling {
    /// As many empty buckets; a power of two.
    pub(super) fn of(buckets: u32) -> Self {
        let count = buckets as usize;
        Self { buckets: vec![[0; BUCKET_WORDS]; count], used: vec![0; count] }
    }

    /// Puts a session into the first of its buckets, or the emptier one if that is not roomy; whether there was room.
    pub(super) fn bind(&mut self, hash: &SessionHash, binding: Binding, now: u32) -> bool {
        let mask = self.buckets.len() as u64 - 1;
        let [first, second] =
            [hash.bucket as u32, (hash.bucket >> 32) as u32].map(|half| (u64::from(half) & mask) as usize);
        let roomy = usize::from(self.used[first]) + ROOMY <= BUCKET_WAYS;
        let bucket = if !roomy && self.used[second] < self.used[first] { second } else { first };
        let used = usize::from(self.used[bucket]);
        if used >= BUCKET_WAYS {
            return false;
        }
        let entry = [hash.tag, binding.0, Times::new(now + 1800, now).0, hash.bucket];
        self.buckets[bucket][used * ENTRY..][..ENTRY].copy_from_slice(&entry);
        self.used[bucket] += 1;
        true
    }

    /// Those that are not empty.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u32, &[u64; BUCKET_WORDS])> {
        (0..).zip(&self.buckets).zip(&self.used).filter(|(_, used)| **used != 0).map(|(bucket, _)| bucket)
    }
}

/// The second on the boot clock.
pub(super) fn second() -> u32 {
    rustix::time::clock_gettime(rustix::time::ClockId::Boottime).tv_sec as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_lies_in_one_of_its_two_buckets() {
        let mut filling = Filling::of(4);
        let hash = |tag| SessionHash { tag, bucket: 1 | 6 << 32 };
        let binding = Binding::new(0, 1, 0, 2);
        assert!((1..=16).all(|tag| filling.bind(&hash(tag), binding, 7)));
        assert!(!filling.bind(&hash(17), binding, 7), "both are full");
        let buckets: Vec<u32> = filling.buckets().map(|(index, _)| index).collect();
        assert_eq!(buckets, [1, 2]);
        let tags = |index: u32| filling.buckets[index as usize].iter().step_by(ENTRY).copied().collect::<Vec<_>>();
        let mut all = [tags(1), tags(2)].concat();
        all.sort_unstable();
        assert_eq!(all, (1..=16).collect::<Vec<_>>());
    }
}
