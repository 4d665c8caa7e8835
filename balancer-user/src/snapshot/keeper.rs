//! Who takes snapshots: now and then, when the daemon ends, and when an operator asks.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex as StdMutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use balancer_ebpf::layout::Key;
use log::{info, warn};
use tokio::sync::{Mutex, watch};

use super::{
    FILE, Moment,
    format::Header,
    write::{Written, write},
};
use crate::{
    config::Config,
    dataplane::SessionTable,
    exit::Failure,
    wire::{self, Restored},
};

/// Of its time the daemon spends a tenth on snapshots at most, however large the table and however slow the disk is.
const REST: u32 = 9;

/// Takes snapshots of one table into one directory.
pub struct Keeper {
    dir: PathBuf,
    name: String,
    key: Key,
    table: Arc<dyn SessionTable>,
    /// `None`: only at the end, and when asked. A reload of the config may say another time.
    every: watch::Sender<Option<Duration>>,
    /// What the start found.
    restored: Option<Restored>,
    /// There is one temporary file: snapshots are taken one after another.
    turn: Mutex<()>,
    last: StdMutex<Last>,
}

/// The last snapshot, and what went wrong since.
#[derive(Clone, Debug, Default)]
struct Last {
    taken: Option<(Instant, wire::Snapshot)>,
    problem: Option<String>,
}

impl Keeper {
    pub fn new(config: &Config, key: Key, table: Arc<dyn SessionTable>, restored: Option<Restored>) -> Self {
        Self {
            dir: config.state.clone(),
            name: config.name.clone(),
            key,
            table,
            every: watch::Sender::new(config.snapshot_every),
            restored,
            turn: Mutex::new(()),
            last: StdMutex::default(),
        }
    }

    /// Takes snapshots until it is aborted. A problem is said once, and its end.
    pub async fn run(self: Arc<Self>) {
        let mut every = self.every.subscribe();
        let mut rest = Duration::ZERO;
        loop {
            let pause = *every.borrow_and_update();
            let due = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause.max(rest)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = every.changed() => continue,
                () = due => {}
            }
            let began = Instant::now();
            let before = self.last().problem;
            match (self.take().await, before) {
                (Ok(_), None) => {}
                (Ok(_), Some(_)) => info!("snapshots are written again"),
                (Err(failure), before) => {
                    if before.as_ref() != Some(&failure.error) {
                        warn!("{}: a reboot now would bring back older sessions, or none", failure.error);
                    }
                }
            }
            rest = began.elapsed() * REST;
        }
    }

    /// Says how often from now on.
    pub fn set_every(&self, every: Option<Duration>) {
        self.every.send_replace(every);
    }

    /// Takes one now.
    pub async fn take(self: &Arc<Self>) -> Result<wire::Snapshot, Failure> {
        let _turn = self.turn.lock().await;
        let began = Instant::now();
        let keeper = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let header = Header::new(&keeper.name, keeper.key, Moment::now());
            write(&keeper.dir, &header, keeper.table.as_ref())
        });
        let written = written.await.map_err(anyhow::Error::from).flatten();
        self.note(began, written)
    }

    fn note(&self, began: Instant, written: anyhow::Result<Written>) -> Result<wire::Snapshot, Failure> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match written {
            Ok(Written { sessions, bytes }) => {
                let snapshot = wire::Snapshot {
                    at: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
                    path: self.dir.join(FILE),
                    sessions,
                    bytes,
                    milliseconds: began.elapsed().as_millis() as u64,
                };
                *last = Last { taken: Some((Instant::now(), snapshot.clone())), problem: None };
                Ok(snapshot)
            }
            Err(error) => {
                let what = format!("no snapshot could be written: {error:#}");
                last.problem = Some(what.clone());
                Err(Failure::other(
                    what,
                    "make room on the disk of the state directory, and let the daemon write there",
                ))
            }
        }
    }

    fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn status(&self) -> wire::SnapshotStatus {
        let Last { taken, problem } = self.last();
        let (at, last) = taken.unzip();
        wire::SnapshotStatus {
            every_milliseconds: self.every.borrow().map(|every| every.as_millis() as u64),
            last,
            age_seconds: at.map(|at| at.elapsed().as_secs()),
            problem,
            restored: self.restored.clone(),
        }
    }
}
