//! The director: the core in its two hooks, and what may be said of it from outside, packet by packet.

mod audit;
mod mutate;

pub use audit::audit;

use std::cell::RefCell;
use std::collections::BTreeMap;

use balancer_ebpf::layout::{Address, FLOW_CLOSING, FLOW_FREE, Flow, Place, ROLE_LISTENER, ROLE_SOURCE, place, slot};
use balancer_ebpf::net::{Egress, Hop, fold, sum_bytes};
use balancer_ebpf::splice;
use balancer_ebpf::verdict::{Action, Verdict};
use balancer_ebpf::work::Work;

use crate::edge::{Kind, Mutation, SimFrame, SimMaps};
use crate::oracle::Oracle;
use crate::packet::{ETHERNET, View, distance};
use crate::wire::Family;

/// Where clients connect to.
pub(crate) const VIP: [u8; 4] = [10, 0, 0, 1];
pub(crate) const VIP_PORT: u16 = 80;
/// Where legs start, if not at the listener's own address.
pub(crate) const SOURCE: [u8; 4] = [10, 0, 0, 2];
/// Interfaces: towards clients and towards backends.
pub(crate) const FRONT: u32 = 1;
pub(crate) const BACK: u32 = 2;

/// Microseconds for which a cookie is good at least.
const COOKIE: u64 = 64_000_000;
/// Microseconds of silence behind which a flow without a leg that is up gives its slot to others.
const PATIENCE: u64 = 60_000_000;
/// Milliseconds of a clock that the core believes of a segment whose checksum it does not verify.
const STEADY: i32 = 64;
/// Milliseconds for which the core passes over a backend that refused, and one that did not answer.
const SHUN_REFUSED: u64 = 1_000_000;
const SHUN_SILENT: u64 = 3_000_000;

/// The director and what is known of it from outside.
pub(crate) struct Director {
    pub(crate) maps: SimMaps,
    work: Box<Work>,
    family: Family,
    /// As the core asks for them.
    routes: Vec<(Address, Hop)>,
    pub(crate) xdp: bool,
    pub(crate) partial: bool,
    pub(crate) mutation: Mutation,
    /// A backend that a mutation has declared dead for the packet at hand, and its flags.
    slandered: Option<(usize, u32)>,
    /// SYNs without an answer, by the leg's source port and the backend: their number, and how many.
    unanswered: BTreeMap<(u16, [u8; 4]), (u32, u32)>,
    /// The latest timestamp that was sent to each client's port, and which SYN's connection that was; and the latest that
    /// each leg's backend sent.
    shown: BTreeMap<([u8; 4], u16), (u32, Option<u32>)>,
    told: BTreeMap<u16, (u32, u32)>,
    /// When each client was heard last.
    heard: BTreeMap<([u8; 4], u16), u64>,
    /// Clients that were answered with a cookie, when, and have not shown it yet.
    knocked: BTreeMap<([u8; 4], u16), u64>,
    /// By how much a clock may go back: what a damaged segment may make of it.
    blur: i32,
}

/// A packet that leaves.
pub(crate) struct Departure {
    pub(crate) egress: u32,
    pub(crate) frame: Vec<u8>,
    pub(crate) view: View,
}

/// Bytes of an end that left in a segment of the director's: by the end's own address and port, and for a backend by the leg's port.
pub(crate) enum Cut {
    OfClient(([u8; 4], u16), u32, u32),
    OfBackend([u8; 4], u16, u32, u32),
}

/// What became of a packet.
pub(crate) struct Handled {
    pub(crate) verdict: Verdict,
    pub(crate) departures: Vec<Departure>,
    /// Bytes that left as segments of the director's own: whose they are, and their number and length as that one knows them.
    pub(crate) cuts: Vec<Cut>,
}

/// What became of a packet, and the frames that left for it.
type Outcome = (Verdict, Vec<(Egress, Vec<u8>)>);

impl Director {
    pub(crate) fn new(
        maps: SimMaps,
        family: Family,
        routes: Vec<([u8; 4], Hop)>,
        xdp: bool,
        partial: bool,
        mutation: Mutation,
        damaging: bool,
    ) -> Self {
        Self {
            maps,
            work: work(),
            family,
            routes: routes.into_iter().map(|(address, hop)| (family.address(address), hop)).collect(),
            xdp,
            partial,
            mutation,
            slandered: None,
            unanswered: BTreeMap::new(),
            shown: BTreeMap::new(),
            told: BTreeMap::new(),
            heard: BTreeMap::new(),
            knocked: BTreeMap::new(),
            blur: if damaging { STEADY } else { 0 },
        }
    }

