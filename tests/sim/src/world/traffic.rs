//! Packets: from a peer to the director, from the director to a peer, and what they make peers do.

use rand::RngExt as _;

use super::World;
use crate::backend::Peer;
use crate::director::{BACK, Cut, FRONT, SOURCE, VIP, backend_index};
use crate::events::Event;
use crate::packet::View;
use crate::plan::{Link, Random};
use crate::wire::Family;

impl World {
    /// The director gets a packet.
    pub(super) fn direct(&mut self, interface: u32, frame: Vec<u8>) -> Result<(), String> {
        let link = if interface == FRONT { self.shared.plan.front } else { self.shared.plan.back };
        self.packets += 1;
        let now = self.shared.now;
        let view = match View::of(&frame) {
            Ok(view) => view,
            Err(why) if link.damage > 0.0 => return self.direct_damaged(interface, frame, &why),
            Err(why) => return Err(format!("a peer sent {why}")),
        };
        self.trace.arrives(now, &frame, &view);
        let handled = self.director.receive(now, interface, frame, &view, &mut self.shared.oracle);
        let handled = handled.map_err(|why| format!("{why}, for {view}"))?;
        self.trace.verdict(handled.verdict);
        if interface == BACK && view.len != 0 && handled.departures.iter().any(|out| out.egress == FRONT) {
            let peer = (view.destination, view.destination_port);
            let connection = self.backends[backend_index(view.source)].connections.get(&peer);
            if let Some((number, attempt)) = connection.and_then(|(there, server)| server.answers(there, &view)) {
                self.shared.oracle.spoke(number, attempt);
            }
        }
        for cut in handled.cuts {
            match cut {
                Cut::OfClient((address, port), seq, len) => {
                    let client = self.clients.iter_mut().find(|client| client.host.address == address);
                    if let Some(connection) = client.and_then(|client| client.connections.get_mut(&port)) {
                        connection.monitor.cut(seq, len);
                    }
                }
                Cut::OfBackend(address, port, seq, len) => {
                    let source = if self.shared.plan.shared_address { VIP } else { SOURCE };
                    let connections = &mut self.backends[backend_index(address)].connections;
                    if let Some((connection, _)) = connections.get_mut(&(source, port)) {
                        connection.monitor.cut(seq, len);
                    }
                }
            }
        }
        for departure in handled.departures {
            self.trace.leaves(&departure.frame, &departure.view);
            let number = usize::from(departure.view.destination[3]) - 1;
            if departure.egress == FRONT {
                let number = number.min(self.clients.len() - 1);
                self.travel(self.shared.plan.front, |frame| Event::ToClient(number, frame), departure.frame);
            } else {
                self.travel(self.shared.plan.back, |frame| Event::ToBackend(number, frame), departure.frame);
            }
        }
        Ok(())
    }

    /// The director gets a packet that was damaged on its way.
    fn direct_damaged(&mut self, interface: u32, frame: Vec<u8>, why: &str) -> Result<(), String> {
        let handled = self.director.receive_damaged(interface, frame);
        let verdict = handled.map_err(|wrong| format!("{wrong}, but it came with {why}"))?;
        self.trace.note(self.shared.now, &format!("a damaged packet with {why}: {verdict:?}"));
        Ok(())
    }

    /// Puts a frame on a link.
    pub(super) fn travel(&mut self, link: Link, event: impl Fn(Vec<u8>) -> Event, mut frame: Vec<u8>) {
        let random = &mut self.shared.random;
        if link.loss > 0.0 && random.random_bool(link.loss) {
            return;
        }
        if link.damage > 0.0 && random.random_bool(link.damage) {
            damage(&mut frame, random);
        }
        let mut when = || {
            let held_up = link.held_up > 0.0 && random.random_bool(link.held_up);
            self.shared.now + link.delay + if held_up { random.random_range(0..link.jitter) } else { 0 }
        };
        let (first, second) = (when(), when());
        if link.duplicates > 0.0 && self.shared.random.random_bool(link.duplicates) {
            self.queue.at(second, event(frame.clone()));
        }
        self.queue.at(first, event(frame));
    }

