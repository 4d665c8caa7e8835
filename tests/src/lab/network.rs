//! Builds a lab's network: namespaces, veth pairs, addresses, routes, and what the chosen hook needs.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::addresses::{Addresses, Family, twin};
use super::node::Node;
use super::relay::{FAR, NEAR, Relay};
use super::remains::host_interface;
use super::settings::{cpus, meet, set_offloads_for_xdp, settings_of_router, spread, turn_offloads_off, write_setting};
use super::{ClientPlace, Hook, Offloads, RelayPlace};

/// The director's interface towards the client.
pub(crate) const CLIENT_INTERFACE: &str = "client0";

/// The relay's name among the hosts.
pub(crate) const RELAY: &str = "relay";

/// What is to be built.
pub(crate) struct Blueprint<'a> {
    pub(crate) name: &'a str,
    pub(crate) addresses: Addresses,
    pub(crate) backends: usize,
    pub(crate) client: ClientPlace,
    pub(crate) client_addresses: u8,
    pub(crate) hook: Hook,
    pub(crate) relay: Option<RelayPlace>,
    pub(crate) offloads: Offloads,
    pub(crate) mtu: u16,
    pub(crate) family: Family,
}

/// MTU of an interface that nobody has told otherwise.
pub(crate) const ETHERNET_MTU: u16 = 1500;

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
        let relay = self.relay.map(|_| RELAY.to_owned());
        let backends = (1..=self.backends).map(backend_end);
        client.into_iter().chain(["director".to_owned()]).chain(relay).chain(backends).collect()
    }

    /// Joins the hosts and gives them addresses and routes; and starts the relay, if there is one.
    pub(crate) fn join(
        &self,
        client: &Node,
        director: &Node,
        relay: Option<&Node>,
        backends: &[Node],
    ) -> Result<Option<Relay>> {
        for node in backends.iter().chain([director]).chain(relay) {
            node.run(|| settings_of_router(self.family)).with_context(|| format!("set up {}", node.role()))?;
        }
        if self.client == ClientPlace::Namespace {
            client.run(|| settings_of_router(self.family)).context("set up the client")?;
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
        // Before its offloads are set: veth takes frames that XDP redirects if GRO came on while it was up.
        relay.map_or(Ok(()), |node| {
            run_batch(node.command("ip"), &format!("link set {NEAR} up\nlink set {FAR} up\n"))
        })?;
        if self.offloads == Offloads::Off {
            turn_offloads_off(client, &self.client_end())?;
            for interface in [CLIENT_INTERFACE.to_owned()].into_iter().chain((1..=self.backends).map(backend_end)) {
                turn_offloads_off(director, &interface)?;
            }
            for node in backends {
                turn_offloads_off(node, "eth0")?;
            }
            if let Some(node) = relay {
                turn_offloads_off(node, NEAR)?;
                turn_offloads_off(node, FAR)?;
            }
        }
        if self.hook == Hook::Xdp {
            set_offloads_for_xdp(client, &self.client_end())?;
            for node in backends {
                set_offloads_for_xdp(node, "eth0")?;
            }
            // The other end of the director's link is the relay's then.
            relay.map_or(Ok(()), |node| set_offloads_for_xdp(node, FAR))?;
            // At both ends of each link, and for whoever is compared with XDP, too.
            spread(client, &self.client_end())?;
            for end in [CLIENT_INTERFACE.to_owned()].into_iter().chain((1..=self.backends).map(backend_end)) {
                spread(director, &end)?;
            }
            backends.iter().try_for_each(|node| spread(node, "eth0"))?;
        }
        let relay = relay.map(|node| Relay::start(node, node.address())).transpose().context("start the relay")?;
        let clients = (0..self.client_addresses).map(|index| self.addresses.client_nth(index));
        let neighbours = backends.iter().map(Node::address).chain(clients).flat_map(|address| self.with_twin(address));
        let neighbours: Vec<IpAddr> = neighbours.collect();
        director.run(|| meet(&neighbours)).context("resolve the director's neighbours")?;
        Ok(relay)
    }

    /// An address, and its twin if the lab has IPv6.
    fn with_twin(&self, address: Ipv4Addr) -> impl Iterator<Item = IpAddr> + use<> {
        let six = (self.family == Family::V6).then(|| twin(address).into());
        [address.into()].into_iter().chain(six)
    }

    /// Gives an interface an address, alone or as one of a link, and the same of its twin. Nobody looks whether somebody else has
    /// that one.
    fn address(&self, address: Ipv4Addr, bits: u8, interface: &str) -> String {
        let one = |address: IpAddr| match (address, bits) {
            (IpAddr::V4(_), _) => format!("address add {address}/{bits} dev {interface}\n"),
            (IpAddr::V6(_), 32) => format!("address add {address}/128 dev {interface} nodad\n"),
            (IpAddr::V6(_), _) => format!("address add {address}/64 dev {interface} nodad\n"),
        };
        self.with_twin(address).map(one).collect()
    }

    fn links(&self) -> String {
        let client = match self.client {
            ClientPlace::Host => self.client_end(),
            ClientPlace::Namespace => format!("{} netns {}", self.client_end(), self.namespace("client")),
        };
        let mut batch = self.link(CLIENT_INTERFACE, &client, RelayPlace::Client);
        for index in 1..=self.backends {
            let end = backend_end(index);
            let backend = format!("eth0 netns {}", self.namespace(&end));
            batch += &self.link(&end, &backend, RelayPlace::Backend(index));
        }
        batch
    }

    /// The director's link to a host, by way of the relay if that is its place.
    fn link(&self, end: &str, host: &str, place: RelayPlace) -> String {
        let (director, mtu) = (self.namespace("director"), self.mtu);
        // A queue for each CPU, as cards have. Of a veth with one, which is what the kernel makes unasked, all that XDP redirects would go
        // through one ring of 256 frames, which one CPU empties.
        let queues = cpus();
        let end_of_pair = |name: &str| format!("name {name} mtu {mtu} numtxqueues {queues} numrxqueues {queues}");
        let pair =
            |one: &str, other: &str| format!("link add {} type veth peer {}\n", end_of_pair(one), end_of_pair(other));
        let end = format!("{end} netns {director}");
        if self.relay != Some(place) {
            return pair(&end, host);
        }
        let relay = self.namespace(RELAY);
        pair(&end, &format!("{FAR} netns {relay}")) + &pair(&format!("{NEAR} netns {relay}"), host)
    }

    fn director(&self) -> String {
        let addresses = self.addresses;
        let mut batch = "link set lo up\n".to_owned();
        for address in addresses.sources().into_iter().chain([addresses.vip()]) {
            batch += &self.address(address, 32, "lo");
        }
        batch += &self.address(addresses.director(), 24, CLIENT_INTERFACE);
        batch += &format!("link set {CLIENT_INTERFACE} up\n");
        for index in 1..=self.backends {
            batch += &self.address(addresses.gateway(index), 24, &format!("b{index}"));
            batch += &format!("link set b{index} up\n");
        }
        batch
    }

    fn client(&self) -> String {
        let (addresses, end) = (self.addresses, self.client_end());
        let mut batch = "link set lo up\n".to_owned();
        for index in 0..self.client_addresses {
            batch += &self.address(addresses.client_nth(index), 24, &end);
        }
        batch += &format!("link set {end} up\nroute add {} via {}\n", addresses.prefix(), addresses.director());
        if self.family == Family::V6 {
            batch += &format!("route add {} via {}\n", addresses.prefix6(), twin(addresses.director()));
        }
        batch
    }

    fn backend(&self, index: usize) -> String {
        let addresses = self.addresses;
        let (own, gateway) = (addresses.backend(index), addresses.gateway(index));
        let up = "link set eth0 up\n";
        let routes = self.with_twin(gateway).map(|gateway| format!("route add default via {gateway}\n"));
        "link set lo up\n".to_owned() + &self.address(own, 24, "eth0") + up + &routes.collect::<String>()
    }
}

/// The director's interface towards backend host `index`, which is the host's name too.
fn backend_end(index: usize) -> String {
    format!("b{index}")
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