    /// A frame arrives on an interface.
    pub(crate) fn receive(
        &mut self,
        now: u64,
        interface: u32,
        bytes: Vec<u8>,
        view: &View,
        oracle: &mut Oracle,
    ) -> Result<Handled, String> {
        self.mutate(view, &bytes);
        let partial = self.partial;
        let mut bytes = bytes;
        if partial {
            strip(&mut bytes);
        }
        // A reset takes the leg away.
        let client = self.client_of(view.destination_port);
        let ran = self.hooks(interface, bytes);
        self.mend();
        let (verdict, frames) = ran?;
        self.maps.count(verdict as u32);
        let refused = self.maps.fault.as_ref().is_some_and(|fault| fault.happened.replace(false));
        if verdict == Verdict::Busy && !refused {
            return Err("a flow was locked twice".into());
        }
        if interface == BACK && verdict != Verdict::Busy {
            self.answered(now, view, client, oracle);
        }
        if interface == FRONT {
            self.came(now, (view.source, view.source_port), verdict, oracle);
        }
        let mut handled = Handled { verdict, departures: Vec::new(), cuts: Vec::new() };
        let mut late = true;
        if interface == BACK
            && let Some((clock, _)) = view.timestamp
        {
            let (before, isn) = self.told.entry(view.destination_port).or_insert((clock, view.seq));
            late = distance(clock, *before) < 0;
            if !late || (view.syn && *isn != view.seq) {
                (*before, *isn) = (clock, if view.syn { view.seq } else { *isn });
            }
        }
        for (egress, mut frame) in frames {
            if partial {
                complete(&mut frame)?;
            }
            let out = View::of(&frame).map_err(|why| format!("{verdict:?} emits {why}"))?;
            self.leaves(now, egress, &frame, &out, oracle).map_err(|why| format!("{verdict:?} emits {out}: {why}"))?;
            blocks(view, &out).map_err(|why| format!("{verdict:?} emits {out}: {why}"))?;
            self.clocks(&out, interface == BACK && late).map_err(|why| format!("{verdict:?} emits {out}: {why}"))?;
            if out.len != 0 {
                handled.cuts.extend(self.cut(egress.interface, &out));
            }
            handled.departures.push(Departure { egress: egress.interface, frame, view: out });
        }
        Ok(handled)
    }

    /// A frame arrives that was damaged on its way. Nobody may get it as if it had not been.
    pub(crate) fn receive_damaged(&mut self, interface: u32, bytes: Vec<u8>) -> Result<Verdict, String> {
        let (verdict, frames) = self.hooks(interface, bytes)?;
        self.maps.count(verdict as u32);
        for (_, frame) in frames {
            if let Ok(out) = View::of(&frame) {
                return Err(format!("{verdict:?} makes {out} of it, whose checksum is right"));
            }
        }
        Ok(verdict)
    }

    /// Runs the hooks: XDP first if there is one, and TC for what it passes up. Answers what leaves, and where.
    fn hooks(&mut self, interface: u32, bytes: Vec<u8>) -> Result<Outcome, String> {
        let mut kind = Kind { can_grow: !self.xdp, partial: self.partial, mutation: self.mutation };
        let ingress = Egress { interface, flags: 0 };
        loop {
            let routes = &self.routes;
            let mut frame = SimFrame {
                bytes: bytes.clone(),
                kind,
                ingress,
                routes,
                copies: Vec::new(),
                falsified: 0,
                tagged: false,
                base: 0,
            };
            let verdict = splice::direct(&self.maps, &mut frame, &mut self.work);
            let mut leaving = frame.copies;
            match verdict.action() {
                Action::Send => leaving.push((self.work.egress, frame.bytes)),
                Action::Drop | Action::Pass => {}
                Action::Up if kind.can_grow => return Err("TC cannot pass a packet up".into()),
                Action::Up => {
                    if frame.bytes != bytes || !leaving.is_empty() {
                        return Err("XDP passed up a packet that it had changed".into());
                    }
                    self.maps.count(verdict as u32);
                    kind.can_grow = true;
                    continue;
                }
            }
            return Ok((verdict, leaving));
        }
    }

