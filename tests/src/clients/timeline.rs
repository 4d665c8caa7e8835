//! When which version was the active one and which backend died, as far as somebody outside can know: what is done takes effect
//! between its beginning and its end.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;

/// Clients report whole milliseconds, some of them coarser ones.
const CLOCK: f64 = 2.0;

/// Which bound sessions a flip moves at their next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moves {
    /// `--mode new-sessions`.
    Nobody,
    /// `--mode forced`.
    Everybody,
    /// `rollback`: those of the version that was active before.
    OfTheLast,
    /// `drain` at its deadline, `retire --force`: those of this version.
    Of(&'static str),
}

/// One flip, or something else that moves sessions.
#[derive(Clone, Debug)]
struct Flip {
    label: String,
    moves: Moves,
    began: f64,
    done: f64,
}

/// A backend that was killed.
#[derive(Clone, Debug)]
struct Death {
    backend: String,
    began: f64,
    done: f64,
}

/// All flips and all deaths in their order.
#[derive(Clone, Debug)]
pub struct Timeline {
    flips: Vec<Flip>,
    deaths: Vec<Death>,
}

impl Timeline {
    /// Begins with the version that has been active all the time.
    pub fn new(label: &str) -> Self {
        let first = Flip { label: label.to_owned(), moves: Moves::Nobody, began: f64::MIN, done: f64::MIN };
        Self { flips: vec![first], deaths: Vec::new() }
    }

    /// Does a flip to `label` and notes when.
    pub fn flip(&mut self, label: &str, moves: Moves, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let began = now();
        act()?;
        self.note(label, moves, began, now());
        Ok(())
    }

    /// Does something that leaves the active version as it is.
    pub fn beside(&mut self, moves: Moves, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let label = self.last().to_owned();
        self.flip(&label, moves, act)
    }

    /// Kills a backend and notes when.
    pub fn kill(&mut self, backend: &str, act: impl FnOnce()) {
        let began = now() - CLOCK;
        act();
        self.deaths.push(Death { backend: backend.to_owned(), began, done: now() + CLOCK });
    }

    /// The version that is active at the end.
    pub fn last(&self) -> &str {
        self.flips.last().map_or("", |flip| flip.label.as_str())
    }

    /// Notes what was done when.
    pub(super) fn note(&mut self, label: &str, moves: Moves, began: f64, done: f64) {
        self.flips.push(Flip { label: label.to_owned(), moves, began: began - CLOCK, done: done + CLOCK });
    }

    /// The versions that a new session may get whose request left at `sent` and was answered at `received`.
    pub fn active(&self, sent: f64, received: f64) -> impl Iterator<Item = &str> {
        let ends = self.flips.iter().skip(1).map(|next| next.done).chain([f64::MAX]);
        let possible = self.flips.iter().zip(ends).filter(move |(flip, end)| flip.began <= received && *end >= sent);
        possible.map(|(flip, _)| flip.label.as_str())
    }

    /// Whether a session of `version` that was decided on from `bound` on may be moved by a request that was answered at `received`.
    pub fn may_move(&self, version: &str, bound: f64, received: f64) -> bool {
        self.moving(version).any(|flip| flip.done >= bound && flip.began <= received)
    }

    /// Whether a session of `version` whose last decision was before `decided` must have been moved by a request that left at `sent`.
    pub fn must_move(&self, version: &str, decided: f64, sent: f64) -> bool {
        self.moving(version).any(|flip| flip.began > decided && flip.done < sent)
    }

    /// Whether what `backend` knew at a time that lies no earlier than `bound` was lost with it before `received`.
    pub fn lost(&self, backend: &str, bound: f64, received: f64) -> bool {
        self.deaths.iter().any(|death| death.backend == backend && death.done >= bound && death.began <= received)
    }

    /// The backends that were killed between `sent` and `received`, while what they worked on was under way.
    pub fn killed(&self, sent: f64, received: f64) -> impl Iterator<Item = &str> {
        let met = self.deaths.iter().filter(move |death| death.began <= received && death.done >= sent);
        met.map(|death| death.backend.as_str())
    }

