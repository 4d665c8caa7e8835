//! What a client reads: the answers to its requests, byte for byte as some backend made them, and the connection's end.

use rand::RngExt as _;
use smoltcp::socket::tcp::State;

use super::tab::Tab;
use super::{Client, Jar};
use crate::host::Connection;
use crate::message::{UNASKED, excerpt};
use crate::tally::Feature;
use crate::world::Shared;

/// What no backend says: the director's own answer.
const REFUSAL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n";

impl Client {
    /// Reads what came, and notices how the connection is.
    pub(super) fn read(
        &mut self,
        shared: &mut Shared,
        tab: &mut Tab,
        connection: &mut Connection,
    ) -> Result<(), String> {
        let socket = connection.socket();
        let mut bytes = Vec::new();
        if shared.now >= tab.pause || socket.state() == State::Closed {
            while socket.can_recv() {
                let _ = socket.recv(|more| {
                    bytes.extend_from_slice(more);
                    (more.len(), ())
                });
            }
            self.stall(shared, tab);
        }
        let state = connection.socket().state();
        let reset = state == State::Closed;
        let ended = !connection.socket().may_recv() && !matches!(state, State::SynSent | State::SynReceived);
        let from = (self.host.address, tab.port.unwrap_or(0));
        let unasked = shared.oracle.may_hear_unasked(from) && !bytes.is_empty();
        // Whoever was not reading for a while finds it behind the end of an answer.
        let front = if unasked { bytes.strip_suffix(UNASKED) } else { None };
        let tired = front.is_some() || unasked && UNASKED.starts_with(&bytes);
        if !tired {
            self.answers(shared, tab, &bytes, ended && !reset)?;
        } else if let Some(front) = front.filter(|front| !front.is_empty()) {
            self.answers(shared, tab, front, false)?;
        }
        if tired {
            // A browser knows that, and takes it for the connection's end.
            shared.oracle.excuse(from, "it was told of a time-out");
        }
        // Behind a response that says so nothing comes any more, whether the end of the connection can be seen or not.
        let leaves = tab.answered_last && tab.writes.is_empty() && !tab.is_patient;
        let refused = std::mem::take(&mut tab.refused);
        if reset || ended || leaves || tired || refused {
            self.over(shared, tab, reset || refused)?;
            connection.socket().close();
            tab.leave(shared);
        } else if tab.answered_last && tab.awaits_end.is_none() {
            tab.awaits_end = Some(shared.now);
        }
        Ok(())
    }

    /// Now and then a client does not read for a while, and its window closes.
    fn stall(&self, shared: &mut Shared, tab: &mut Tab) {
        // A full window that opens again stalls smoltcp if something was lost meanwhile, or cut off by a window that was
        // rounded to its scale.
        let may = shared.plan.clean() && self.host.stack.receive < 65_536;
        if let Some(front) = tab.outstanding.front()
            && may
            && shared.random.random_bool(shared.plan.stalls)
        {
            let longest = if shared.random.random_bool(0.1) { 8_000_000 } else { 300_000 };
            tab.pause = shared.now + shared.random.random_range(1_000..longest);
            shared.oracle.records[front.number].request.features.add(Feature::Stalled);
        }
    }

