//! Honest clients: some with a new connection for each request, some that keep theirs. How many were answered, and how soon.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use balancer_tests::client::Connection;
use balancer_tests::lab::node::Node;

/// Clients of each of the two kinds.
const EACH: usize = 4;
/// Between two requests of one client: so many that they say how it goes, and so few that they do not take the machine for themselves.
const PAUSE: Duration = Duration::from_millis(2);

/// Clients at work.
pub(super) struct Visitors {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Served>>>,
}

/// What became of their requests. One that was not answered within ten seconds failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) answers: u64,
    pub(super) failures: u64,
    pub(super) connections: u64,
    first_failure: Option<String>,
    times: Vec<Duration>,
}

impl Visitors {
    pub(super) fn start(node: &Node, to: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let visit = |index: usize| {
            let (node, stop) = (node.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                node.enter()?;
                Ok(visit(to, index < EACH, &stop))
            })
        };
        Self { threads: (0..2 * EACH).map(visit).collect(), stop: Arc::clone(&stop) }
    }

    pub(super) fn finish_after(mut self, time: Duration) -> Result<Served> {
        std::thread::sleep(time);
        self.stop.store(true, Ordering::Relaxed);
        let mut served = Served::default();
        for thread in self.threads.drain(..) {
            let one = thread.join().map_err(|_| anyhow!("a client panicked"))??;
            served.answers += one.answers;
            served.failures += one.failures;
            served.connections += one.connections;
            served.first_failure = served.first_failure.or(one.first_failure);
            served.times.extend(one.times);
        }
        served.times.sort_unstable();
        Ok(served)
    }
}

impl Drop for Visitors {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn visit(to: SocketAddr, keeps: bool, stop: &AtomicBool) -> Served {
    let mut served = Served::default();
    let mut kept = None;
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        match ask(to, kept.take(), &mut served.connections) {
            Ok(connection) => {
                served.answers += 1;
                served.times.push(began.elapsed());
                kept = keeps.then_some(connection);
            }
            Err(error) => {
                served.failures += 1;
                served.first_failure.get_or_insert(format!("{error:#}"));
            }
        }
        std::thread::sleep(PAUSE);
    }
    served
}

fn ask(to: SocketAddr, kept: Option<Connection>, connections: &mut u64) -> Result<Connection> {
    let mut connection = match kept {
        Some(connection) => connection,
        None => {
            *connections += 1;
            Connection::here(to)?
        }
    };
    let response = connection.get("/nosession", None)?;
    ensure!(response.status == 200, "status {}", response.status);
    Ok(connection)
}

impl Served {
    /// The share of requests that were answered.
    pub(super) fn share(&self) -> f64 {
        self.answers as f64 / (self.answers + self.failures).max(1) as f64
    }

    pub(super) fn median(&self) -> Duration {
        self.times.get(self.times.len() / 2).copied().unwrap_or_default()
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (median, slowest) = (self.median(), self.times.last().copied().unwrap_or_default());
        write!(f, "{} answers, {} failures, median {median:?}, slowest {slowest:?}", self.answers, self.failures)?;
        match &self.first_failure {
            Some(failure) => write!(f, " ({failure})"),
            None => Ok(()),
        }
    }
}
