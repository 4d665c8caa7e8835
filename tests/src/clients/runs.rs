//! Clients that cannot say when each of their requests went out: each user starts the program again and again, for a few requests
//! on kept-alive connections.
//!
//! A visit's times are those of its run. So a run that a flip meets may be answered by both versions, and every other by one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Result, anyhow};

use super::timeline::now;
use super::visit::Outcome;
use super::{Client, Visit};
use crate::client::Whoami;

/// Which user, whether that one keeps cookies, and what came.
pub(super) type Came = (usize, bool, Outcome);

/// Users, on threads.
#[derive(Debug)]
pub struct Runs {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    visits: Mutex<Vec<Visit>>,
    stop: AtomicBool,
}

impl Shared {
    fn visits(&self) -> MutexGuard<'_, Vec<Visit>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    pub(super) fn new() -> Self {
        Self { threads: Vec::new(), shared: Arc::default() }
    }

    /// Starts another user, of whom each call of `run` is one run.
    pub(super) fn user(self, keeps: bool, mut run: impl FnMut() -> Result<Vec<Whoami>> + Send + 'static) -> Self {
        let user = self.threads.len();
        self.thread(move || Ok(run()?.into_iter().map(|answer| (user, keeps, Outcome::Answer(answer))).collect()))
    }

    /// Starts a thread that makes the requests of several users, one run after the other. It ends with a run that fails.
    pub(super) fn thread(mut self, mut run: impl FnMut() -> Result<Vec<Came>> + Send + 'static) -> Self {
        let (number, shared) = (self.threads.len(), Arc::clone(&self.shared));
        self.threads.push(std::thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) {
                let sent = now();
                let outcome = run();
                let received = now();
                let visit = |(user, keeps, outcome)| Visit { user, keeps, sent, received, outcome };
                match outcome {
                    Ok(came) => shared.visits().extend(came.into_iter().map(visit)),
                    Err(error) => {
                        let outcome = Outcome::Error(format!("{error:#}"));
                        shared.visits().push(Visit { user: number, keeps: false, sent, received, outcome });
                        break;
                    }
                }
            }
        }));
        self
    }
}

impl Client for Runs {
    fn visits(&self) -> Result<Vec<Visit>> {
        Ok(self.shared.visits().clone())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<Visit>> {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().map_err(|_| anyhow!("a thread of users panicked"))?;
        }
        self.visits()
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
