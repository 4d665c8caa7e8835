//! A tab: one connection at a time, the requests on it, and what is still to be written of them.

use std::collections::VecDeque;

use rand::RngExt as _;

use crate::host::Connection;
use crate::message::Wait;
use crate::tally::Feature;
use crate::world::Shared;

/// A tab.
#[derive(Default)]
pub(crate) struct Tab {
    pub(crate) port: Option<u16>,
    /// When the tab wants to be looked after.
    pub(crate) timer: Option<u64>,
    /// Nothing is begun before.
    pub(super) rest: u64,
    /// Nothing is read before.
    pub(super) pause: u64,
    pub(super) left: u32,
    /// Requests under way.
    pub(super) outstanding: VecDeque<Pending>,
    /// The last requests were pipelined. Not twice in a row: each may cost a retransmission, and smoltcp's timer only ever
    /// doubles while there is nothing but retransmissions.
    pub(super) pipelined: bool,
    pub(super) writes: VecDeque<Write>,
    /// When the last piece was written.
    pub(super) wrote: u64,
    /// Nothing has been asked on the connection yet.
    pub(super) fresh: bool,
    /// The last response, or request, said that it is the last one.
    pub(super) last: bool,
    /// A response said so.
    pub(super) answered_last: bool,
    /// The director has answered in the backend's place.
    pub(super) refused: bool,
    /// Since when the client has only waited for the connection's end.
    pub(super) awaits_end: Option<u64>,
    /// The client waits for the end, rather than to close behind the last response itself.
    pub(super) is_patient: bool,
    /// The client closes its direction behind the last request.
    pub(super) half_closes: bool,
}

/// A request that is not answered yet.
#[derive(Default)]
pub(super) struct Pending {
    pub(super) number: usize,
    /// Whose cookies it carries.
    pub(super) jar: usize,
    /// Bytes of its answer that have come, and whose answer that is.
    pub(super) got: usize,
    pub(super) attempt: usize,
}

/// What is to be written at once.
pub(super) struct Write {
    pub(super) number: usize,
    pub(super) bytes: Vec<u8>,
    pub(super) wait: Wait,
}

/// How far the answer to a request has come.
#[derive(Clone, Copy, Default)]
struct Progress {
    continued: bool,
    switched: bool,
    /// All of it, or what the tunnel brings.
    done: bool,
}

impl Tab {
    pub(super) fn new(left: u32) -> Self {
        Self { left, fresh: true, ..Self::default() }
    }

    /// Nothing is asked, and nothing is left to be said.
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding.is_empty() && self.writes.is_empty() && self.awaits_end.is_none()
    }

    /// When the next piece is to be written, if that is a matter of time.
    pub(super) fn due(&self) -> Option<u64> {
        match self.writes.front()?.wait {
            Wait::For(time) | Wait::Continue(time) => Some(self.wrote + time),
            Wait::Switch | Wait::Down => None,
        }
    }

    /// The tab is done with its connection, which ends on its own.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        let rest = shared.now + shared.random.random_range(0..300_000);
        *self = Self { rest, timer: self.timer, ..Self::new(self.left) };
    }

    /// Writes what it is time for.
    pub(super) fn write(&mut self, shared: &mut Shared, connection: &mut Connection) {
        while let Some(front) = self.writes.front() {
            let socket = connection.socket();
            if !socket.can_send() || !self.is_ready(shared, front) {
                return;
            }
            if matches!(front.wait, Wait::Continue(_)) && self.gives_up(shared, front.number) {
                socket.close();
                self.leave(shared);
                return;
            }
            let Some(front) = self.writes.front_mut() else { return };
            let sent = socket.send_slice(&front.bytes).unwrap_or(0);
            front.bytes.drain(..sent);
            // What has begun goes on.
            front.wait = Wait::For(0);
            if !front.bytes.is_empty() {
                return;
            }
            self.wrote = shared.now;
            self.writes.pop_front();
        }
        if self.half_closes && !self.outstanding.is_empty() {
            connection.socket().close();
        }
    }

    fn is_ready(&self, shared: &Shared, write: &Write) -> bool {
        let progress = self.progress(shared, write.number);
        match write.wait {
            Wait::For(time) => shared.now >= self.wrote + time,
            Wait::Continue(time) => progress.continued || progress.done || shared.now >= self.wrote + time,
            Wait::Switch => progress.switched,
            Wait::Down => progress.done && progress.switched,
        }
    }

    fn progress(&self, shared: &Shared, number: usize) -> Progress {
        let Some(pending) = self.outstanding.iter().find(|pending| pending.number == number) else {
            return Progress { done: true, ..Progress::default() };
        };
        let Some(attempt) = shared.oracle.records[number].attempts.get(pending.attempt) else {
            return Progress::default();
        };
        let reply = &attempt.reply;
        Progress {
            continued: reply.continued.is_some_and(|end| pending.got >= end),
            switched: reply.switches && pending.got >= reply.head,
            done: reply.is_final && pending.got == reply.wire.len(),
        }
    }

    /// Whether the client sends no body, because a final answer came where it waited for a 100.
    fn gives_up(&self, shared: &mut Shared, number: usize) -> bool {
        let gives_up = !self.outstanding.iter().any(|pending| pending.number == number)
            && shared.oracle.records[number].answered
            && shared.random.random_bool(0.5);
        shared.oracle.records[number].request.features.add_if(gives_up, Feature::GivesUp);
        gives_up
    }
}
