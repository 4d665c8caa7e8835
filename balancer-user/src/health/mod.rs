//! Health checks: which backends get new work.
//!
//! Each backend has a task of its own, which reports only what is news, and notes every check that was passed. The checks come from the director's own addresses,
//! through the same routes and neighbours as legs, so they keep the neighbour entries fresh as well.

#![forbid(unsafe_code)]

mod check;
mod passed;
mod streak;

use std::{collections::BTreeMap, net::SocketAddr};

use tokio::{sync::mpsc, task::AbortHandle, time::MissedTickBehavior};

pub use self::passed::Passed;
use self::streak::Streak;
use crate::{boot, config::Health, model::Condition, plan::Offers};

/// A backend to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub backend: u16,
    pub address: SocketAddr,
    pub health: Health,
    /// What is known of it already.
    pub condition: Condition,
}

/// What a check found that was not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub backend: u16,
    pub condition: Condition,
    /// A few words for `status`.
    pub detail: String,
    /// What the connection agreed to; `None` if there was none.
    pub offers: Option<Offers>,
}

/// The tasks that check.
#[derive(Debug)]
pub struct Checkers {
    reports: mpsc::Sender<Report>,
    passed: Passed,
    running: BTreeMap<u16, (Target, AbortHandle)>,
}

impl Checkers {
    pub fn new(reports: mpsc::Sender<Report>, passed: Passed) -> Self {
        Self { reports, passed, running: BTreeMap::new() }
    }

    /// Starts the checks that are missing, and ends those of backends that are gone or are to be checked in another way.
    pub fn sync(&mut self, targets: &[Target]) {
        self.running.retain(|id, (running, task)| {
            let same = |target: &Target| {
                (target.backend, target.address, &target.health) == (*id, running.address, &running.health)
            };
            let wanted = targets.iter().any(same);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for target in targets {
            self.running.entry(target.backend).or_insert_with(|| {
                let task = tokio::spawn(watch(target.clone(), self.reports.clone(), self.passed.clone()));
                (target.clone(), task.abort_handle())
            });
        }
    }
}

impl Drop for Checkers {
    fn drop(&mut self) {
        for (_, task) in self.running.values() {
            task.abort();
        }
    }
}

async fn watch(target: Target, reports: mpsc::Sender<Report>, passed: Passed) {
    let mut ticks = tokio::time::interval(target.health.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut streak = Streak::new(target.condition, target.health.rise, target.health.fall);
    let mut last: Option<Report> = None;
    loop {
        ticks.tick().await;
        let began = boot::millis();
        let result = check::check(target.address, &target.health).await;
        if result.healthy {
            passed.note(target.backend, began);
        }
        let condition = streak.count(result.healthy);
        let report = Report { backend: target.backend, condition, detail: result.detail, offers: result.offers };
        if last.as_ref() == Some(&report) {
            continue;
        }
        last = Some(report.clone());
        if reports.send(report).await.is_err() {
            return;
        }
    }
}
