//! A running lab with applications and the balancer, and what stories do with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::applications::Demo;
use crate::balancer::Balancer;
use crate::client::{Browser, Connection, Load};
use crate::lab::{Family, Lab};
use crate::tomcat::Tomcat;
use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;

use crate::programs;

/// Which application runs on the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Our own.
    Demo,
    /// The same, which closes connections on which no request came for a second.
    Impatient,
    /// The same, whose session ids end in the number of its host: `.n1`, `.n2`, …
    Routed,
    /// The same, each below a path that is named like its version up to the dash: `shop-1` below `/shop`.
    Contexts,
    /// Real Tomcat 10.
    Tomcat,
}

/// A running application: it ends when this is dropped.
pub enum Application {
    Demo(Demo),
    Tomcat(Tomcat),
}

impl Kind {
    /// Starts it on several hosts, as different versions.
    pub fn start_all(self, lab: &Lab, wanted: &[(usize, &str)]) -> Result<BTreeMap<usize, Application>> {
        let hosts = wanted.iter().map(|(host, _)| *host);
        let demo = |arguments: &dyn Fn(usize, &str) -> Vec<String>| -> Result<Vec<Application>> {
            let start = |(host, version): &(usize, &str)| {
                let arguments = arguments(*host, version);
                let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
                Demo::start_with(lab, programs::demo()?, *host, version, &arguments).map(Application::Demo)
            };
            wanted.iter().map(start).collect()
        };
        let applications: Vec<Application> = match self {
            Self::Demo => demo(&|_, _| Vec::new())?,
            Self::Impatient => demo(&|_, _| vec!["--idle".to_owned(), "1000".to_owned()])?,
            Self::Routed => demo(&|host, _| vec!["--route".to_owned(), format!("n{host}")])?,
            Self::Contexts => demo(&|_, version| {
                let name = version.split('-').next().unwrap_or(version);
                vec!["--context".to_owned(), format!("/{name}")]
            })?,
            Self::Tomcat => Tomcat::start_all(lab, wanted)?.into_iter().map(Application::Tomcat).collect(),
        };
        Ok(hosts.zip(applications).collect())
    }
}

/// What a story plays with.
pub struct Scene<'a> {
    pub lab: &'a Lab,
    pub kind: Kind,
    pub config: String,
    pub balancer: Balancer<'a>,
    pub applications: BTreeMap<usize, Application>,
}

impl<'a> Scene<'a> {
    /// A new browser of the client.
    pub fn browser(&self) -> Browser {
        Browser::new(self.lab.client(), self.lab.service())
    }

    /// A new connection of the client.
    pub fn connection(&self) -> Result<Connection> {
        Connection::open(self.lab.client(), self.lab.service())
    }

    /// Makes the client's connections come from its `index`th address.
    pub fn come_from(&self, index: u8) -> Result<()> {
        let addresses = self.lab.addresses();
        let [director, source] = [addresses.director(), addresses.client_nth(index)]
            .map(|address| self.lab.family().of(address).to_string());
        let prefix = match self.lab.family() {
            Family::V4 => addresses.prefix(),
            Family::V6 => addresses.prefix6(),
        };
        let route = ["route", "replace", &prefix, "via", &director, "src", &source];
        self.lab.client().output("ip", &route).map(drop)
    }

    /// Browsers for the client, to be started.
    pub fn load(&self, browsers: usize) -> Load {
        Load { browsers, ..Load::new(self.lab.service()) }
    }

    /// Starts the application on a host, or starts it there again as another version.
    pub fn start(&mut self, host: usize, version: &str) -> Result<()> {
        self.kill(host);
        self.applications.extend(self.kind.start_all(self.lab, &[(host, version)])?);
        Ok(())
    }

    /// Kills the application on a host (SIGKILL): from then on its port refuses.
    pub fn kill(&mut self, host: usize) {
        self.applications.remove(&host);
    }

    /// Starts a version's applications, adds the version, and waits until it takes work.
    pub fn add(&mut self, label: &str, hosts: &[usize]) -> Result<()> {
        for host in hosts {
            self.start(*host, label)?;
        }
        let backends = hosts.iter().map(|host| self.lab.application(*host).to_string()).collect::<Vec<_>>();
        let mut command = vec!["version", "add", "shop", label, "--backend"];
        command.extend(backends.iter().map(String::as_str));
        self.cli(&command)?;
        self.healthy(label)
    }

    /// Waits until a backend of the version takes work.
    pub fn healthy(&self, label: &str) -> Result<()> {
        self.cli(&["wait", "shop", "--for", &format!("healthy={label}"), "--timeout", "10s"]).map(drop)
    }

    /// Waits until no request is in flight on the version.
    pub fn idle(&self, label: &str) -> Result<()> {
        self.cli(&["wait", "shop", "--for", &format!("idle={label}"), "--timeout", "10s"]).map(drop)
    }

    /// A CLI command that has to succeed.
    pub fn cli(&self, arguments: &[&str]) -> Result<String> {
        self.balancer.cli(arguments)
    }

    /// The same, with JSON for an answer.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        self.balancer.json(arguments)
    }

    /// The version that new sessions get.
    pub fn active(&self) -> Result<String> {
        let status = self.json(&["status", "shop"])?;
        Ok(status["active"].as_str().context("no version is active")?.to_owned())
    }

    /// A counter of the data path; 0 if it never counted.
    pub fn counter(&self, name: &str) -> Result<u64> {
        Ok(self.balancer.counters()?.remove(name).unwrap_or(0))
    }

    /// Waits until no version has a request in flight: what was counted in was counted out.
    pub fn all_idle(&self) -> Result<()> {
        let status = self.json(&["status", "shop"])?;
        for version in status["versions"].as_array().context("no versions")? {
            self.idle(version["label"].as_str().context("no label")?)?;
        }
        Ok(())
    }

    /// Starts the daemon, which is not running, again.
    pub fn restart(&mut self) -> Result<()> {
        ensure!(self.balancer.process().ended()?.is_some(), "the daemon still runs");
        self.balancer = Balancer::start(self.lab, programs::balancer()?, &self.config)?;
        Ok(())
    }

    /// Says what the director saw.
    pub fn report(&mut self) {
        // Perhaps the story had stopped it.
        let _ = self.balancer.process().signal(Signal::CONT);
        let mut command = self.lab.director().command("timeout");
        command.args(["3", "env"]).arg(format!("BALANCER_SOCKET={}", Balancer::socket(self.lab).display()));
        let output = programs::balancer().and_then(|program| Ok(command.arg(program).arg("status").output()?));
        match output {
            Ok(output) => {
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                eprintln!("--- balancer status\n{}{}", text(&output.stdout), text(&output.stderr));
            }
            Err(error) => eprintln!("--- balancer status: {error:#}"),
        }
    }
}

/// Waits for something to become so.
pub fn wait_until(what: &str, patience: Duration, mut so: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + patience;
    while !so()? {
        ensure!(Instant::now() < deadline, "not so after {patience:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
