//! Somebody who has no session and connects anew for each request: whom do they meet?

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::client::{Connection, Request};
use crate::lab::Lab;

/// One request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) asked: Instant,
    pub(super) answered: Instant,
    /// The number of the backend that answered; nobody if it failed.
    pub(super) by: Option<usize>,
}

/// A thread that asks.
pub(super) struct Probe<'scope> {
    stop: Arc<AtomicBool>,
    thread: ScopedJoinHandle<'scope, Result<Vec<Sight>>>,
}

impl<'scope> Probe<'scope> {
    pub(super) fn start<'env>(scope: &'scope Scope<'scope, 'env>, lab: &'env Lab) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&stop);
        let thread = scope.spawn(move || {
            lab.client().enter()?;
            let mut sights = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let asked = Instant::now();
                let by = ask(lab).ok();
                sights.push(Sight { asked, answered: Instant::now(), by });
            }
            Ok(sights)
        });
        Self { stop, thread }
    }

    /// What was seen.
    pub(super) fn finish(self) -> Result<Vec<Sight>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the probe panicked"))?
    }
}

fn ask(lab: &Lab) -> Result<usize> {
    let response = Connection::here(lab.service())?.request(&Request::get("/"))?;
    ensure!(response.status == 200, "status {}", response.status);
    backend(response.backend())
}

/// The number in a backend's name.
fn backend(name: &str) -> Result<usize> {
    name.strip_prefix('b').and_then(|number| number.parse().ok()).with_context(|| format!("no backend: {name}"))
}

/// A new session, which has to be of this backend: its cookies.
pub(super) fn log_in(lab: &Lab, wanted: usize) -> Result<String> {
    let response = Connection::open(lab.client(), lab.service())?.request(&Request::get("/login"))?;
    ensure!(backend(response.backend())? == wanted, "{} answered instead of b{wanted}", response.backend());
    let cookies = response.all("Set-Cookie").filter_map(|cookie| cookie.split(';').next());
    Ok(cookies.collect::<Vec<_>>().join("; "))
}
