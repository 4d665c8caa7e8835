//! When all is over: nothing is left.

use std::collections::HashSet;

use balancer_ebpf::layout::FLOW_CLOSING;

use super::{IDLE, World};
use crate::director::{FRONT, VIP, VIP_PORT, audit};
use crate::packet::View;

impl World {
    /// A stranger takes every slot, which collects what was in it. Nothing may be left of the rest.
    pub(super) fn sweep(&mut self) -> Result<(), String> {
        self.director.maps.fault = None;
        self.shared.now += 2 * u64::from(IDLE) * 1_000_000;
        let now = self.shared.now;
        self.director.maps.now.set(self.shared.plan.boot + now * 1000);
        let last = self.clients.len() - 1;
        for slot in 0..self.shared.plan.slots as u16 {
            let host = &mut self.clients[last].host;
            let mut connection = host.connect(50_000 + slot, (VIP, VIP_PORT));
            host.output(now, &mut connection);
            for _ in 0..2 {
                let frames = self.clients[last].host.take();
                for frame in frames {
                    let view = View::of(&frame)?;
                    let handled = self.director.receive(now, FRONT, frame, &view, &mut self.shared.oracle)?;
                    for departure in handled.departures {
                        self.clients[last].host.input(now, Some(&mut connection), &departure.frame);
                    }
                }
                self.clients[last].host.output(now, &mut connection);
            }
        }
        let maps = &self.director.maps;
        if maps.keys.borrow().len() != maps.flows.len() {
            return Err(format!(
                "{} connections are in the table, {} slots are",
                maps.keys.borrow().len(),
                maps.flows.len()
            ));
        }
        if let Some(slot) = maps.flows.iter().position(|flow| flow.borrow().state == FLOW_CLOSING) {
            return Err(format!("slot {slot} cannot be collected"));
        }
        audit(&self.director.maps)?;
        if maps.traffic.iter().any(|traffic| traffic.flows.get() != 0 || traffic.in_flight.get() != 0) {
            return Err("flows or requests in flight are left".into());
        }
        if maps.stashes.iter().any(|stash| stash.borrow().owner.get() != 0) {
            return Err("a stash is left".into());
        }
        self.sessions()
    }

    /// No id is bound that no backend issued.
    fn sessions(&self) -> Result<(), String> {
        let maps = &self.director.maps;
        let key = maps.globals.session_key;
        let issued: HashSet<u64> =
            self.shared.oracle.issued.iter().map(|id| balancer_ebpf::sip::hash_id(key, 0, id.as_bytes()).tag).collect();
        for entry in maps.buckets.iter().flat_map(|bucket| &bucket.entries) {
            if entry.tag.get() != 0 && !issued.contains(&entry.tag.get()) {
                return Err("an id is bound that no backend issued".into());
            }
        }
        Ok(())
    }
}
