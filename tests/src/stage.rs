//! What a story needs before it begins: hosts, applications, a running balancer. And what is told when it fails.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::balancer::Balancer;
use crate::lab::config::{ReturnPath, Select, Shop};
use crate::lab::{Hook, Lab, Offloads, RelayPlace};
use anyhow::Result;

use crate::programs;
use crate::scene::{Kind, Scene};

/// The stage of a story.
pub struct Stage<'a> {
    hook: Hook,
    label: &'a str,
    kind: Kind,
    hosts: usize,
    clients: u8,
    relay: Option<RelayPlace>,
    offloads: Offloads,
    mtu: u16,
    shop: Shop<'a>,
    neighbours: &'a [Neighbour<'a>],
    rules: &'a str,
}

/// Another service on the shop's address: its name, and its versions with the numbers of their hosts.
pub type Neighbour<'a> = (&'a str, &'a [(&'a str, &'a [usize])]);

impl<'a> Stage<'a> {
    /// Two hosts, the first with 001 of the demo; new sessions get the highest version.
    pub fn new(hook: Hook, label: &'a str) -> Self {
        Self {
            hook,
            label,
            kind: Kind::Demo,
            hosts: 2,
            clients: 1,
            relay: None,
            offloads: Offloads::On,
            mtu: 1500,
            shop: Shop::new(&[("001", &[1])]),
            neighbours: &[],
            rules: "",
        }
    }

    /// Other services on the shop's address, chosen in the same way, and the lines that say which requests are for which.
    pub fn neighbours(self, neighbours: &'a [Neighbour<'a>], rules: &'a str) -> Self {
        Self { neighbours, rules, ..self }
    }

    /// Which application.
    pub fn kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    /// How many backend hosts.
    pub fn hosts(self, hosts: usize) -> Self {
        Self { hosts, ..self }
    }

    /// How many addresses the client has.
    pub fn clients(self, clients: u8) -> Self {
        Self { clients, ..self }
    }

    /// A relay in a link, which is a wire until the story makes a bad one of it.
    pub fn relay(self, place: RelayPlace) -> Self {
        Self { relay: Some(place), ..self }
    }

    /// Whether hosts have offloads.
    pub fn offloads(self, offloads: Offloads) -> Self {
        Self { offloads, ..self }
    }

    /// The MTU of all interfaces.
    pub fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// Backends see the clients' own addresses.
    pub fn gateway(self) -> Self {
        Self { shop: self.shop.return_path(ReturnPath::Gateway), ..self }
    }

    /// Session ids end in routes, and backends have them.
    pub fn routed(self) -> Self {
        Self { kind: Kind::Routed, shop: Shop { routes: true, ..self.shop }, ..self }
    }

    /// Only flips change the active version.
    pub fn explicit(self) -> Self {
        Self { shop: self.shop.select(Select::Explicit), ..self }
    }

    /// The versions at the beginning, with the numbers of their hosts. Their applications run when the story begins.
    pub fn versions(self, versions: &'a [(&'a str, &'a [usize])]) -> Self {
        Self { shop: Shop { versions, ..self.shop }, ..self }
    }

    /// Room for so many connections only, each of which may lose its room after a silence of `idle`.
    pub fn flows(self, flows: u32, idle: &'a str) -> Self {
        Self { shop: Shop { flows, flow_idle: idle, ..self.shop }, ..self }
    }

    /// So many idle legs for each backend at most.
    pub fn pool_legs(self, legs: u32) -> Self {
        Self { shop: Shop { pool_legs: Some(legs), ..self.shop }, ..self }
    }

    /// Health checks that wait for longer than a second: for backends that are meant to be busy.
    pub fn health_timeout(self, timeout: &'a str) -> Self {
        Self { shop: Shop { health_timeout: timeout, ..self.shop }, ..self }
    }

    /// More lines of the director's config.
    pub fn director_lines(self, director_lines: &'a str) -> Self {
        Self { shop: Shop { director_lines, ..self.shop }, ..self }
    }

    /// More lines of the service's config.
    pub fn service_lines(self, service_lines: &'a str) -> Self {
        Self { shop: Shop { service_lines, ..self.shop }, ..self }
    }

    /// More lines for its health checks.
    pub fn health_lines(self, health_lines: &'a str) -> Self {
        Self { shop: Shop { health_lines, ..self.shop }, ..self }
    }

    /// Tells the story.
    pub fn play(self, story: impl FnOnce(&mut Scene) -> Result<()>) -> Result<()> {
        let builder = Lab::builder(self.label).hook(self.hook).backends(self.hosts).client_addresses(self.clients);
        let builder = builder.offloads(self.offloads).mtu(self.mtu);
        let lab = match self.relay {
            Some(place) => builder.relay(place).build()?,
            None => builder.build()?,
        };
        let versions = self.neighbours.iter().flat_map(|(_, versions)| versions.iter());
        let running = self
            .shop
            .versions
            .iter()
            .chain(versions)
            .flat_map(|(label, hosts)| hosts.iter().map(move |host| (*host, *label)));
        let applications = self.kind.start_all(&lab, &running.collect::<Vec<_>>())?;
        let mut config = self.shop.to_toml(&lab);
        for (name, versions) in self.neighbours {
            config += &Shop { versions, ..self.shop.clone() }.service(name, &lab);
        }
        if !self.rules.is_empty() {
            config += &format!("\n[[listener]]\nlisten = \"{}:80\"\n{}\n", lab.vip(), self.rules);
        }
        let balancer = Balancer::start(&lab, programs::balancer()?, &config)?;
        let mut scene = Scene { lab: &lab, kind: self.kind, config, balancer, applications };
        // Caught, so that the balancer still lives when it is asked what it saw.
        match catch_unwind(AssertUnwindSafe(|| story(&mut scene))) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                scene.report();
                // A panic, because that is when a lab prints its logs.
                panic!("{error:#}")
            }
            Err(panic) => {
                scene.report();
                resume_unwind(panic)
            }
        }
    }
}
