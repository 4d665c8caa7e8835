//! What one end of a connection may expect of the other: checked for every segment that reaches it.
//!
//! An end knows what it has sent itself. Whatever is said to it about that (acknowledgements, SACK blocks, echoed
//! timestamps) has to fit, and a wrong translation shows here before the end's own TCP would notice, if it ever did.

use std::collections::BTreeSet;

use crate::packet::{View, distance};

/// How many milliseconds an echo may be ahead: a leg's clock starts with the client's last segment, which may be some time
/// ago, and an older connection of the same ports may have run ahead of it.
const AHEAD: i32 = 5_000;
/// How many milliseconds old an echo may be.
const OLD: i32 = 3_600_000;

/// What an end has sent and what it was sent, as offsets from the first number of each direction.
#[derive(Default)]
pub(crate) struct Monitor {
    /// The number of this end's SYN.
    first: Option<u32>,
    /// How far it has sent, as an offset.
    sent: i64,
    /// How far the other side has acknowledged.
    acked: i64,
    /// The window that it announced with that, as it stood in the header.
    window: u32,
    /// Where segments began and ended that are not acknowledged yet.
    edges: BTreeSet<i64>,
    /// The last timestamp that it sent.
    clock: Option<u32>,
    /// The furthest right edge of its window that it announced.
    right: Option<u32>,
    /// Its window's scale, and whether the other side scales too.
    scale: u32,
    scaled: bool,
    closed: bool,
    /// What it acknowledged last.
    told: Option<u32>,
    /// The number of the other side's SYN.
    peer: Option<u32>,
}

impl Monitor {
    /// The end sends a segment.
    pub(crate) fn sends(&mut self, view: &View) {
        if view.rst {
            self.closed = true;
            return;
        }
        if view.syn {
            // A new SYN of the same end begins a new connection.
            if self.first != Some(view.seq) {
                *self = Self { first: Some(view.seq), peer: self.peer, scaled: self.scaled, ..Self::default() };
            }
            self.scale = view.scale.unwrap_or(0);
        }
        let Some(first) = self.first else { return };
        let from = i64::from(distance(view.seq, first));
        let until = i64::from(distance(view.end(), first));
        if until > from {
            self.edges.insert(from);
            self.edges.insert(until);
            self.sent = self.sent.max(until);
        }
        if let Some((now, _)) = view.timestamp {
            self.clock = Some(now);
        }
        if let Some(ack) = view.ack {
            self.told = Some(ack);
            let shift = if view.syn || !self.scaled { 0 } else { self.scale };
            let right = ack.wrapping_add(view.window << shift);
            self.right = Some(self.right.map_or(right, |old| if distance(right, old) > 0 { right } else { old }));
        }
    }

    /// Bytes that the end sent were cut anew on their way: `view` is a segment of them, in this end's numbers.
    pub(crate) fn cut(&mut self, seq: u32, len: u32) {
        if let Some(first) = self.first {
            let from = i64::from(distance(seq, first));
            self.edges.insert(from);
            self.edges.insert(from + i64::from(len));
        }
    }

