//! What the director does as time passes, once a second. Nothing in the path of a request waits for it: with the daemon dead,
//! what is here stays as it was last said.

use std::time::{Duration, Instant};

use log::warn;

use super::Director;
use crate::exit::Failure;

/// How often.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// For this long after a session was turned away the table counts as full.
const FULL_FOR: Duration = Duration::from_secs(60);

/// One thing that is done, and how its failure is spoken of.
type Part = (&'static str, fn(&mut Director) -> Result<(), Failure>);

const PARTS: &[Part] = &[
    ("look at the session table", Director::watch_table),
    ("write weights", Director::grow_weights),
    ("go on with a drain", Director::look_at_drains),
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
        let counter = balancer_ebpf::verdict::Note::SessionsFull.counter() as usize;
        let turned_away = self.plane.counters()?.get(counter).copied().unwrap_or_default();
        let before = self.turned_away.replace(turned_away);
        if before.is_some_and(|before| before < turned_away) {
            if !self.table_is_full() {
                warn!(
                    "the session table is full: new sessions are not bound, and may change their version. \
                     Raise `sessions` in the config, or lower `idle`"
                );
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
