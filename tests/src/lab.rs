//! The lab: a client, a director and backend hosts on one machine, each a network namespace, joined by veth pairs.
//!
//! ```text
//! client eth0 ── client0 director b1 ── eth0 b1
//!  10.N.0.2            VIP, sources b2 ── eth0 b2
//! ```
//!
//! Everything a lab makes carries its name, `bl-<label>-<pid>`. Dropping it takes all of that away; what a lab
//! leaves that could not drop, because its process was killed, goes when the next one starts.

pub mod addresses;
pub mod builder;
pub mod config;
pub mod node;
pub mod process;
pub mod registry;
pub mod relay;

mod network;
mod remains;
mod settings;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use addresses::Addresses;
pub use addresses::Family;
use builder::Builder;
pub use builder::{ClientPlace, Hook, Offloads, RelayPlace};
use config::APPLICATION_PORT;
use network::CLIENT_INTERFACE;
use node::Node;
use registry::Claim;
use relay::Relay;

/// A running lab. Dropping it takes everything away that it made.
#[derive(Debug)]
pub struct Lab {
    client: Node,
    director: Node,
    backends: Vec<Node>,
    hook: Hook,
    family: Family,
    /// Before the remains: its threads end before the namespaces go.
    relay: Option<Relay>,
    remains: Remains,
}

impl Lab {
    /// Begins a lab. The label, `[a-z0-9]+`, tells a person whose lab it is: `bl-<label>-<pid>`.
    pub fn builder(label: &str) -> Builder {
        Builder::new(label)
    }

    /// The name that everything of this lab carries.
    pub fn name(&self) -> &str {
        &self.remains.0.name
    }

    /// The lab's directory, for configuration, sockets, state and logs. It goes with the lab.
    pub fn dir(&self) -> &Path {
        &self.remains.0.directory
    }

    /// The hook that the lab was prepared for.
    pub fn hook(&self) -> Hook {
        self.hook
    }

    /// Where requests come from.
    pub fn client(&self) -> &Node {
        &self.client
    }

    /// Where the balancer runs.
    pub fn director(&self) -> &Node {
        &self.director
    }

    /// Backend host `index`, counted from 1.
    pub fn backend(&self, index: usize) -> &Node {
        &self.backends[index - 1]
    }

    /// All backend hosts.
    pub fn backends(&self) -> &[Node] {
        &self.backends
    }

    /// The relay, in a lab that was built with one.
    pub fn relay(&self) -> Result<&Relay> {
        self.relay.as_ref().context("this lab has no relay")
    }

    /// Where the application on backend host `index` listens.
    pub fn application(&self, index: usize) -> SocketAddr {
        SocketAddr::new(self.address_of(self.backend(index)), APPLICATION_PORT)
    }

    /// All addresses of the lab.
    pub fn addresses(&self) -> Addresses {
        self.remains.0.addresses
    }

    /// What clients and backends speak.
    pub fn family(&self) -> Family {
        self.family
    }

    /// A host's address of the lab's family.
    pub fn address_of(&self, node: &Node) -> IpAddr {
        self.family.of(node.address())
    }

    /// The virtual address.
    pub fn vip(&self) -> IpAddr {
        self.family.of(self.addresses().vip())
    }

    /// What clients connect to.
    pub fn service(&self) -> SocketAddr {
        SocketAddr::new(self.vip(), 80)
    }

    /// The addresses of legs.
    pub fn sources(&self) -> Vec<IpAddr> {
        self.addresses().sources().into_iter().map(|source| self.family.of(source)).collect()
    }

    /// The director's interface towards the client.
    pub fn client_interface(&self) -> String {
        CLIENT_INTERFACE.to_owned()
    }

    /// The director's interface towards backend host `index`.
    pub fn backend_interface(&self, index: usize) -> String {
        self.backend(index).role().to_owned()
    }

    /// All interfaces of the director that traffic comes in by.
    pub fn interfaces(&self) -> Vec<String> {
        let backends = self.backends.iter().map(|node| node.role().to_owned());
        [self.client_interface()].into_iter().chain(backends).collect()
    }

    /// Writes the balancer's configuration and returns its path.
    pub fn write_config(&self, text: &str) -> Result<PathBuf> {
        let path = self.dir().join("balancer.toml");
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }
}

/// Removes all that a director of that name has pinned, and with it what it attached and what it knew.
pub(crate) fn remove_pins(name: &str) -> Result<()> {
    remains::remove_pins(Path::new("/sys/fs/bpf"), name, 2)
}

/// What is to be taken away at the end.
#[derive(Debug)]
struct Remains(Claim);

impl Drop for Remains {
    fn drop(&mut self) {
        let Claim { name, directory, addresses } = &self.0;
        if std::thread::panicking() {
            process::print_logs(directory);
        }
        if let Err(error) = remains::tear_down(name, directory, Some(*addresses)) {
            eprintln!("cannot clean up the lab {name}, the next one will try again: {error:#}");
        }
    }
}
