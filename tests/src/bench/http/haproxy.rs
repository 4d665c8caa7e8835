//! HAProxy in the director's place.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::client::Connection;
use crate::lab::Lab;
use crate::lab::process::Process;

/// Starts it on the virtual address and waits until it answers.
pub(super) fn start(lab: &Lab) -> Result<Process> {
    let path = lab.dir().join("haproxy.cfg");
    fs::write(&path, text(lab)).with_context(|| format!("write {}", path.display()))?;
    let mut command = lab.director().command("haproxy");
    command.arg("-db").arg("-f").arg(&path);
    let mut process = lab.director().spawn("haproxy", &mut command)?;
    for _ in 0..500 {
        if Connection::open(lab.client(), lab.service()).and_then(|mut to| to.get("/health", None)).is_ok() {
            return Ok(process);
        }
        if let Some(status) = process.ended()? {
            bail!("HAProxy ended with {status} and says:\n{}", process.log());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    bail!("HAProxy does not answer; it says:\n{}", process.log())
}

/// Its best: a thread per CPU, no logs, connections to servers kept and shared, the persistence cookie read and not
/// written again.
fn text(lab: &Lab) -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let servers: String = (1..=lab.backends().len())
        .map(|index| format!("    server b{index} {} cookie b{index} check inter 1s\n", lab.application(index)))
        .collect();
    format!(
        "global
    nbthread {threads}
    maxconn 4096
    tune.maxaccept 256

defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always

listen shop
    bind {vip}:80 backlog 4096
    balance roundrobin
    option httpchk GET /health
    cookie SRV insert indirect nocache
{servers}",
        vip = lab.vip(),
    )
}
