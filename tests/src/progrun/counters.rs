//! The counters by name, and what one packet did to them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use balancer_ebpf::http::Scanned;
use balancer_ebpf::verdict::{Note, Verdict};

/// All counters at one moment.
#[derive(Clone, Debug)]
pub struct Counters(pub Vec<u64>);

impl Counters {
    /// What was counted since `before`: the packet's verdicts, and the names of everything else.
    pub fn since(&self, before: &Self) -> (Vec<Verdict>, Vec<String>) {
        let (mut verdicts, mut notes) = (Vec::new(), Vec::new());
        for (index, (now, then)) in self.0.iter().zip(&before.0).enumerate() {
            for _ in *then..*now {
                match Verdict::ALL.get(index) {
                    Some(verdict) => verdicts.push(*verdict),
                    None => notes.push(counter_name(index)),
                }
            }
        }
        (verdicts, notes)
    }

    /// How many packets met this fate.
    pub fn count(&self, verdict: Verdict) -> u64 {
        self.0.get(verdict as usize).copied().unwrap_or(0)
    }

    /// What was counted since `before` and how often, by name: for more packets than anybody wants listed.
    pub fn named(&self, before: &Self) -> BTreeMap<String, u64> {
        let counted = self.0.iter().zip(&before.0).enumerate();
        counted
            .filter(|(_, (now, then))| now > then)
            .map(|(index, (now, then))| (counter_name(index), now - then))
            .collect()
    }

    /// The one verdict of the one packet since `before`, and what else was counted.
    pub fn of_packet(&self, before: &Self) -> Result<(Verdict, Vec<String>)> {
        match self.since(before) {
            (verdicts, notes) if verdicts.len() == 1 => Ok((verdicts.first().copied().context("one verdict")?, notes)),
            (verdicts, _) => bail!("a packet has one verdict, not {verdicts:?}"),
        }
    }
}

/// A counter's name: a verdict's, a note's, or a reason for which a head is not framed.
pub fn counter_name(index: usize) -> String {
    let named = Verdict::NAMES.iter().chain(Note::NAMES).copied();
    match named.chain(Scanned::NAMES.iter().copied()).nth(index) {
        Some(name) => name.to_owned(),
        None => format!("counter {index}"),
    }
}
