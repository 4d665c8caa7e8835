//! Totals over many seeds, and whether they have been everywhere.

use balancer_ebpf::http::Scanned;
use balancer_ebpf::verdict::{Note, Verdict};

use crate::{Outcome, Tally};

/// What no run of some hundred seeds may miss: the paths that are hard to reach otherwise.
const WANTED: &[&str] = &[
    "request_same_leg",
    "request_new_leg",
    "request_rebound",
    "request_from_stash",
    "request_head_part",
    "request_stashed",
    "drop_rebind_waits",
    "drop_beyond_request_head",
    "drop_beyond_response_head",
    "probe_answered",
    "fin_answered",
    "client_reset",
    "client_reset_no_leg",
    "syn_again",
    "backend_silent",
    "backend_refused",
    "no_backend_reset",
    "leg_up",
    "drop_stray_syn_ack",
    "challenge_ack",
    "old_leg_reset",
    "leg_lost_idle",
    "backend_reset",
    "drop_early_segment",
    "unknown_reset",
    "up_to_tc",
    "session_issued",
    "session_presented",
    "session_moved",
    "session_deleted",
    "bound_backend_down",
    "version_down",
    "flow_collected",
    "response_unframed",
    "trimmed",
    "request_pooled_leg",
    "fin_answered_leg_parked",
    "leg_parked",
    "leg_raced",
    "ack_held",
    "ack_alone_to_backend",
    "idle_leg_closed",
    "idle_leg_reset",
    "idle_leg_spoke_reset",
    "idle_leg_probed",
    "response_unasked_reset",
    "preface",
    "not_http",
];

/// Totals.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub seeds: u64,
    pub packets: u64,
    pub requests: u64,
    counters: Vec<u64>,
    /// How requests of every kind ended.
    pub tally: Tally,
}

impl Report {
    /// Adds one seed's.
    pub fn add(&mut self, outcome: &Outcome) {
        self.seeds += 1;
        self.packets += outcome.packets;
        self.requests += outcome.requests;
        self.tally.add(&outcome.tally);
        self.counters.resize(outcome.counters.len(), 0);
        for (total, count) in self.counters.iter_mut().zip(&outcome.counters) {
            *total += count;
        }
    }

    /// Every counter by its name.
    pub fn totals(&self) -> Vec<(&'static str, u64)> {
        let names = Verdict::NAMES.iter().chain(Note::NAMES).chain(Scanned::NAMES).copied();
        names.zip(self.counters.iter().copied()).collect()
    }

    /// Paths that were wanted and never taken, and kinds of messages that never got or were an answer.
    pub fn missed(&self) -> Vec<&'static str> {
        let totals = self.totals();
        let taken = |name: &&str| totals.iter().any(|(known, count)| known == name && *count != 0);
        let paths = WANTED.iter().copied().filter(|name| !taken(name));
        paths.chain(self.tally.rows().filter(|(_, answers, _)| *answers == 0).map(|(name, ..)| name)).collect()
    }
}