    pub(super) fn reach_client(&mut self, index: usize, frame: &[u8]) -> Result<(), String> {
        let view = match View::of(frame) {
            Ok(view) => view,
            // Its kernel drops it.
            Err(_) if self.shared.plan.front.damage > 0.0 => return Ok(()),
            Err(why) => return Err(format!("client {index} gets {why}")),
        };
        let client = &mut self.clients[index];
        let port = view.destination_port;
        let mtu = client.host.stack.mtu;
        let clock = client.host.clock(self.shared.now);
        let connection = client.connections.get_mut(&port);
        let known = connection.is_some();
        if let Some(connection) = connection {
            let fits = connection.monitor.fits(&view);
            let heard = fits.and(connection.monitor.receives(&view, mtu, clock));
            if self.shared.now >= connection.wary_until {
                heard.map_err(|why| format!("client {index} gets {view}: {why}"))?;
            }
            client.host.input(self.shared.now, Some(connection), frame);
        } else {
            client.host.input(self.shared.now, None, frame);
        }
        let tab = client.tab_of(port);
        self.step(index, tab, known.then_some(port))
    }

    /// A client's tab and connection do what they can do now.
    pub(super) fn step(&mut self, index: usize, tab: Option<usize>, port: Option<u16>) -> Result<(), String> {
        let client = &mut self.clients[index];
        let before = tab.and_then(|tab| client.tabs[tab].port);
        let mut after = None;
        if let Some(tab) = tab {
            let wish = client.step(&mut self.shared, tab).map_err(|why| format!("client {index}: {why}"))?;
            let state = &mut client.tabs[tab];
            after = state.port;
            if let Some(at) = wish
                && state.timer.is_none_or(|old| at < old)
            {
                state.timer = Some(at);
                self.queue.at(at, Event::Tab(index, tab));
            }
        }
        let mut ports: Vec<u16> = [port, before, after].into_iter().flatten().collect();
        ports.sort_unstable();
        ports.dedup();
        for port in ports {
            let client = &mut self.clients[index];
            let wish = client.output(self.shared.now, port);
            if let Some(at) = wish
                && let Some(connection) = client.connections.get_mut(&port)
                && connection.timer.is_none_or(|old| at < old)
            {
                connection.timer = Some(at);
                self.queue.at(at, Event::ClientTimer(index, port));
            }
        }
        self.transmit_from_client(index);
        Ok(())
    }

    pub(super) fn transmit_from_client(&mut self, index: usize) {
        for frame in self.clients[index].host.take() {
            if let Ok(view) = View::of(&frame)
                && let Some(connection) = self.clients[index].connections.get_mut(&view.source_port)
            {
                connection.monitor.sends(&view);
            }
            self.travel(self.shared.plan.front, |frame| Event::Arrives(FRONT, frame), frame);
        }
    }

    pub(super) fn reach_backend(&mut self, index: usize, frame: &[u8]) -> Result<(), String> {
        let view = match View::of(frame) {
            Ok(view) => view,
            Err(_) if self.shared.plan.back.damage > 0.0 => return Ok(()),
            Err(why) => return Err(format!("backend {index} gets {why}")),
        };
        let peer = self.backends[index].receive(&mut self.shared, frame, &view)?;
        self.serve(index, peer)
    }

    /// A backend does what it can do now.
    pub(super) fn serve(&mut self, index: usize, peer: Option<Peer>) -> Result<(), String> {
        let backend = &mut self.backends[index];
        if let Some(peer) = peer {
            let wish = backend.step(&mut self.shared, peer)?;
            if let Some(at) = wish
                && let Some((connection, _)) = backend.connections.get_mut(&peer)
                && connection.timer.is_none_or(|old| at < old)
            {
                connection.timer = Some(at);
                self.queue.at(at, Event::BackendTimer(index, peer));
            }
        }
        self.transmit_from_backend(index);
        Ok(())
    }

    pub(super) fn transmit_from_backend(&mut self, index: usize) {
        for frame in self.backends[index].host.take() {
            if let Ok(view) = View::of(&frame)
                && let Some((connection, _)) =
                    self.backends[index].connections.get_mut(&(view.destination, view.destination_port))
            {
                connection.monitor.sends(&view);
            }
            self.travel(self.shared.plan.back, |frame| Event::Arrives(BACK, frame), frame);
        }
    }
}

/// Changes a bit from the addresses on, which is what the TCP checksum covers, or cuts the end off.
fn damage(frame: &mut Vec<u8>, random: &mut Random) {
    // Where the addresses begin.
    let first = match Family::of_frame(frame) {
        Family::V4 => 26,
        Family::V6 => 22,
    };
    let covered = first..frame.len();
    if random.random_bool(0.1) {
        frame.truncate(random.random_range(covered));
        return;
    }
    let at = random.random_range(covered);
    frame[at] ^= 1 << random.random_range(0..8);
}