    /// Takes bytes for what they have to be: the answers to the requests under way, in their order. `ended`: nothing more
    /// comes.
    fn answers(&mut self, shared: &mut Shared, tab: &mut Tab, mut bytes: &[u8], ended: bool) -> Result<(), String> {
        loop {
            let Some(pending) = tab.outstanding.front_mut() else {
                return match bytes {
                    [] => Ok(()),
                    _ => Err(format!("bytes that nobody asked for: {:?}", excerpt(bytes))),
                };
            };
            let number = pending.number;
            if pending.got == 0 && bytes.starts_with(REFUSAL) {
                // The director answers in the backend's place: as good as a RST, and as rarely to be expected.
                tab.refused = true;
                return Ok(());
            }
            let attempts = &shared.oracle.records[number].attempts;
            let before = attempts.get(pending.attempt).map_or(&[][..], |a| &a.reply.wire[..pending.got]);
            let fits = |wire: &[u8]| {
                let rest = wire.get(pending.got..).unwrap_or_default();
                let len = rest.len().min(bytes.len());
                wire.starts_with(before) && rest[..len] == bytes[..len] && (len != 0 || bytes.is_empty())
            };
            // The one that it was so far, if it can be; another one only where both say the same up to here.
            let own = (0..attempts.len()).cycle().skip(pending.attempt).take(attempts.len());
            let mut candidates = own.filter(|index| fits(&attempts[*index].reply.wire));
            let Some(attempt) = candidates.next() else {
                if bytes.is_empty() {
                    return Ok(());
                }
                let text = excerpt(bytes);
                return Err(format!("byte {} of the answer to request {number} is not its own: {text:?}", pending.got));
            };
            let reply = &attempts[attempt].reply;
            let len = (reply.wire.len() - pending.got).min(bytes.len());
            pending.attempt = attempt;
            pending.got += len;
            bytes = &bytes[len..];
            let all = reply.is_final && pending.got == reply.wire.len();
            // A tunnel is done when both sides have said what they will.
            let talks = reply.switches && tab.writes.iter().any(|write| write.number == number);
            if !all || talks || (reply.until_close && !ended) {
                return if bytes.is_empty() {
                    Ok(())
                } else {
                    Err(format!("bytes behind the answer to request {number}: {:?}", excerpt(bytes)))
                };
            }
            self.answered(shared, tab);
        }
    }

    /// The first request under way has been answered.
    fn answered(&mut self, shared: &mut Shared, tab: &mut Tab) {
        let Some(pending) = tab.outstanding.pop_front() else { return };
        shared.oracle.ends(pending.number, pending.attempt);
        let record = &shared.oracle.records[pending.number];
        let reply = &record.attempts[pending.attempt].reply;
        let jar: &mut Jar = &mut self.jars[pending.jar];
        jar.uses -= 1;
        if let Some(cookie) = &reply.cookie {
            jar.id.clone_from(cookie);
        }
        tab.last |= reply.closes || reply.until_close;
        tab.answered_last |= reply.closes || reply.until_close;
        if record.request.tunnels && !reply.switches {
            // There is no tunnel, so nothing goes up it.
            tab.writes.retain(|write| write.number != pending.number);
        }
        if reply.closes {
            // Whoever closes does not hear what is still to be said (RFC 9112, section 9.6); but it may wait for it.
            tab.is_patient &= tab.writes.is_empty();
            tab.writes.clear();
        }
        if tab.outstanding.is_empty() {
            let think = if shared.random.random_bool(0.5) { 0 } else { shared.random.random_range(0..500_000) };
            tab.rest = shared.now + think;
        }
    }

    /// The connection is over, by a RST or by FINs: was that to be expected?
    fn over(&mut self, shared: &mut Shared, tab: &mut Tab, reset: bool) -> Result<(), String> {
        let from = (self.host.address, tab.port.unwrap_or(0));
        if tab.outstanding.is_empty() {
            let expected = tab.last || tab.half_closes || shared.oracle.may_end(from);
            return if expected {
                Ok(())
            } else {
                Err(format!("an idle connection of port {} ended, reset: {reset}", from.1))
            };
        }
        let how = if reset { "the connection was reset" } else { "the connection was closed" };
        let excused = tab.outstanding.iter().any(|pending| shared.oracle.records[pending.number].excuse.is_some());
        // Whoever pipelines has to be ready for a server that closes meanwhile (RFC 9112, section 9.3.2).
        let plan = &shared.plan;
        let mishaps = plan.keep_alive != 0 || plan.closing > 0.0 || plan.deaths != 0 || plan.early > 0.0;
        let pipelined = (tab.outstanding.len() > 1 || tab.pipelined) && mishaps;
        if excused || pipelined || tab.answered_last {
            shared.oracle.excuse(from, "its connection ended");
        }
        for pending in std::mem::take(&mut tab.outstanding) {
            self.jars[pending.jar].uses -= 1;
            shared.oracle.fails(pending.number, shared.now, how)?;
        }
        Ok(())
    }
}
