//! What a client does about connections that do not end, or never will.

use smoltcp::socket::tcp::State;

use super::Client;
use crate::world::Shared;

/// Microseconds that a browser waits for a server that is known to have died.
const EXCUSED_PATIENCE: u64 = 30_000_000;
/// Microseconds that a connection without a tab may take to end.
const LINGER: u64 = 200_000_000;

impl Client {
    /// Whether a tab ends its connection, because what it waits for may never come.
    pub(crate) fn gives_up(&mut self, shared: &Shared, tab: usize) -> Result<bool, String> {
        let tab = &self.tabs[tab];
        let hopeless = tab.outstanding.front().is_some_and(|pending| {
            let record = &shared.oracle.records[pending.number];
            record.excuse.is_some() && shared.now > record.sent + EXCUSED_PATIENCE
        });
        let Some(port) = tab.port else { return Ok(false) };
        let late = tab.awaits_end.is_some_and(|since| shared.now > since + LINGER);
        if late && shared.plan.deaths == 0 && shared.plan.clean() {
            return Err(format!("port {port} waits for its connection's end for {} s", LINGER / 1_000_000));
        }
        let connection = self.connections.get_mut(&port);
        Ok(connection.filter(|_| hopeless || late).map(|connection| connection.socket().abort()).is_some())
    }

    /// Ends a connection that nobody has had for long: its peer may have died, and smoltcp waits for ever in FIN-WAIT-2.
    /// Answers its port, or that its FIN should have been answered.
    pub(crate) fn linger(&mut self, shared: &Shared) -> Result<Option<u16>, String> {
        let late = |since: &mut Option<u64>| shared.now > since.get_or_insert(shared.now).saturating_add(LINGER);
        let tabs: Vec<u16> = self.tabs.iter().filter_map(|tab| tab.port).collect();
        for (port, connection) in self.connections.iter_mut().filter(|(port, _)| !tabs.contains(port)) {
            if late(&mut connection.orphaned) {
                let state = connection.socket().state();
                // After three equal acknowledgements smoltcp forgets a FIN that was lost, so only clean links tell.
                if state != State::FinWait2 && shared.plan.deaths == 0 && shared.plan.clean() {
                    return Err(format!("port {port} is in {state:?} since {} s", LINGER / 1_000_000));
                }
                connection.socket().abort();
                connection.orphaned = None;
                return Ok(Some(*port));
            }
        }
        Ok(None)
    }

    /// Ends connections that smoltcp has forgotten. Answers their ports.
    pub(crate) fn revive(&mut self, shared: &mut Shared) -> Vec<u16> {
        let mut ended = Vec::new();
        for (port, connection) in &mut self.connections {
            if self.host.has_forgotten(shared.now, connection) {
                shared.oracle.excuse((self.host.address, *port), "smoltcp forgot it");
                connection.socket().abort();
                ended.push(*port);
            }
        }
        ended
    }

    /// What is not done, in words.
    pub(crate) fn leftovers(&mut self) -> String {
        let tabs: Vec<_> = self.tabs.iter().map(|tab| (tab.port, tab.left, tab.outstanding.len(), tab.rest)).collect();
        let connections: Vec<_> = self.connections.iter_mut().map(|(port, c)| (*port, c.socket().state())).collect();
        format!("{tabs:?} {connections:?}")
    }
}
