//! What is compared: something in the director's namespace, and the backends behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::servers::{application, dnat, haproxy, proxy};
use crate::balancer::Balancer;
use crate::client::{Connection, Request};
use crate::lab::config::Shop;
use crate::lab::process::Process;
use crate::lab::{Hook, Lab};

/// A way to the backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// The kernel's routing: clients connect to the backends themselves.
    Direct,
    /// The same without the offloads that XDP does without.
    DirectAsXdp,
    /// nftables, by connection.
    Dnat,
    HaProxy,
    Nginx,
    /// The balancer, by either hook, with and without a pool of legs.
    Tc,
    TcAlone,
    Xdp,
    XdpAlone,
}

/// Addresses of the client: enough that a choice by address meets every backend, and that ports of closed connections do not run out.
pub(super) const SOURCES: u8 = 24;
/// Room for connections of a few seconds, all of which linger.
pub(super) const FLOWS: u32 = 262_144;

impl Way {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::DirectAsXdp => "direct, offloads as for XDP",
            Self::Dnat => "nftables DNAT",
            Self::HaProxy => "HAProxy",
            Self::Nginx => "nginx",
            Self::Tc => "balancer, TC",
            Self::TcAlone => "balancer, TC, no pool",
            Self::Xdp => "balancer, XDP",
            Self::XdpAlone => "balancer, XDP, no pool",
        }
    }

    /// A lab that is prepared for it.
    pub(super) fn lab(self, backends: usize) -> Result<Lab> {
        let hook = match self {
            Self::Direct | Self::Dnat | Self::HaProxy | Self::Nginx | Self::Tc | Self::TcAlone => Hook::Tc,
            Self::DirectAsXdp | Self::Xdp | Self::XdpAlone => Hook::Xdp,
        };
        Lab::builder("bench").backends(backends).client_addresses(SOURCES).hook(hook).build()
    }

    /// Labs of all of them.
    pub(super) fn labs(ways: &[Self], backends: usize) -> Result<Vec<Lab>> {
        ways.iter().map(|way| way.lab(backends)).collect()
    }
}

/// One of them, at work in a lab of its own, so that nothing is attached where another one is measured.
pub(super) struct Contender<'a> {
    pub(super) way: Way,
    pub(super) lab: &'a Lab,
    front: Front<'a>,
    _backends: Vec<Process>,
}

enum Front<'a> {
    Kernel,
    Program { _process: Process },
    Balancer(Box<Balancer<'a>>),
}

impl<'a> Contender<'a> {
    /// All of these ways, in these labs.
    pub(super) fn all(ways: &[Way], labs: &'a [Lab], balancer: &Path) -> Result<Vec<Self>> {
        let start = |(way, lab): (&Way, &'a Lab)| {
            Self::start(*way, lab, balancer).with_context(|| format!("set up {}", way.name()))
        };
        ways.iter().zip(labs).map(start).collect()
    }

    /// Starts nginx on each backend, and what stands before them; all backends are of one version.
    fn start(way: Way, lab: &'a Lab, balancer: &Path) -> Result<Self> {
        let backends = application::start_all(lab)?;
        let all: Vec<usize> = (1..=lab.backends().len()).collect();
        let balancer = |service_lines| {
            let versions = [("001", &all[..])];
            let shop = Shop { flows: FLOWS, service_lines, ..Shop::new(&versions) };
            anyhow::Ok(Front::Balancer(Box::new(Balancer::start(lab, balancer, &shop.to_toml(lab))?)))
        };
        let front = match way {
            Way::Direct | Way::DirectAsXdp => Front::Kernel,
            Way::Dnat => {
                dnat::start(lab)?;
                Front::Kernel
            }
            Way::HaProxy => Front::Program { _process: haproxy::start(lab)? },
            Way::Nginx => Front::Program { _process: proxy::start(lab, &all)? },
            Way::Tc | Way::Xdp => balancer("")?,
            Way::TcAlone | Way::XdpAlone => balancer("pool = \"off\"\n")?,
        };
        crate::short::use_ports_again(lab.client())?;
        let contender = Self { way, lab, front, _backends: backends };
        contender.wait()?;
        Ok(contender)
    }

    /// Where clients connect to for something of this backend.
    pub(super) fn address(&self, backend: usize) -> SocketAddr {
        match self.way {
            Way::Direct | Way::DirectAsXdp => self.lab.application(backend),
            _ => self.lab.service(),
        }
    }

    /// What the balancer counted; nothing of the others.
    pub(super) fn counters(&self) -> Result<BTreeMap<String, u64>> {
        match &self.front {
            Front::Balancer(balancer) => balancer.counters(),
            Front::Kernel | Front::Program { .. } => Ok(BTreeMap::new()),
        }
    }

    /// Waits for the first answer: health checks take a moment.
    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let connection = Connection::open(self.lab.client(), self.address(1));
            match connection.and_then(|mut connection| connection.get("/health", None)) {
                Ok(response) if response.status == 200 => return Ok(()),
                answer => ensure!(Instant::now() < deadline, "no backend is reached: {answer:?}"),
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// So many sessions of each backend, as the cookies that lead to it. Clients log in from one address after another until each
    /// backend has issued as many.
    pub(super) fn sessions(&self, each: usize) -> Result<Vec<Vec<String>>> {
        let backends = self.lab.backends().len();
        if matches!(self.way, Way::Direct | Way::DirectAsXdp | Way::Dnat) {
            // Cookies are nobody's business there.
            let made_up = |backend: usize| (0..each).map(move |index| format!("JSESSIONID={backend:08X}{index:024X}"));
            return Ok((1..=backends).map(|backend| made_up(backend).collect()).collect());
        }
        let (lab, to) = (self.lab, self.lab.service());
        lab.client().run(|| {
            let mut sessions: BTreeMap<String, Vec<String>> = BTreeMap::new();
            let missing = |sessions: &BTreeMap<String, Vec<String>>| {
                sessions.len() < backends || sessions.values().any(|of_one| of_one.len() < each)
            };
            for source in (0..SOURCES).cycle().take(4 * usize::from(SOURCES)) {
                let mut connection = Connection::here_from(lab.addresses().client_nth(source), to)?;
                // One who stays on a connection stays on its backend, as far as the balancer is concerned; the others choose anew each time.
                for _ in 0..each {
                    if !missing(&sessions) {
                        break;
                    }
                    let response = connection.get("/login", None)?;
                    ensure!(response.status == 200, "a login is answered with {}", response.status);
                    let cookies: Vec<&str> =
                        response.all("Set-Cookie").filter_map(|cookie| cookie.split(';').next()).collect();
                    let of_one = sessions.entry(response.backend().to_owned()).or_default();
                    if of_one.len() >= each {
                        if matches!(self.way, Way::HaProxy | Way::Nginx) {
                            continue;
                        }
                        break;
                    }
                    of_one.push(cookies.join("; "));
                }
            }
            ensure!(!missing(&sessions), "not every backend issued {each} sessions: {:?}", sessions.keys());
            for (backend, of_one) in &sessions {
                let cookies = of_one.first().context("a backend has sessions")?;
                let answer = Connection::here(to)?.request(&Request::get("/").header("Cookie", cookies))?;
                ensure!(answer.backend() == backend, "a session of {backend} was answered by {}", answer.backend());
            }
            Ok(sessions.into_values().collect())
        })
    }

    /// Takes away what it has attached.
    pub(super) fn finish(self) -> Result<()> {
        match self.front {
            Front::Balancer(balancer) => balancer.detach().with_context(|| format!("detach {}", self.way.name())),
            Front::Kernel | Front::Program { .. } => Ok(()),
        }
    }
}
