//! What the director does as time passes, once a second. Nothing in the path of a request waits for it: with the daemon dead,
//! what is here stays as it was last said.

use std::time::{Duration, Instant};

use balancer_ebpf::verdict::Note;
use log::warn;

use super::Director;
use crate::exit::Failure;

/// How often.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// How often what the programs tell is taken in: who follows `events` should not wait for it.
pub(super) const LISTEN: Duration = Duration::from_millis(200);

/// For this long after a session was turned away the table counts as full.
const FULL_FOR: Duration = Duration::from_secs(60);

/// One thing that is done, and how its failure is spoken of.
type Part = (&'static str, fn(&mut Director) -> Result<(), Failure>);

const PARTS: &[Part] = &[
    ("look at the session table", Director::watch_table),
    ("write weights", Director::grow_weights),
    ("look at what requests found of backends", Director::look_at_back_offs),
    ("go on with a drain", Director::look_at_drains),
    ("look at a canary", Director::look_at_canaries),
    ("take expired pins away", Director::expire_pins),
];

impl Director {
    pub(super) fn tick(&mut self) {
        for (what, part) in PARTS {
            if let Err(failure) = part(self) {
                warn!("cannot {what}: {failure}");
            }
        }
    }

    /// Notices when sessions find no place in the table (D13).
    fn watch_table(&mut self) -> Result<(), Failure> {
        let counters = self.plane.counters()?;
        let count = |note: Note| counters.get(note.counter() as usize).copied().unwrap_or_default();
        let missed = count(Note::VersionMissing);
        // D12.
        if let Some(more) =
            self.missed.replace(missed).and_then(|before| missed.checked_sub(before)).filter(|more| *more > 0)
        {
            let text = format!("{more} requests were answered with a 503: their version is missing");
            warn!("{text}");
            self.journal.add(None, "missing", text);
        }
        let turned_away = count(Note::SessionsFull);
        let before = self.turned_away.replace(turned_away);
        if before.is_some_and(|before| before < turned_away) {
            if !self.table_is_full() {
                let text = "the session table is full: new sessions are not bound, and may change their version. \
                            Raise `sessions` in the config, or lower `idle`";
                warn!("{text}");
                self.journal.add(None, "table", text.to_owned());
            }
            self.full_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Whether sessions found no place a moment ago.
    pub(super) fn table_is_full(&self) -> bool {
        self.full_since.is_some_and(|since| since.elapsed() < FULL_FOR)
    }
}