    /// A segment reaches the end, whose timestamp clock is at `clock`. An error is a violation.
    pub(crate) fn receives(&mut self, view: &View, mtu: usize, clock: u32) -> Result<(), String> {
        if view.syn {
            self.peer = Some(view.seq);
        }
        if self.closed {
            return Ok(());
        }
        let Some(first) = self.first else { return Ok(()) };
        if view.syn {
            self.scaled = view.scale.is_some();
        }
        if view.len as usize + 40 > mtu {
            return Err(format!("{} bytes of payload for an MTU of {mtu}", view.len));
        }
        // A RST says nothing by what it acknowledges, and may be meant for an older connection.
        let Some(ack) = view.ack.filter(|_| !view.rst) else { return Ok(()) };
        if self.told.is_none() && !view.syn {
            // It has sent a SYN and nothing else: what it is told is about an older connection of the same port, as a challenge (RFC
            // 5961, section 4), and it answers with a RST.
            return Ok(());
        }
        let ack = i64::from(distance(ack, first));
        if ack > self.sent {
            return Err(format!("it acknowledges {} bytes that were never sent", ack - self.sent));
        }
        if ack >= self.acked {
            self.acked = ack;
            self.window = view.window;
        }
        self.sacks(view, first, ack)?;
        // The director keeps the clock running between two legs, so what comes back need not be what was sent, but it
        // is about as old as it says.
        if let (Some((_, echo)), Some(_)) = (view.timestamp, self.clock)
            && (distance(echo, clock) < -OLD || distance(echo, clock) > AHEAD)
        {
            return Err(format!("it echoes timestamp {echo} when the clock is at {clock}"));
        }
        // What is acknowledged needs no edges any more, but for late segments with old blocks.
        while self.edges.first().is_some_and(|edge| *edge < self.acked - 300_000) {
            self.edges.pop_first();
        }
        Ok(())
    }

    /// Blocks lie in what was sent, and begin and end where segments did.
    fn sacks(&self, view: &View, first: u32, ack: i64) -> Result<(), String> {
        for (left, right) in view.sacks.iter().flatten() {
            let (from, until) = (i64::from(distance(*left, first)), i64::from(distance(*right, first)));
            if from >= until || until > self.sent || until < ack {
                return Err(format!(
                    "SACK block {from}..{until}, but 0..{} was sent and {ack} acknowledged",
                    self.sent
                ));
            }
            // A receiver cuts what reaches beyond its window, so a block may end anywhere. The director's translation of
            // right edges is checked where it happens.
            if !self.edges.contains(&from) {
                return Err(format!("SACK block {from}..{until}: no segment begins or ends at {from}"));
            }
        }
        Ok(())
    }

    /// The highest number of the end's that was acknowledged, and the window that was announced with it.
    pub(crate) fn acked(&self) -> Option<(u32, u16)> {
        self.first.map(|first| (first.wrapping_add(self.acked as u32), self.window as u16))
    }

    /// Where in what the end has sent a segment of its begins.
    pub(crate) fn offset(&self, view: &View) -> Option<i64> {
        Some(i64::from(distance(view.seq, self.first?)) - 1)
    }

    /// Whether the other side's SYN is the one that it sent before.
    pub(crate) fn knows(&self, syn: &View) -> bool {
        self.peer == Some(syn.seq)
    }

    /// What the end would put into a segment without data: its own next number, and what it expects.
    pub(crate) fn next(&self) -> Option<(u32, u32)> {
        Some((self.first?.wrapping_add(self.sent as u32), self.told?))
    }

    /// Whether a segment brings something to an end that has read `read` bytes.
    pub(crate) fn is_news(&self, view: &View, read: u32) -> bool {
        let until = view.seq.wrapping_add(view.len);
        self.peer.is_some_and(|peer| distance(until, peer.wrapping_add(1).wrapping_add(read)) > 0)
    }

    /// What the end acknowledged last.
    pub(crate) fn told(&self) -> Option<u32> {
        self.told
    }

    /// Whether data that reaches this end fits the window that it announced.
    pub(crate) fn fits(&self, view: &View) -> Result<(), String> {
        let Some(right) = self.right.filter(|_| !self.closed && view.len != 0) else { return Ok(()) };
        // A probe of a closed window has one byte; and what smoltcp sends again for three equal acknowledgements is as long as a
        // segment can be, whatever the window.
        let again = self.told.is_some_and(|told| distance(view.seq, told) <= 0);
        let beyond = distance(view.end(), right) - i32::from(view.fin);
        if beyond > 0 && view.len != 1 && !again {
            Err(format!("data {beyond} bytes beyond the window"))
        } else {
            Ok(())
        }
    }
}
