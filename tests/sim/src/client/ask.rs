//! What a tab begins: a connection, a request or several, or the end of either.

use rand::RngExt as _;

use super::Client;
use super::tab::{Pending, Tab, Write};
use crate::host::Host;
use crate::message::{Place, Wait, excerpt, request};
use crate::tally::Feature;
use crate::world::Shared;

impl Client {
    /// Begins something.
    pub(super) fn begin(&mut self, shared: &mut Shared, tab: &mut Tab, index: usize) {
        let connects = tab.port.is_none();
        if connects {
            if tab.left == 0 || !self.connect(shared, tab) {
                tab.rest = shared.now + 50_000;
                return;
            }
            if shared.random.random_bool(0.2) {
                // An idle pre-connect.
                tab.rest = shared.now + shared.random.random_range(0..1_000_000);
                return;
            }
        }
        let Some(port) = tab.port else { return };
        let Some(connection) = self.connections.get_mut(&port) else { return };
        let closing = shared.plan.closing.max(shared.plan.short);
        if !connects && (tab.left == 0 || tab.last || shared.random.random_bool(closing)) {
            if shared.random.random_bool(0.2) {
                connection.socket().abort();
            } else {
                connection.socket().close();
            }
            tab.leave(shared);
            return;
        }
        self.ask(shared, tab, index, port);
    }

    /// Asks for something, or for several things at once.
    fn ask(&mut self, shared: &mut Shared, tab: &mut Tab, index: usize, port: u16) {
        let many = !tab.pipelined && shared.random.random_bool(shared.plan.pipelining);
        let count = if many { shared.random.random_range(2..=4).min(tab.left) } else { 1 };
        let together = shared.random.random_bool(0.5);
        tab.pipelined = count > 1;
        for left in (0..count).rev() {
            let free = |jar: &usize| self.jars[*jar].uses == 0 || self.jars[*jar].user == index;
            let free: Vec<usize> = (0..self.jars.len()).filter(free).collect();
            if free.is_empty() {
                tab.rest = shared.now + 20_000;
                return;
            }
            let jar = free[shared.random.random_range(0..free.len())];
            if shared.random.random_bool(0.05) {
                self.jars[jar].id = None;
            }
            self.jars[jar].user = index;
            self.jars[jar].uses += 1;
            self.plan(shared, tab, jar, port, left != 0, together);
            if tab.last {
                return;
            }
        }
    }

    /// Plans a request, and when it is written.
    fn plan(&mut self, shared: &mut Shared, tab: &mut Tab, jar: usize, port: u16, followed: bool, together: bool) {
        let number = shared.oracle.records.len();
        let place = Place {
            number,
            id: self.jars[jar].id.as_deref(),
            other: self.jars.iter().find_map(|jar| jar.id.as_deref()),
            first: tab.fresh,
            followed,
        };
        let mut request = request(&mut shared.random, &shared.plan, &place);
        let pipelined = !tab.outstanding.is_empty();
        if pipelined || followed {
            request.features.add(if together { Feature::Together } else { Feature::Apart });
        }
        if tab.outstanding.is_empty() {
            tab.wrote = shared.now;
        }
        let mut at = 0;
        for (index, piece) in request.pieces.iter().enumerate() {
            let bytes = request.wire[at..at + piece.len].to_vec();
            at += piece.len;
            let begins = index == 0 && pipelined;
            match tab.writes.back_mut() {
                Some(last) if begins && together => last.bytes.extend(bytes),
                _ if begins => {
                    let wait = Wait::For(shared.random.random_range(0..5_000));
                    tab.writes.push_back(Write { number, bytes, wait });
                }
                _ => tab.writes.push_back(Write { number, bytes, wait: piece.wait }),
            }
        }
        tab.left -= 1;
        tab.fresh = false;
        tab.last = request.closes;
        tab.is_patient |= request.closes && shared.random.random_bool(0.5);
        // A client may close its direction behind its last request, and still wants the answer.
        tab.half_closes = tab.left == 0 && shared.random.random_bool(0.3);
        request.features.add_if(tab.half_closes, Feature::HalfClosed);
        tab.outstanding.push_back(Pending { number, jar, ..Pending::default() });
        let from = (self.host.address, port);
        let line = excerpt(request.wire.split(|byte| *byte == b'\r').next().unwrap_or_default());
        shared.said.push(format!("### {number} {} {line} jar {jar}", address(&self.host, port)));
        shared.oracle.asks(shared.now, from, request);
    }
}

/// As in the trace.
fn address(host: &Host, port: u16) -> String {
    let [_, a, _, b] = host.address;
    format!("{a}.{b}:{port}")
}
