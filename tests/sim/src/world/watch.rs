//! Once a second: does everything go on?

use super::World;
use crate::client::Client;
use crate::events::Event;

/// Microseconds in which every request is over. smoltcp's timers double up to a minute; a rough network and a backend
/// that is away take several of them.
const PATIENCE: u64 = 1_200_000_000;
/// The same where clients pipeline: a segment that has to wait takes the acknowledgement that it carries with it, so that
/// both ends wait for their timers in turn.
const PIPELINE_PATIENCE: u64 = 2_400_000_000;

impl World {
    /// Looks after everything that is under way.
    pub(super) fn watch(&mut self) -> Result<(), String> {
        let now = self.shared.now;
        let patience = if self.shared.plan.pipelining > 0.0 { PIPELINE_PATIENCE } else { PATIENCE };
        for (number, record) in self.shared.oracle.records.iter().enumerate() {
            if !record.over && now - record.sent > patience {
                return Err(format!("request {number} of {:?} hangs since {} ms", record.from, record.sent / 1000));
            }
        }
        self.revive()?;
        // A browser gives up on a server that died before it had answered.
        for index in 0..self.clients.len() {
            for tab in 0..self.clients[index].tabs.len() {
                if self.clients[index].gives_up(&self.shared, tab).map_err(|why| format!("client {index}: {why}"))? {
                    self.step(index, Some(tab), None)?;
                }
            }
        }
        for index in 0..self.clients.len() {
            let port = self.clients[index].linger(&self.shared).map_err(|why| format!("client {index}: {why}"))?;
            if port.is_some() {
                self.step(index, None, port)?;
            }
        }
        let done = self.clients.iter().all(Client::is_done);
        if !done && now < patience * 8 {
            self.queue.at(now + 1_000_000, Event::Watch);
        } else if !done {
            let left: Vec<String> = self.clients.iter_mut().map(Client::leftovers).collect();
            return Err(format!("the clients do not come to an end: {}", left.join(" ")));
        }
        Ok(())
    }

    /// Ends what smoltcp has forgotten.
    fn revive(&mut self) -> Result<(), String> {
        for index in 0..self.clients.len() {
            for port in self.clients[index].revive(&mut self.shared) {
                let tab = self.clients[index].tab_of(port);
                self.step(index, tab, Some(port))?;
            }
        }
        for index in 0..self.backends.len() {
            for peer in self.backends[index].revive(&mut self.shared) {
                if let Some(client) = self.director.client_of(peer.1) {
                    self.shared.oracle.excuse(client, "smoltcp forgot its other half");
                }
                self.serve(index, Some(peer))?;
            }
        }
        Ok(())
    }
}