    /// In which period between flips a time lies, counted from 0; `None` during a flip.
    pub fn period(&self, time: f64) -> Option<usize> {
        let index = self.flips.iter().rposition(|flip| flip.done < time)?;
        self.flips.get(index + 1).is_none_or(|next| time < next.began).then_some(index)
    }

    /// How many periods there are.
    pub fn periods(&self) -> usize {
        self.flips.len()
    }

    /// The flips that move sessions of `version`.
    fn moving<'a>(&'a self, version: &'a str) -> impl Iterator<Item = &'a Flip> {
        let pairs = self.flips.iter().zip(self.flips.iter().skip(1));
        let moving = pairs.filter(move |(last, flip)| match flip.moves {
            Moves::Nobody => false,
            Moves::Everybody => flip.label != version,
            Moves::OfTheLast => last.label == version && flip.label != version,
            Moves::Of(label) => label == version,
        });
        moving.map(|(_, flip)| flip)
    }
}

/// Milliseconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline() -> Timeline {
        let mut timeline = Timeline::new("001");
        timeline.note("002", Moves::Nobody, 100.0, 110.0);
        timeline.note("003", Moves::Everybody, 200.0, 210.0);
        timeline.note("002", Moves::OfTheLast, 300.0, 310.0);
        timeline.deaths.push(Death { backend: "b3".to_owned(), began: 400.0, done: 405.0 });
        timeline.note("002", Moves::Of("001"), 500.0, 510.0);
        timeline
    }

    #[test]
    fn a_flip_takes_effect_between_its_beginning_and_its_end() {
        for (sent, received, expected) in [
            (10.0, 20.0, &["001"][..]),
            (90.0, 105.0, &["001", "002"]),
            (105.0, 106.0, &["001", "002"]),
            (120.0, 130.0, &["002"]),
            (90.0, 205.0, &["001", "002", "003"]),
            (320.0, 330.0, &["002"]),
        ] {
            assert_eq!(timeline().active(sent, received).collect::<Vec<_>>(), expected, "{sent} to {received}");
        }
    }

    #[test]
    fn who_may_and_who_must_move() {
        for (version, bound, sent, received, may, must) in [
            ("001", 10.0, 90.0, 95.0, false, false),
            // A flip for new sessions moves nobody.
            ("001", 10.0, 120.0, 130.0, false, false),
            ("001", 10.0, 205.0, 206.0, true, false),
            ("001", 10.0, 220.0, 230.0, true, true),
            // Already there.
            ("003", 220.0, 230.0, 240.0, false, false),
            ("003", 220.0, 320.0, 330.0, true, true),
            // A rollback leaves others alone.
            ("001", 250.0, 320.0, 330.0, false, false),
            // Retiring is about one version.
            ("001", 250.0, 520.0, 530.0, true, true),
            ("003", 350.0, 520.0, 530.0, false, false),
        ] {
            let timeline = timeline();
            assert_eq!(timeline.may_move(version, bound, received), may, "{version} at {sent} may");
            assert_eq!(timeline.must_move(version, bound, sent), must, "{version} at {sent} must");
        }
    }

    #[test]
    fn periods_lie_between_flips() {
        let timeline = timeline();
        let periods = [50.0, 105.0, 150.0, 250.0, 350.0, 600.0].map(|time| timeline.period(time));
        assert_eq!(periods, [Some(0), None, Some(1), Some(2), Some(3), Some(4)]);
    }

    #[test]
    fn a_backend_dies_with_what_it_knew_and_what_it_worked_on() {
        let timeline = timeline();
        for (backend, bound, received, lost) in [
            ("b3", 390.0, 395.0, false),
            ("b3", 390.0, 402.0, true),
            ("b3", 390.0, 900.0, true),
            // Begun on the one that was started again.
            ("b3", 410.0, 900.0, false),
            ("b1", 390.0, 900.0, false),
        ] {
            assert_eq!(timeline.lost(backend, bound, received), lost, "{backend} from {bound} to {received}");
        }
        assert_eq!(timeline.killed(395.0, 401.0).collect::<Vec<_>>(), ["b3"]);
        assert_eq!(timeline.killed(406.0, 500.0).count(), 0);
    }
}
