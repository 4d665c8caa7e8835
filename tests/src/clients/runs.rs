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

/// Users, each on a thread.
#[derive(Debug)]
pub struct Runs {
    users: Vec<JoinHandle<Result<()>>>,
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
        Self { users: Vec::new(), shared: Arc::default() }
    }

    /// Starts another user, of whom each call of `run` is one run.
    pub(super) fn user(mut self, keeps: bool, mut run: impl FnMut() -> Result<Vec<Whoami>> + Send + 'static) -> Self {
        let (user, shared) = (self.users.len(), Arc::clone(&self.shared));
        self.users.push(std::thread::spawn(move || {
            while !shared.stop.load(Ordering::Relaxed) {
                let sent = now();
                let answers = run()?;
                let received = now();
                let visit = |answer| Visit { user, keeps, sent, received, outcome: Outcome::Answer(answer) };
                shared.visits().extend(answers.into_iter().map(visit));
            }
            Ok(())
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
        for user in self.users.drain(..) {
            user.join().map_err(|_| anyhow!("a user's thread panicked"))??;
        }
        self.visits()
    }
}

impl Drop for Runs {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}
