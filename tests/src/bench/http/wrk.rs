//! Load by wrk, and the CPU time that the machine takes for it.

use std::fmt::Write;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::variant::Variant;

/// Open at any time.
pub(super) const CONNECTIONS: usize = 32;

/// How clients use connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    KeepAlive,
    /// One request per connection, which the server closes.
    Close,
    /// One request per connection, which could be kept but is closed by the client.
    Short,
}

impl Mode {
    pub(super) const ALL: [Self; 3] = [Self::KeepAlive, Self::Close, Self::Short];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KeepAlive => "keep-alive",
            Self::Close => "one request per connection",
            Self::Short => "short connections, kept by nobody",
        }
    }
}

/// One run.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) requests: u64,
    pub(super) seconds: f64,
    pub(super) errors: u64,
    /// Microseconds.
    pub(super) p50: f64,
    pub(super) p99: f64,
    /// Of all CPUs.
    pub(super) busy: Duration,
}

/// What the script prints at the end.
#[derive(Deserialize)]
struct Summary {
    requests: u64,
    microseconds: f64,
    connect: u64,
    read: u64,
    write: u64,
    status: u64,
    timeout: u64,
    p50: f64,
    p99: f64,
}

const MARK: &str = "RESULT ";

/// Puts load on a variant.
pub(super) fn run(variant: &Variant<'_>, mode: Mode, time: Duration) -> Result<Sample> {
    let script = variant.lab.dir().join("wrk.lua");
    fs::write(&script, lua(variant, mode)).with_context(|| format!("write {}", script.display()))?;
    let (first, _) = variant.targets.first().context("a variant has targets")?;
    let threads = variant.targets.len().to_string();
    let [connections, time] = [CONNECTIONS.to_string(), format!("{}s", time.as_secs())];
    let script = script.to_string_lossy();
    let url = format!("http://{first}/");
    let before = busy()?;
    let arguments = ["-t", &threads, "-c", &connections, "-d", &time, "-s", &script, &url];
    let output = variant.lab.client().output("wrk", &arguments)?;
    let busy = busy()?.saturating_sub(before);
    let Some(text) = output.lines().find_map(|line| line.strip_prefix(MARK)) else {
        bail!("wrk against {} said:\n{output}", variant.name)
    };
    let summary: Summary = serde_json::from_str(text).with_context(|| format!("read wrk's summary: {text}"))?;
    let Summary { requests, microseconds, connect, read, write, status, timeout, p50, p99 } = summary;
    let errors = connect + read + write + status + timeout;
    if errors != 0 {
        eprintln!(
            "\n{}, {}: errors: connect {connect}, read {read}, write {write}, timeout {timeout}, not 2xx {status}",
            variant.name,
            mode.name()
        );
    }
    Ok(Sample { requests, seconds: microseconds / 1e6, errors, p50, p99, busy })
}

/// Each thread has a target and cookies of its own, and sends one request again and again: the script costs nothing per
/// request.
fn lua(variant: &Variant<'_>, mode: Mode) -> String {
    let mut targets = String::new();
    for (to, cookies) in &variant.targets {
        let _ = writeln!(targets, "  {{ host = \"{}\", port = \"{}\", cookie = \"{cookies}\" }},", to.ip(), to.port());
    }
    let close = match mode {
        Mode::KeepAlive | Mode::Short => "",
        Mode::Close => "wrk.headers[\"Connection\"] = \"close\"",
    };
    format!(
        r#"local targets = {{
{targets}}}
local count = 0
function setup(thread)
  count = count + 1
  local target = targets[count]
  thread.addr = wrk.lookup(target.host, target.port)[1]
  thread:set("cookie", target.cookie)
end
function init(arguments)
  wrk.headers["Cookie"] = cookie
  {close}
end
function done(summary, latency, requests)
  local e = summary.errors
  local format = '{MARK}{{"requests":%d,"microseconds":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50":%d,"p99":%d}}\n'
  io.write(string.format(format, summary.requests, summary.duration, e.connect, e.read, e.write, e.status, e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"#
    )
}

/// CPU time that all CPUs have spent since boot on anything but idling: proc_stat(5), in hundredths of a second.
pub(super) fn busy() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = text.lines().next().context("/proc/stat is empty")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq.
    let [user, nice, system, _, _, irq, softirq, ..] = ticks[..] else {
        bail!("/proc/stat has too few numbers: {line}")
    };
    Ok(Duration::from_millis(10 * (user + nice + system + irq + softirq)))
}
