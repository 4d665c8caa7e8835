//! Load by wrk, and the CPU time that the machine takes for it.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::busy::Busy;
use crate::lab::Lab;

/// What wrk is to do, with a thread for each target.
#[derive(Clone, Debug)]
pub(super) struct Wrk {
    pub(super) targets: Vec<Target>,
    pub(super) connections: usize,
    pub(super) path: &'static str,
    /// One request per connection, which the server closes.
    pub(super) close: bool,
    /// Requests a second, by all threads together; as many as there is room for without.
    pub(super) rate: Option<f64>,
}

/// Where a thread connects to, and the sessions that it has.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) to: SocketAddr,
    pub(super) cookies: Cookies,
}

#[derive(Clone, Debug)]
pub(super) enum Cookies {
    /// The same one again and again, or none: the script costs nothing per request.
    One(Option<String>),
    /// One after the other, whichever connection is at hand.
    Each(Vec<String>),
    /// A new one each time, which nobody has issued.
    MadeUp,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) errors: u64,
    /// Microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    /// Of all CPUs.
    pub(super) busy: Duration,
    /// The same of work that is none of the benchmark's.
    pub(super) others: Duration,
}

impl Sample {
    pub(super) fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

/// What the script prints at the end.
#[derive(Deserialize)]
struct Summary {
    requests: u64,
    microseconds: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    errors: Errors,
}

/// What failed at a connection, or was not answered by 2xx or 3xx.
#[derive(Debug, Deserialize)]
struct Errors {
    connect: u64,
    read: u64,
    write: u64,
    timeout: u64,
    status: u64,
}

const MARK: &str = "RESULT ";

impl Wrk {
    /// Puts load on the targets.
    pub(super) fn run(&self, lab: &Lab, time: Duration) -> Result<Sample> {
        let script = lab.dir().join(format!("wrk-{:?}.lua", std::thread::current().id()));
        fs::write(&script, self.script()).with_context(|| format!("write {}", script.display()))?;
        let first = self.targets.first().context("nobody is asked")?.to;
        let [threads, connections] = [self.targets.len(), self.connections].map(|number| number.to_string());
        let (time, script) = (format!("{}s", time.as_secs()), script.to_string_lossy());
        let url = format!("http://{first}{}", self.path);
        let before = Busy::now()?;
        let arguments = ["-t", &threads, "-c", &connections, "-d", &time, "-s", &script, &url];
        let output = lab.client().output("wrk", &arguments)?;
        let after = Busy::now()?;
        let (busy, others) = (after.own_since(before), after.others_since(before));
        let Some(text) = output.lines().find_map(|line| line.strip_prefix(MARK)) else { bail!("wrk said:\n{output}") };
        let summary: Summary = serde_json::from_str(text).with_context(|| format!("read wrk's summary: {text}"))?;
        let Summary { requests, microseconds, p50, p99, p999, errors: failed } = summary;
        let errors = failed.connect + failed.read + failed.write + failed.timeout + failed.status;
        if errors > 0 {
            eprintln!("\n{first}: {failed:?}");
        }
        Ok(Sample { requests, seconds: microseconds / 1e6, errors, p50, p99, p999, busy, others })
    }

    fn script(&self) -> String {
        let mut targets = String::new();
        for Target { to, cookies } in &self.targets {
            let cookies = match cookies {
                Cookies::One(None) => String::new(),
                Cookies::One(Some(cookie)) => format!("cookie = {cookie:?}"),
                Cookies::Each(all) => {
                    format!("cookies = {{ {} }}", all.iter().map(|one| format!("{one:?}, ")).collect::<String>())
                }
                Cookies::MadeUp => "made_up = true".to_owned(),
            };
            let _ = writeln!(targets, "  {{ host = \"{}\", port = \"{}\", {cookies} }},", to.ip(), to.port());
        }
        let period = self.rate.map_or(0.0, |rate| 1000.0 * self.targets.len() as f64 / rate);
        let delay = if self.rate.is_some() { include_str!("wrk/delay.lua") } else { "" };
        let calls = self.targets.iter().any(|target| !matches!(target.cookies, Cookies::One(_)));
        let request = if calls { include_str!("wrk/request.lua") } else { "" };
        let common = include_str!("wrk/common.lua");
        format!(
            "local targets = {{\n{targets}}}\nlocal close = {}\nlocal period = {period}\n{common}\n{request}\n{delay}",
            self.close
        )
    }
}
