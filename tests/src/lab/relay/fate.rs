//! What becomes of each frame: decided by a seed, so that the same frames in the same order fare the same way again.

use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// A bad link, the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Of a hundred segments, how many are lost.
    pub loss: f64,
    /// How many come twice.
    pub doubled: f64,
    /// How many are held back for `hold`, and so overtaken.
    pub held: f64,
    pub hold: Duration,
    /// How many have a bit of their TCP header or payload changed.
    pub damaged: f64,
    /// How long every segment is on its way.
    pub delay: Duration,
    /// The largest IP packet that goes through.
    pub mtu: Option<u16>,
    pub seed: u64,
}

impl Link {
    /// A wire.
    pub const PERFECT: Self = Self {
        loss: 0.0,
        doubled: 0.0,
        held: 0.0,
        hold: Duration::ZERO,
        damaged: 0.0,
        delay: Duration::ZERO,
        mtu: None,
        seed: 1,
    };

    /// A link that loses so many of a hundred segments, and whose other end is so many milliseconds away.
    #[must_use]
    pub fn lossy(loss: f64, delay: u64) -> Self {
        Self { loss, delay: Duration::from_millis(delay), ..Self::PERFECT }
    }
}

/// What becomes of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    /// `damage` says which bit is changed, of however many there are.
    Arrives {
        after: Duration,
        twice: bool,
        damage: Option<u32>,
    },
}

/// The fates of one direction.
#[derive(Debug)]
pub(super) struct Fates {
    link: Link,
    random: Xoshiro256PlusPlus,
}

impl Fates {
    /// Directions of one link have fates of their own.
    pub(super) fn new(link: Link, direction: u64) -> Self {
        let seed = link.seed.wrapping_mul(2).wrapping_add(direction);
        Self { link, random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The next segment's. Each takes as many numbers, whatever they decide: so links that differ in one rate only lose the same
    /// segments.
    pub(super) fn next(&mut self) -> Fate {
        let [lost, doubled, held] = [self.link.loss, self.link.doubled, self.link.held]
            .map(|percent| self.random.random_range(0.0..100.0) < percent);
        let after = self.link.delay + if held { self.link.hold } else { Duration::ZERO };
        let (damaged, bit) = (self.random.random_range(0.0..100.0) < self.link.damaged, self.random.random());
        let damage = damaged.then_some(bit);
        if lost { Fate::Lost } else { Fate::Arrives { after, twice: doubled, damage } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Link = Link {
        loss: 5.0,
        doubled: 2.0,
        held: 10.0,
        hold: Duration::from_millis(3),
        damaged: 3.0,
        delay: Duration::from_millis(2),
        ..Link::PERFECT
    };

    fn fates(link: Link, direction: u64, count: usize) -> Vec<Fate> {
        let mut fates = Fates::new(link, direction);
        (0..count).map(|_| fates.next()).collect()
    }

    #[test]
    fn a_seed_and_a_direction_determine_everything() {
        let first = fates(BAD, 0, 1000);
        assert_eq!(first, fates(BAD, 0, 1000));
        assert_ne!(first, fates(BAD, 1, 1000));
        assert_ne!(first, fates(Link { seed: 2, ..BAD }, 0, 1000));
    }

    #[test]
    fn links_that_differ_in_delay_lose_the_same() {
        let lost = |link| fates(link, 0, 1000).into_iter().map(|fate| fate == Fate::Lost).collect::<Vec<_>>();
        assert_eq!(lost(BAD), lost(Link { delay: Duration::from_millis(50), held: 0.0, doubled: 50.0, ..BAD }));
    }

    #[test]
    fn rates_are_what_was_asked_for() {
        let all = fates(BAD, 0, 100_000);
        let share = |of: fn(&Fate) -> bool| all.iter().filter(|fate| of(fate)).count();
        let lost = share(|fate| *fate == Fate::Lost);
        let doubled = share(|fate| matches!(fate, Fate::Arrives { twice: true, .. }));
        let held = share(|fate| matches!(fate, Fate::Arrives { after, .. } if *after == Duration::from_millis(5)));
        let prompt = share(|fate| matches!(fate, Fate::Arrives { after, .. } if *after == Duration::from_millis(2)));
        assert_eq!(lost + held + prompt, all.len());
        let damaged = share(|fate| matches!(fate, Fate::Arrives { damage: Some(_), .. }));
        let rates =
            [("lost", lost, 5000), ("doubled", doubled, 1900), ("held", held, 9500), ("damaged", damaged, 2850)];
        for (what, count, expected) in rates {
            assert!(count.abs_diff(expected) < expected / 10, "{count} {what} instead of about {expected}");
        }
    }

    #[test]
    fn a_perfect_link_changes_nothing() {
        let arrives = Fate::Arrives { after: Duration::ZERO, twice: false, damage: None };
        assert!(fates(Link::PERFECT, 0, 10_000).into_iter().all(|fate| fate == arrives));
    }
}
