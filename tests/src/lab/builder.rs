//! How a lab is described and built.

use anyhow::{Context, Result, ensure};

use super::addresses::Family;
use super::network::{Blueprint, ETHERNET_MTU, RELAY};
use super::node::Node;
use super::registry::{self, Claim};
use super::{Lab, Remains};

/// Where the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPlace {
    /// The machine's own network: a person's shell and browser reach the VIP.
    Host,
    /// A namespace: tests do not meet each other or the machine's firewall.
    Namespace,
}

/// The hook that the network is prepared for and that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// The balancer chooses; on veth that is TC.
    Auto,
    /// TC, with all offloads on.
    Tc,
    /// XDP, which needs checksum offload off and GRO on at the other ends of the director's links.
    Xdp,
}

impl Hook {
    /// The hook's name in `balancer.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tc => "tc",
            Self::Xdp => "xdp",
        }
    }
}

/// Whose link the relay makes a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayPlace {
    /// The client's.
    Client,
    /// That of this backend host, counted from 1.
    Backend(usize),
}

/// Whether hosts leave checksums and the cutting of segments to their network cards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offloads {
    /// As the kernel and the hook have it.
    On,
    /// On no end of any link.
    Off,
}

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Builder {
    label: String,
    backends: usize,
    client: ClientPlace,
    client_addresses: u8,
    hook: Hook,
    relay: Option<RelayPlace>,
    offloads: Offloads,
    mtu: u16,
    family: Family,
}

impl Builder {
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            backends: 2,
            client: ClientPlace::Namespace,
            client_addresses: 1,
            hook: Hook::Tc,
            relay: None,
            offloads: Offloads::On,
            mtu: ETHERNET_MTU,
            family: Family::V4,
        }
    }

    /// How many backend hosts, 2 unless told.
    #[must_use]
    pub fn backends(self, backends: usize) -> Self {
        Self { backends, ..self }
    }

    /// Where the client is, a namespace unless told.
    #[must_use]
    pub fn client(self, client: ClientPlace) -> Self {
        Self { client, ..self }
    }

    /// How many addresses the client has, for tests of what depends on the source; 1 unless told.
    #[must_use]
    pub fn client_addresses(self, client_addresses: u8) -> Self {
        Self { client_addresses, ..self }
    }

    /// The hook to prepare for, TC unless told.
    #[must_use]
    pub fn hook(self, hook: Hook) -> Self {
        Self { hook, ..self }
    }

    /// Puts a relay into a link; it is a wire until it is told otherwise.
    #[must_use]
    pub fn relay(self, place: RelayPlace) -> Self {
        Self { relay: Some(place), ..self }
    }

    /// Whether offloads are on, which they are unless told.
    #[must_use]
    pub fn offloads(self, offloads: Offloads) -> Self {
        Self { offloads, ..self }
    }

    /// The MTU of all interfaces, 1500 unless told.
    #[must_use]
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// What clients and backends speak, IPv4 unless told.
    #[must_use]
    pub fn family(self, family: Family) -> Self {
        Self { family, ..self }
    }

    /// Builds it: about a tenth of a second.
    pub fn build(self) -> Result<Lab> {
        ensure!((1..=200).contains(&self.backends), "a lab has 1 to 200 backends, not {}", self.backends);
        ensure!(self.family == Family::V4 || self.client == ClientPlace::Namespace, "a client on the host speaks IPv4");
        ensure!((1..=200).contains(&self.client_addresses), "a client has 1 to 200 addresses");
        // From here on an early return drops the remains, and with them all that was made.
        let remains = Remains(registry::claim(&self.label)?);
        let Claim { name, directory, addresses } = &remains.0;
        let blueprint = Blueprint {
            name,
            addresses: *addresses,
            backends: self.backends,
            client: self.client,
            client_addresses: self.client_addresses,
            hook: self.hook,
            relay: self.relay,
            offloads: self.offloads,
            mtu: self.mtu,
            family: self.family,
        };
        blueprint.make_namespaces()?;
        let named = |role: &str, address| Node::named(&blueprint.namespace(role), role, address, directory);
        let client = match self.client {
            ClientPlace::Host => Node::host("client", addresses.client(), directory)?,
            ClientPlace::Namespace => named("client", addresses.client())?,
        };
        let director = named("director", addresses.director())?;
        let backends = (1..=self.backends)
            .map(|index| named(&format!("b{index}"), addresses.backend(index)))
            .collect::<Result<Vec<_>>>()?;
        let relay = match self.relay {
            Some(RelayPlace::Client) => Some(named(RELAY, addresses.relay(0))?),
            Some(RelayPlace::Backend(index)) => Some(named(RELAY, addresses.relay(index))?),
            None => None,
        };
        let relay = blueprint
            .join(&client, &director, relay.as_ref(), &backends)
            .with_context(|| format!("build the lab {name}"))?;
        Ok(Lab { client, director, backends, hook: self.hook, family: self.family, relay, remains })
    }
}