    /// A client whose third ACK was lost, and who then says nothing for as long as a cookie is good, begins in vain. And while
    /// others want its slot, nobody waits for one for ever whose request has not reached a backend yet.
    fn came(&mut self, now: u64, from: ([u8; 4], u16), verdict: Verdict, oracle: &mut Oracle) {
        let heard = self.heard.insert(from, now);
        match verdict {
            Verdict::SynCookie => drop(self.knocked.insert(from, now)),
            Verdict::UnknownReset if self.knocked.get(&from).is_some_and(|at| now - at >= COOKIE) => {
                oracle.excuse(from, "its cookie is too old");
            }
            Verdict::UnknownReset if heard.is_some_and(|at| now - at > PATIENCE) => {
                oracle.excuse(from, "its slot was wanted while it was silent");
            }
            Verdict::UnknownReset | Verdict::Unknown | Verdict::Busy | Verdict::BadChecksum => {}
            _ => drop(self.knocked.remove(&from)),
        }
    }

    /// What a packet of a backend, on the leg of this client, says about the backend.
    fn answered(&mut self, now: u64, view: &View, client: Option<([u8; 4], u16)>, oracle: &mut Oracle) {
        if view.rst
            && view.ack.is_none()
            && let Some(client) = client
        {
            oracle.is_unsure(client);
        }
        let key = (view.destination_port, view.source);
        let answers = self.unanswered.get(&key).is_some_and(|(seq, _)| view.ack == Some(seq.wrapping_add(1)));
        if answers && (view.syn || view.rst) {
            self.unanswered.remove(&key);
        }
        if answers && view.rst {
            oracle.trouble(backend_index(view.source), now, now + SHUN_REFUSED, "refused");
        }
    }

    /// A packet leaves: for the right neighbour, and with the consequences that it has.
    fn leaves(
        &mut self,
        now: u64,
        egress: Egress,
        frame: &[u8],
        out: &View,
        oracle: &mut Oracle,
    ) -> Result<(), String> {
        let destination = self.family.address(out.destination);
        let Some((_, hop)) = self.routes.iter().find(|(address, _)| *address == destination) else {
            return Err("nobody has this address".into());
        };
        if frame[..12] != hop.macs {
            return Err(format!("wrong link-layer addresses {:02x?}", &frame[..12]));
        }
        if egress.interface != hop.egress.interface {
            return Err(format!("by interface {}", egress.interface));
        }
        if egress.interface == BACK && out.syn {
            let key = (out.source_port, out.destination);
            let others = |key: &(u16, [u8; 4])| key.0 == out.source_port && key.1 != out.destination;
            let left: Vec<_> = self.unanswered.iter().filter(|(k, _)| others(k)).map(|(k, (_, n))| (*k, *n)).collect();
            for (old, syns) in left {
                if syns >= 2 {
                    oracle.trouble(backend_index(old.1), now, now + SHUN_SILENT, "gave no answer");
                }
                self.unanswered.remove(&old);
            }
            let (seq, syns) = self.unanswered.entry(key).or_insert((out.seq, 0));
            *syns = if *seq == out.seq { *syns + 1 } else { 1 };
            *seq = out.seq;
            if *syns > 2 {
                oracle.trouble(backend_index(key.1), now, now + SHUN_SILENT, "gave no answer");
            }
        }
        Ok(())
    }

    /// The timestamps that a client sees never go back, but for packets that overtook each other before the director.
    fn clocks(&mut self, out: &View, late: bool) -> Result<(), String> {
        let Some((clock, _)) = out.timestamp.filter(|_| !out.rst) else { return Ok(()) };
        if out.destination[1] == 2 {
            return Ok(());
        }
        let key = (out.destination, out.destination_port);
        if out.syn {
            // One more answer to a SYN that came twice means nothing to a client that is connected.
            let live = self.maps.flows.iter().any(|flow| {
                let flow = flow.borrow();
                client(&flow) == key && !matches!(flow.state, FLOW_FREE | FLOW_CLOSING)
            });
            if !live || self.shown.get(&key).is_some_and(|(_, answers)| *answers != out.ack) {
                self.shown.insert(key, (clock, out.ack));
            }
            return Ok(());
        }
        let (shown, _) = self.shown.entry(key).or_insert((clock, None));
        let step = distance(clock, *shown);
        if step < -self.blur && !late {
            return Err(format!("the client's clock goes back by {}", -step));
        }
        if step > 0 {
            *shown = clock;
        }
        Ok(())
    }

