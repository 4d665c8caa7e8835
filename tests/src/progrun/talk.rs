//! One connection through the director: both ends, as far as its answers have told them about each other.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, ensure};
use balancer_ebpf::layout::FlowKey;

use super::frames::{Numbers, Way, addresses, challenge, ending, greeting, read, reset, segment};
use super::{FlowBytes, Link, Program, Programs, Setting, World};

/// What the packets of a conversation go through.
pub trait Road {
    /// What became of a packet that came in over the link.
    fn carry(&self, link: &Link, frame: &[u8]) -> Result<Vec<u8>>;
}

impl Road for Programs {
    fn carry(&self, link: &Link, frame: &[u8]) -> Result<Vec<u8>> {
        Ok(self.run(Program::Tc, link.interface, frame)?.frame)
    }
}

/// Both ends of a connection, as far as the director's answers have told them about each other.
#[derive(Clone, Debug)]
pub struct Talk {
    pub client: Way,
    pub backend: Way,
    /// Where the leg may lead: the first backend of each version.
    backends: Vec<Way>,
    /// What the client sends next, in its numbers and in the leg's.
    client_next: u32,
    leg_next: u32,
    /// What the backend sends next, in its numbers and in those that the client sees.
    backend_next: u32,
    seen_next: u32,
    client_clock: u32,
    backend_clock: u32,
    /// The latest timestamps that they have seen of each other.
    seen_clock: u32,
    leg_clock: u32,
}

impl Talk {
    pub fn new(setting: &Setting, world: &World, port: u16) -> Self {
        let vip = setting.listener;
        let client = SocketAddr::new(world.client.peer, port);
        let backends = setting.versions.iter().zip(&world.backends).map(|(version, link)| Way {
            link: *link,
            from: version[0],
            to: SocketAddr::new(setting.sources[0], 0),
        });
        let backends: Vec<Way> = backends.collect();
        Self {
            client: Way { link: world.client, from: client, to: vip },
            backend: backends[0],
            backends,
            client_next: 1_000_000,
            leg_next: 0,
            backend_next: 7_000_000,
            seen_next: 0,
            client_clock: 5_000,
            backend_clock: 9_000,
            seen_clock: 0,
            leg_clock: 0,
        }
    }

    /// The number of the version that the leg leads to.
    pub fn version(&self) -> Option<usize> {
        self.backends.iter().position(|way| way.from == self.backend.from)
    }

    /// The same for a client of another address.
    #[must_use]
    pub fn coming_from(mut self, client: impl Into<IpAddr>) -> Self {
        self.client.from.set_ip(client.into());
        self
    }

    /// The same with another initial sequence number of the client's.
    #[must_use]
    pub fn beginning(self, client_next: u32) -> Self {
        Self { client_next, ..self }
    }

    pub fn key(&self) -> FlowKey {
        let (client, vip) = (self.client.from, self.client.to);
        FlowKey {
            client: client.ip().into(),
            vip: vip.ip().into(),
            client_port: client.port().to_be_bytes(),
            port: vip.port().to_be_bytes(),
        }
    }

    pub fn client_at(&self) -> Numbers {
        Numbers { seq: self.client_next, ack: self.seen_next, tsval: self.client_clock, tsecr: self.seen_clock }
    }

    pub fn backend_at(&self) -> Numbers {
        Numbers { seq: self.backend_next, ack: self.leg_next, tsval: self.backend_clock, tsecr: self.leg_clock }
    }

    /// SYN, SYN-ACK.
    pub fn greet(&mut self, road: &impl Road) -> Result<()> {
        let at = Numbers { ack: 0, tsecr: 0, ..self.client_at() };
        let syn = greeting(&self.client, at)?;
        let mut answer = road.carry(&self.client.link, &syn)?;
        if let Some(seq) = challenge(&answer)? {
            // A former connection of the port lives there.
            road.carry(&self.client.link, &reset(&self.client, Numbers { seq, ..at })?)?;
            answer = road.carry(&self.client.link, &syn)?;
        }
        let (answer, _) = read(&answer)?;
        (self.client_next, self.seen_next, self.seen_clock) = (answer.ack, answer.seq.wrapping_add(1), answer.tsval);
        Ok(())
    }

