//! How a lab is described and built.

use anyhow::{Context, Result, ensure};

use super::network::Blueprint;
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

/// What a lab is to be like.
#[derive(Clone, Debug)]
pub struct Builder {
    label: String,
    backends: usize,
    client: ClientPlace,
    client_addresses: u8,
    hook: Hook,
}

impl Builder {
    pub(super) fn new(label: &str) -> Self {
        Self {
            label: label.to_owned(),
            backends: 2,
            client: ClientPlace::Namespace,
            client_addresses: 1,
            hook: Hook::Tc,
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

    /// Builds it: about a tenth of a second.
    pub fn build(self) -> Result<Lab> {
        ensure!((1..=200).contains(&self.backends), "a lab has 1 to 200 backends, not {}", self.backends);
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
        blueprint.join(&client, &director, &backends).with_context(|| format!("build the lab {name}"))?;
        Ok(Lab { client, director, backends, hook: self.hook, remains })
    }
}
