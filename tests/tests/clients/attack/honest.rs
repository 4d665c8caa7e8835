//! A user who wants nothing but answers, and compares every byte of them.

use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use balancer_tests::client::{Browser, Request, Whoami};

/// An honest user.
pub(super) struct Honest {
    browser: Browser,
    pub(super) number: usize,
    session: Whoami,
    echoes: bool,
}

impl Honest {
    /// Begins a session. Only some applications echo.
    pub(super) fn new(mut browser: Browser, number: usize, echoes: bool) -> Result<Self> {
        let session = browser.whoami()?;
        Ok(Self { browser, number, session, echoes })
    }

    /// Asks again and again; returns what it asked for.
    pub(super) fn ask_until(&mut self, over: &AtomicBool) -> Result<Vec<String>> {
        let mut sent = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let count = sent.len();
            let what = if self.echoes && count % 2 == 1 { "POST /echo" } else { "GET /whoami" };
            sent.push(format!("{what}?user={}&n={count}", self.number));
            self.ask(&sent[count], count).with_context(|| format!("user {}: {}", self.number, sent[count]))?;
            // Sometimes on a new connection, so that legs change hands.
            if count % 5 == 0 {
                self.browser.disconnect();
            }
        }
        Ok(sent)
    }

    fn ask(&mut self, what: &str, count: usize) -> Result<()> {
        let (method, target) = what.split_once(' ').context("a method and a target")?;
        if method == "GET" {
            let response = self.browser.request(Request::get(target).header("X-User", &self.number.to_string()))?;
            ensure!(response.status == 200, "status {}", response.status);
            let answer: Whoami = response.json()?;
            let wanted = Whoami { known: true, new: false, hits: self.session.hits + 1, ..self.session.clone() };
            ensure!(answer == wanted, "{answer:?} instead of {wanted:?}");
            self.session = answer;
            return Ok(());
        }
        // Long enough now and then to be of several segments.
        let body = format!("of user {}, number {count};", self.number).repeat(1 + count % 7 * 40).into_bytes();
        let request = Request::post(target, body.clone()).header("X-User", &self.number.to_string());
        let response = self.browser.request(request)?;
        ensure!(response.status == 200, "status {}", response.status);
        ensure!(response.backend() == self.session.backend, "{} answered", response.backend());
        ensure!(response.body == body, "{:?} came back", String::from_utf8_lossy(&response.body));
        Ok(())
    }
}
