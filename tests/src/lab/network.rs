//! Builds a lab's network: namespaces, veth pairs, addresses, routes, and what the chosen hook needs.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::addresses::Addresses;
use super::node::Node;
use super::remains::host_interface;
use super::settings::{meet, set_offloads_for_xdp, settings_of_router, write_setting};
use super::{ClientPlace, Hook};

/// The director's interface towards the client.
pub(crate) const CLIENT_INTERFACE: &str = "client0";

/// What is to be built.
pub(crate) struct Blueprint<'a> {
    pub(crate) name: &'a str,
    pub(crate) addresses: Addresses,
    pub(crate) backends: usize,
    pub(crate) client: ClientPlace,
    pub(crate) client_addresses: u8,
    pub(crate) hook: Hook,
}

impl Blueprint<'_> {
    /// The name of a role's namespace.
    pub(crate) fn namespace(&self, role: &str) -> String {
        format!("{}-{role}", self.name)
    }

    /// The client's own interface: in the machine's network its name has to differ from lab to lab.
    pub(crate) fn client_end(&self) -> String {
        match self.client {
            ClientPlace::Host => host_interface(self.addresses),
            ClientPlace::Namespace => "eth0".to_owned(),
        }
    }

    /// Makes the namespaces.
    pub(crate) fn make_namespaces(&self) -> Result<()> {
        let mut batch = String::new();
        for role in self.roles() {
            batch += &format!("netns add {}\n", self.namespace(&role));
        }
        run_batch(Command::new("ip"), &batch).context("make namespaces")
    }

    fn roles(&self) -> Vec<String> {
        let client = (self.client == ClientPlace::Namespace).then(|| "client".to_owned());
        let backends = (1..=self.backends).map(|index| format!("b{index}"));
        client.into_iter().chain(["director".to_owned()]).chain(backends).collect()
    }

    /// Joins the hosts and gives them addresses and routes.
    pub(crate) fn join(&self, client: &Node, director: &Node, backends: &[Node]) -> Result<()> {
        for node in backends.iter().chain([director]) {
            node.run(settings_of_router).with_context(|| format!("set up {}", node.role()))?;
        }
        if self.client == ClientPlace::Namespace {
            client.run(settings_of_router).context("set up the client")?;
        }
        run_batch(Command::new("ip"), &self.links()).context("make veth pairs")?;
        if self.client == ClientPlace::Host {
            write_setting(&format!("ipv6/conf/{}/disable_ipv6", self.client_end()), "1")?;
        }
        run_batch(director.command("ip"), &self.director()).context("set up the director's interfaces")?;
        run_batch(client.command("ip"), &self.client()).context("set up the client's interface")?;
        for (node, index) in backends.iter().zip(1..) {
            run_batch(node.command("ip"), &self.backend(index)).context("set up a backend's interface")?;
        }
        if self.hook == Hook::Xdp {
            set_offloads_for_xdp(client, &self.client_end())?;
            for node in backends {
                set_offloads_for_xdp(node, "eth0")?;
            }
        }
        let clients = (0..self.client_addresses).map(|index| self.addresses.client_nth(index));
        let neighbours: Vec<_> = backends.iter().map(Node::address).chain(clients).collect();
        director.run(|| meet(&neighbours)).context("resolve the director's neighbours")
    }

    fn links(&self) -> String {
        let director = self.namespace("director");
        let place = match self.client {
            ClientPlace::Host => String::new(),
            ClientPlace::Namespace => format!("netns {}", self.namespace("client")),
        };
        let mut batch = format!(
            "link add name {CLIENT_INTERFACE} netns {director} type veth peer name {} {place}\n",
            self.client_end()
        );
        for index in 1..=self.backends {
            let backend = self.namespace(&format!("b{index}"));
            batch += &format!("link add name b{index} netns {director} type veth peer name eth0 netns {backend}\n");
        }
        batch
    }

    fn director(&self) -> String {
        let addresses = self.addresses;
        let mut batch = "link set lo up\n".to_owned();
        for address in addresses.sources().into_iter().chain([addresses.vip()]) {
            batch += &format!("address add {address}/32 dev lo\n");
        }
        batch += &format!("address add {}/24 dev {CLIENT_INTERFACE}\n", addresses.director());
        batch += &format!("link set {CLIENT_INTERFACE} up\n");
        for index in 1..=self.backends {
            batch += &format!("address add {}/24 dev b{index}\nlink set b{index} up\n", addresses.gateway(index));
        }
        batch
    }

    fn client(&self) -> String {
        let (addresses, end) = (self.addresses, self.client_end());
        let mut batch = "link set lo up\n".to_owned();
        for index in 0..self.client_addresses {
            batch += &format!("address add {}/24 dev {end}\n", addresses.client_nth(index));
        }
        batch + &format!("link set {end} up\nroute add {} via {}\n", addresses.prefix(), addresses.director())
    }

    fn backend(&self, index: usize) -> String {
        let addresses = self.addresses;
        format!(
            "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\nroute add default via {}\n",
            addresses.backend(index),
            addresses.gateway(index)
        )
    }
}

/// Runs many `ip` commands in one process.
fn run_batch(mut ip: Command, batch: &str) -> Result<()> {
    let mut child = ip
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("start `ip`: is iproute2 installed?")?;
    let mut input = child.stdin.take().context("the input of `ip`")?;
    input.write_all(batch.as_bytes()).context("write to `ip`")?;
    drop(input);
    let output = child.wait_with_output().context("wait for `ip`")?;
    if !output.status.success() {
        bail!("{} in the batch:\n{batch}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
