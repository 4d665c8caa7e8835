//! Bugs put in on purpose: what the core would do to its state if it had them, done to it from outside.

use balancer_ebpf::http::ChunkState;
use balancer_ebpf::layout::{BACKEND_UP, FLOW_CLOSING, FLOW_FREE, FLOW_SPLICED, FLOW_UNBOUND, Flow, SAFE_REQUEST};
use balancer_ebpf::net::Seq;

use super::{Director, client};
use crate::edge::Mutation;
use crate::packet::{View, distance};

/// What ends a body in chunks, or stands within one to tempt.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

impl Director {
    /// Changes the state before the core sees the packet.
    pub(super) fn mutate(&mut self, view: &View, bytes: &[u8]) {
        let payload = &bytes[bytes.len() - view.len as usize..];
        let chunk = payload.windows(LAST_CHUNK.len()).position(|bytes| bytes == LAST_CHUNK);
        match self.mutation {
            Mutation::None | Mutation::SackEdge | Mutation::Unverified => {}
            Mutation::GuessedRequest if payload.starts_with(b"GET ") => self.of_client(view, |flow| {
                flow.request.next = Seq(view.seq);
                flow.request.left = 0;
            }),
            Mutation::GuessedResponse if payload.starts_with(b"HTTP/1.1 ") => self.of_leg(view, |flow| {
                flow.response.next = Seq(view.seq.wrapping_add(flow.leg.to_client));
                flow.response.left = 0;
            }),
            Mutation::GuessedChunk => {
                let Some(at) = chunk else { return };
                let seq = view.seq.wrapping_add(at as u32);
                self.of_client(view, |flow| guess(&mut flow.request, Seq(seq)));
                self.of_leg(view, |flow| guess(&mut flow.response, Seq(seq.wrapping_add(flow.leg.to_client))));
            }
            Mutation::PooledEarly if view.fin => self.pool_early(view),
            Mutation::SentTwice if view.len != 0 => self.send_twice(view),
            _ => {}
        }
    }

    /// Takes back what was only said for the packet at hand.
    pub(super) fn mend(&mut self) {
        if let Some((backend, flags)) = self.slandered.take() {
            self.maps.backends[backend].flags = flags;
        }
    }

    /// The flow of the client that sends `view`, if it has one that could go on.
    fn of_client(&self, view: &View, change: impl FnOnce(&mut Flow)) {
        let mut flows = self.maps.flows.iter().map(|flow| flow.borrow_mut());
        let own = |flow: &Flow| is_known(flow) && client(flow) == (view.source, view.source_port);
        if let Some(mut flow) = flows.find(|flow| own(flow)) {
            change(&mut flow);
        }
    }

    /// The flow of the leg on which `view` comes.
    fn of_leg(&self, view: &View, change: impl FnOnce(&mut Flow)) {
        if let Some(flow) = self.flow_of(view.destination_port).filter(|flow| is_known(&flow.borrow())) {
            change(&mut flow.borrow_mut());
        }
    }

    /// The client has sent its FIN, and has had no answer yet: the leg goes to the pool all the same.
    fn pool_early(&mut self, view: &View) {
        let traffic = &self.maps.traffic;
        self.of_client(view, |flow| {
            if flow.state == FLOW_SPLICED && flow.outstanding == 1 {
                flow.outstanding = 0;
                flow.upstream_acked = flow.request.next;
                let in_flight = &traffic[flow.leg.version as usize].in_flight;
                in_flight.set(in_flight.get() - 1);
            }
        });
    }

    /// The client sends its request again, or the network does: it goes out on another leg, as if the first were dead.
    fn send_twice(&mut self, view: &View) {
        let mut slandered = None;
        self.of_client(view, |flow| {
            let again = flow.request_first == Seq(view.seq) && distance(flow.received.0, view.seq) > 0;
            if flow.state == FLOW_SPLICED && flow.outstanding == 1 && again {
                flow.upstream_acked = flow.request_first;
                flow.flags |= SAFE_REQUEST;
                flow.asked = flow.asked.wrapping_sub(60_000);
                slandered = Some(flow.leg.backend as usize);
            }
        });
        if let Some(backend) = slandered {
            let flags = self.maps.backends[backend].flags;
            self.maps.backends[backend].flags = flags & !BACKEND_UP;
            self.slandered = Some((backend, flags));
        }
    }
}

fn is_known(flow: &Flow) -> bool {
    !matches!(flow.state, FLOW_FREE | FLOW_UNBOUND | FLOW_CLOSING)
}

/// A chunk header is taken to begin at `at`, if it is before the next one that was announced.
fn guess(cursor: &mut balancer_ebpf::layout::Cursor, at: Seq) {
    if cursor.chunked != 0 && at.before(cursor.next) {
        cursor.next = at;
        cursor.left = 0;
        cursor.chunk = ChunkState::START;
    }
}