    /// SYN, SYN-ACK, ACK.
    pub fn begin(&mut self, road: &impl Road) -> Result<()> {
        self.greet(road)?;
        road.carry(&self.client.link, &segment(&self.client, self.client_at(), &[])?).map(drop)
    }

    /// From the SYN to the request's delivery.
    pub fn open(&mut self, road: &impl Road, request: &[u8]) -> Result<()> {
        self.begin(road)?;
        self.ask_first(road, request)
    }

    /// The first request of a connection that has begun, which opens a leg.
    pub fn ask_first(&mut self, road: &impl Road, request: &[u8]) -> Result<()> {
        let syn = road.carry(&self.client.link, &segment(&self.client, self.client_at(), request)?)?;
        let (source, aim) = addresses(&syn)?;
        let (syn, port) = read(&syn)?;
        ensure!(port != self.client.from.port(), "the request opened no leg");
        self.backend = *self.backends.iter().find(|way| way.from.ip() == aim).context("the SYN goes to nobody")?;
        self.backend.to = SocketAddr::new(source, port);
        (self.leg_next, self.leg_clock) = (syn.seq.wrapping_add(1), syn.tsval);
        let syn_ack = greeting(&self.backend, self.backend_at())?;
        self.backend_next = self.backend_next.wrapping_add(1);
        let delivered = road.carry(&self.backend.link, &syn_ack)?;
        ensure!(delivered.ends_with(request), "the request did not go out");
        let len = request.len() as u32;
        (self.client_next, self.leg_next) = (self.client_next.wrapping_add(len), self.leg_next.wrapping_add(len));
        // The backend's ACK, which shows the client the leg's clock.
        let ack = road.carry(&self.backend.link, &segment(&self.backend, self.backend_at(), &[])?)?;
        self.seen_clock = read(&ack)?.0.tsval;
        Ok(())
    }

    /// Another request on the leg that is there.
    pub fn ask(&mut self, road: &impl Road, request: &[u8]) -> Result<()> {
        let out = road.carry(&self.client.link, &segment(&self.client, self.client_at(), request)?)?;
        ensure!(out.ends_with(request), "the request did not go out");
        let len = request.len() as u32;
        (self.client_next, self.leg_next) = (self.client_next.wrapping_add(len), self.leg_next.wrapping_add(len));
        Ok(())
    }

    /// The response, acknowledged.
    pub fn answer(&mut self, road: &impl Road, response: &[u8]) -> Result<()> {
        let out = road.carry(&self.backend.link, &segment(&self.backend, self.backend_at(), response)?)?;
        ensure!(out.ends_with(response), "the response did not go out");
        let len = response.len() as u32;
        (self.backend_next, self.seen_next) = (self.backend_next.wrapping_add(len), self.seen_next.wrapping_add(len));
        road.carry(&self.client.link, &segment(&self.client, self.client_at(), &[])?)?;
        Ok(())
    }

    /// The client is gone.
    pub fn leave(&self, road: &impl Road) -> Result<()> {
        road.carry(&self.client.link, &reset(&self.client, self.client_at())?).map(drop)
    }

    /// The client closes; the answer.
    pub fn finish(&self, road: &impl Road) -> Result<Vec<u8>> {
        road.carry(&self.client.link, &ending(&self.client, self.client_at())?)
    }

    /// Both ends close, the client first.
    pub fn close(&mut self, road: &impl Road) -> Result<()> {
        let fin = self.finish(road)?;
        ensure!(read(&fin)?.1 == self.backend.to.port(), "the client's FIN did not reach the backend");
        (self.client_next, self.leg_next) = (self.client_next.wrapping_add(1), self.leg_next.wrapping_add(1));
        let fin = road.carry(&self.backend.link, &ending(&self.backend, self.backend_at())?)?;
        ensure!(read(&fin)?.1 == self.client.to.port(), "the backend's FIN did not reach the client");
        (self.backend_next, self.seen_next) = (self.backend_next.wrapping_add(1), self.seen_next.wrapping_add(1));
        road.carry(&self.client.link, &segment(&self.client, self.client_at(), &[])?)?;
        Ok(())
    }

    /// The flow as it is now.
    pub fn flow(&self, programs: &Programs) -> Result<(u32, Box<FlowBytes>)> {
        let slot = programs.slot(&self.key())?.context("the connection has no flow")?;
        Ok((slot, Box::new(programs.flow(slot)?)))
    }
}
