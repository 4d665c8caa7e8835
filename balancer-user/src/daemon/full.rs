//! Tables that are full: once a second what the programs counted says so, and the operator is told once.

use std::time::{Duration, Instant};

use balancer_ebpf::{
    layout::PORTS_PER_SOURCE,
    verdict::{Note, Verdict},
};
use log::warn;

use super::Director;
use crate::{config::Config, exit::Failure, sizes::Sizes};

/// For this long after something found no place its table counts as full.
const FULL_FOR: Duration = Duration::from_secs(60);

/// What may find no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A session (D13).
    Session,
    Flow,
    /// The leg of a request.
    Leg,
}

const KINDS: [Kind; 3] = [Kind::Session, Kind::Flow, Kind::Leg];

impl Kind {
    /// The counter of those that found none.
    const fn counter(self) -> u32 {
        match self {
            Self::Session => Note::SessionsFull.counter(),
            Self::Flow => Verdict::FlowsFull as u32,
            Self::Leg => Verdict::LegsFull as u32,
        }
    }

    /// What that means, and what to do.
    fn text(self, config: &Config) -> String {
        let sizes = Sizes::of(config);
        let more = if sizes.usable_flows < sizes.flows {
            format!("Add to `sources` in the config: each has ports for {PORTS_PER_SOURCE}")
        } else {
            format!("Raise `flows` in the config, which is {}", sizes.flows)
        };
        match self {
            Self::Session => "the session table is full: new sessions are not bound, and may change their version. \
                              Raise `sessions` in the config, or lower `idle`"
                .to_owned(),
            Self::Flow => format!("there is no room for another connection: clients wait, and try again. {more}"),
            Self::Leg => {
                format!("no port is free for another connection to a backend: clients wait, and try again. {more}")
            }
        }
    }
}

/// Which tables are full.
#[derive(Default)]
pub(super) struct Full {
    /// What had found no place at the last look, by [`KINDS`].
    counted: Option<[u64; KINDS.len()]>,
    /// When something was last seen to have found none.
    since: [Option<Instant>; KINDS.len()],
}

impl Full {
    /// Takes in what has found no place by now; what has begun to since the last look.
    fn look(&mut self, counted: [u64; KINDS.len()]) -> Vec<Kind> {
        let Some(before) = self.counted.replace(counted) else { return Vec::new() };
        let more = |kind: &Kind| before[*kind as usize] < counted[*kind as usize];
        let news = KINDS.into_iter().filter(|kind| more(kind) && !self.is(*kind)).collect();
        for kind in KINDS.iter().filter(|kind| more(kind)) {
            self.since[*kind as usize] = Some(Instant::now());
        }
        news
    }

    fn is(&self, kind: Kind) -> bool {
        self.since[kind as usize].is_some_and(|since| since.elapsed() < FULL_FOR)
    }
}

impl Director {
    pub(super) fn watch_tables(&mut self) -> Result<(), Failure> {
        let counters = self.plane.counters()?;
        let counted = KINDS.map(|kind| counters.get(kind.counter() as usize).copied().unwrap_or_default());
        for kind in self.full.look(counted) {
            let text = kind.text(&self.config);
            warn!("{text}");
            self.journal.add(None, "table", text);
        }
        Ok(())
    }

    /// Whether sessions found no place a moment ago.
    pub(super) fn table_is_full(&self) -> bool {
        self.full.is(Kind::Session)
    }
}
