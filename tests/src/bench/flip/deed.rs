//! Directors, and how each is told to flip.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::super::contender::{FLOWS, SOURCES};
use super::super::servers::{application, haproxy, proxy};
use crate::balancer::Balancer;
use crate::lab::config::{Select, Shop};
use crate::lab::process::Process;
use crate::lab::{Hook, Lab};

/// How somebody flips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// `balancer flip`, a process of its own each time, by either hook.
    Cli,
    CliXdp,
    /// What that says to the daemon, without the process.
    Api,
    /// Weights by the runtime API.
    HaProxyApi,
    /// Another file, and a signal.
    HaProxyReload,
    NginxReload,
}

impl Means {
    pub(super) const ALL: [Self; 6] =
        [Self::Cli, Self::CliXdp, Self::Api, Self::HaProxyApi, Self::HaProxyReload, Self::NginxReload];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cli => "balancer flip, TC",
            Self::CliXdp => "balancer flip, XDP",
            Self::Api => "balancer's API, TC",
            Self::HaProxyApi => "HAProxy, runtime API",
            Self::HaProxyReload => "HAProxy, reload",
            Self::NginxReload => "nginx, reload",
        }
    }

    /// From one flip to the next. What is reloaded has to come up each time.
    pub(super) const fn every(self) -> Duration {
        match self {
            Self::Cli | Self::CliXdp | Self::Api | Self::HaProxyApi => Duration::from_millis(100),
            Self::HaProxyReload | Self::NginxReload => Duration::from_millis(1000),
        }
    }

    pub(super) fn lab(self) -> Result<Lab> {
        let hook = if self == Self::CliXdp { Hook::Xdp } else { Hook::Tc };
        let lab = Lab::builder("flip").backends(2).client_addresses(SOURCES).hook(hook).build()?;
        crate::short::use_ports_again(lab.client())?;
        Ok(lab)
    }
}

/// What stands between the client and the two versions.
pub(super) struct Director<'a> {
    means: Means,
    lab: &'a Lab,
    front: Front<'a>,
    _backends: Vec<Process>,
}

enum Front<'a> {
    Balancer(Box<Balancer<'a>>),
    Program(Process),
}

impl<'a> Director<'a> {
    pub(super) fn start(means: Means, lab: &'a Lab, balancer: &Path) -> Result<Self> {
        let backends = application::start_all(lab)?;
        let front = match means {
            Means::Cli | Means::CliXdp | Means::Api => {
                let shop = Shop { flows: FLOWS, ..Shop::new(&[("001", &[1]), ("002", &[2])]).select(Select::Explicit) };
                Front::Balancer(Box::new(Balancer::start(lab, balancer, &shop.to_toml(lab))?))
            }
            Means::HaProxyApi => Front::Program(haproxy::start(lab)?),
            Means::HaProxyReload => Front::Program(haproxy::start_master(lab, 1)?),
            Means::NginxReload => Front::Program(proxy::start(lab, &[1])?),
        };
        Ok(Self { means, lab, front, _backends: backends })
    }

    /// Has new sessions go to a backend, and returns when whoever flips believes that they do.
    pub(super) fn flip(&mut self, to: usize) -> Result<()> {
        match (&mut self.front, self.means) {
            (Front::Balancer(balancer), Means::Cli | Means::CliXdp) => {
                let output =
                    balancer.command_outside(&["flip", "shop", label(to)]).output().context("run balancer flip")?;
                ensure!(output.status.success(), "balancer flip: {}", String::from_utf8_lossy(&output.stderr));
                Ok(())
            }
            (Front::Balancer(_), _) => post(self.lab, label(to)),
            (Front::Program(_), Means::HaProxyApi) => {
                let weight = |index: usize| format!("set server shop/b{index} weight {}", i32::from(index == to));
                haproxy::tell(self.lab, &format!("{}; {}", weight(to), weight(3 - to)))
            }
            (Front::Program(process), Means::NginxReload) => {
                proxy::choose(self.lab, &[to])?;
                process.signal(Signal::HUP)
            }
            (Front::Program(process), _) => {
                haproxy::choose(self.lab, to)?;
                process.signal(Signal::USR2)
            }
        }
    }

    pub(super) fn finish(self) -> Result<()> {
        match self.front {
            Front::Balancer(balancer) => balancer.detach(),
            // A master has to end its workers.
            Front::Program(process) => process.stop(Duration::from_secs(2)).map(drop),
        }
    }
}

const fn label(backend: usize) -> &'static str {
    if backend == 1 { "001" } else { "002" }
}

/// A flip, as the CLI asks for it.
fn post(lab: &Lab, label: &str) -> Result<()> {
    let mut socket = UnixStream::connect(Balancer::socket(lab)).context("connect to the daemon")?;
    let body = format!(r#"{{"version":"{label}","mode":"new-sessions"}}"#);
    let head = "POST /v1/services/shop/flip HTTP/1.1\r\nHost: balancer\r\nConnection: close\r\nContent-Type: application/json\r\n";
    write!(socket, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).context("write to the daemon")?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).context("read from the daemon")?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "the daemon answers: {answer}");
    Ok(())
}
