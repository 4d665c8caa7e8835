//! Many browsers at once that notice each wrong answer, beside whatever a test does to the balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::browser::{Browser, Whoami};
use super::tally::Tally;
use crate::lab::node::Node;

/// What may happen to a session while the load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A session stays on the version and backend that it began on: `new-sessions` flips.
    Stays,
    /// A session may begin anew on another version or backend: `forced` flips, dead backends.
    Moves,
}

/// What the browsers do.
#[derive(Clone, Debug)]
pub struct Load {
    /// What they connect to.
    pub to: SocketAddr,
    /// How many of them.
    pub browsers: usize,
    /// What may happen to a session.
    pub expect: Expect,
    /// The cookie is cleared after so many requests of a session.
    pub clear_after: Option<u64>,
    /// The connection is closed after so many requests.
    pub disconnect_after: Option<u64>,
    /// The pause between two requests of one browser.
    pub pause: Duration,
}

impl Load {
    /// Sixteen browsers without pause that keep connection and session.
    pub fn new(to: SocketAddr) -> Self {
        Self {
            to,
            browsers: 16,
            expect: Expect::Stays,
            clear_after: None,
            disconnect_after: None,
            pause: Duration::ZERO,
        }
    }

    /// Starts the browsers inside `node`, each on a thread of its own.
    pub fn start(self, node: &Node) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let browse = |_| {
            let (load, node, stop) = (self.clone(), node.clone(), Arc::clone(&stop));
            std::thread::spawn(move || load.browse(&node, &stop))
        };
        Running { threads: (0..self.browsers).map(browse).collect(), stop: Arc::clone(&stop) }
    }

    fn browse(&self, node: &Node, stop: &AtomicBool) -> Tally {
        let mut browser = Browser::new(node, self.to);
        let mut tally = Tally::default();
        let mut last: Option<Whoami> = None;
        for count in 1.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let began = Instant::now();
            match browser.whoami() {
                Ok(answer) => {
                    tally.slowest = tally.slowest.max(began.elapsed());
                    tally.count(last.as_ref(), &answer, self.expect);
                    last = Some(answer);
                }
                Err(error) => {
                    tally.error(format!("{error:#}"));
                    // The request may have counted, so the next answer's hits prove nothing.
                    last = None;
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            if self.clear_after.is_some_and(|after| last.as_ref().is_some_and(|last| last.hits >= after)) {
                browser.clear_cookie();
                last = None;
            }
            if self.disconnect_after.is_some_and(|after| count % after == 0) {
                browser.disconnect();
            }
            std::thread::sleep(self.pause);
        }
        tally.connections = browser.connections();
        tally
    }
}

/// Browsers at work.
#[derive(Debug)]
pub struct Running {
    threads: Vec<JoinHandle<Tally>>,
    stop: Arc<AtomicBool>,
}

impl Running {
    /// Lets them work for a while, then ends them.
    pub fn finish_after(self, duration: Duration) -> Result<Tally> {
        std::thread::sleep(duration);
        self.finish()
    }

    /// Ends them after their present request.
    pub fn finish(mut self) -> Result<Tally> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for thread in self.threads.drain(..) {
            tally.add(thread.join().map_err(|_| anyhow!("a browser's thread panicked"))?);
        }
        Ok(tally)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed in between must not leave them browsing.
        self.stop.store(true, Ordering::Relaxed);
    }
}