    /// Whose bytes a segment has that left, and in whose numbers.
    fn cut(&self, interface: u32, out: &View) -> Option<Cut> {
        if interface == BACK {
            let flow = self.flow_of(out.source_port)?.borrow();
            return Some(Cut::OfClient(client(&flow), out.seq.wrapping_sub(flow.leg.to_leg), out.len));
        }
        let to = (out.destination, out.destination_port);
        let mut flows = self.maps.flows.iter().map(RefCell::borrow);
        let flow =
            flows.find(|flow| flow.state != FLOW_FREE && client(flow) == to && flow.leg.address.last() != [0; 4])?;
        let port = u16::from_be_bytes(flow.leg.source_port);
        Some(Cut::OfBackend(flow.leg.address.last(), port, out.seq.wrapping_sub(flow.leg.to_client), out.len))
    }

    /// The flow that is joined to the leg at a source port.
    fn flow_of(&self, port: u16) -> Option<&RefCell<Flow>> {
        let owner = self.maps.leg_owners.get(slot_of(port)? as usize)?.get();
        self.maps.flows.get(usize::try_from(owner).ok()?.checked_sub(1)?)
    }

    /// The client whose flow has the leg at a source port.
    pub(crate) fn client_of(&self, port: u16) -> Option<([u8; 4], u16)> {
        Some(client(&self.flow_of(port)?.borrow()))
    }
}

/// Scratch memory as the kernel makes it: all zeroes.
pub fn work() -> Box<Work> {
    // SAFETY: a map value. It is made of integers and arrays of them, and the kernel hands it out zeroed too.
    unsafe { Box::<Work>::new_zeroed().assume_init() }
}

/// The roles of the director's addresses.
pub(crate) fn roles(family: Family, shared: bool) -> Vec<(Address, u32)> {
    let [vip, source] = [VIP, SOURCE].map(|address| family.address(address));
    if shared { vec![(vip, ROLE_LISTENER | ROLE_SOURCE)] } else { vec![(vip, ROLE_LISTENER), (source, ROLE_SOURCE)] }
}

/// A backend's number, from its address.
pub(crate) fn backend_index(address: [u8; 4]) -> usize {
    usize::from(address[3]) - 1
}

/// A flow's client.
fn client(flow: &Flow) -> ([u8; 4], u16) {
    (flow.key.client.last(), u16::from_be_bytes(flow.key.client_port))
}

/// The slot whose leg starts at a port.
fn slot_of(port: u16) -> Option<u32> {
    let slot = slot(Place { source: 0, port })?;
    debug_assert_eq!(place(slot).port, port);
    Some(slot)
}

/// Blocks of a translated segment lie where they lay, as seen from the number that it acknowledges.
fn blocks(view: &View, out: &View) -> Result<(), String> {
    let (Some(before), Some(after)) = (view.ack, out.ack) else { return Ok(()) };
    for (old, new) in view.sacks.iter().flatten().zip(out.sacks.iter().flatten()) {
        if old.0.wrapping_sub(before) != new.0.wrapping_sub(after)
            || old.1.wrapping_sub(before) != new.1.wrapping_sub(after)
        {
            return Err(format!("a SACK block was {}:{} and acknowledged {before}", old.0, old.1));
        }
    }
    Ok(())
}

/// Leaves only the pseudo-header's sum in the TCP checksum, as a sender does whose hardware completes it.
fn strip(frame: &mut [u8]) {
    let sum = pseudo(frame);
    let at = tcp(frame);
    frame[at + 16..at + 18].copy_from_slice(&sum.to_ne_bytes());
}

/// Completes a partial checksum, as the hardware does; an error if it is not the pseudo-header's sum.
fn complete(frame: &mut [u8]) -> Result<(), String> {
    let sum = pseudo(frame);
    let at = tcp(frame);
    let found = u16::from_ne_bytes([frame[at + 16], frame[at + 17]]);
    if found != sum {
        return Err(format!("a partial checksum of {found:04x}, not {sum:04x}"));
    }
    let check = !fold(sum_bytes(&frame[at..]));
    frame[at + 16..at + 18].copy_from_slice(&check.to_ne_bytes());
    Ok(())
}

/// Where the TCP header begins.
fn tcp(frame: &[u8]) -> usize {
    ETHERNET + Family::of_frame(frame).header()
}

fn pseudo(frame: &[u8]) -> u16 {
    let at = tcp(frame);
    let len = (frame.len() - at) as u16;
    let addresses = match Family::of_frame(frame) {
        Family::V4 => 26..34,
        Family::V6 => 22..54,
    };
    fold(sum_bytes(&frame[addresses]) + u64::from(6u16.to_be()) + u64::from(len.to_be()))
}
