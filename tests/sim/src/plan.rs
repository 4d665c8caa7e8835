//! What a seed means: the sizes, the network, the peers and the mishaps of one simulation, drawn before it begins.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use crate::wire::Family;

/// The generator of everything that is random. Named, because `SmallRng` may become another one, and a seed should go on
/// meaning what it meant.
pub(crate) type Random = Xoshiro256PlusPlus;

/// How one side's links treat packets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// Microseconds that a packet takes at least.
    pub(crate) delay: u64,
    /// Of those that are held up: for how long at most.
    pub(crate) jitter: u64,
    pub(crate) loss: f64,
    pub(crate) duplicates: f64,
    pub(crate) held_up: f64,
    /// How often a bit of a packet changes, of its addresses or behind them, or its end is cut off.
    pub(crate) damage: f64,
}

/// The TCP of one host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack {
    pub(crate) mtu: usize,
    pub(crate) receive: usize,
    pub(crate) send: usize,
    pub(crate) timestamps: bool,
    /// Timestamps lie as Linux lays them, behind two NOPs; smoltcp has none.
    pub(crate) nops: bool,
    /// Offers and takes SACK, and window scaling.
    pub(crate) sack: bool,
    pub(crate) scale: bool,
    pub(crate) nagle: bool,
    /// Milliseconds of silence after which it asks whether the other end is still there.
    pub(crate) keep_alive: Option<u64>,
    /// Milliseconds.
    pub(crate) ack_delay: Option<u64>,
}

/// One simulation.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) clients: Vec<Stack>,
    pub(crate) backends: Vec<Stack>,
    /// Connections of a client at a time, requests on each, and cookie jars of the client.
    pub(crate) tabs: usize,
    pub(crate) requests: u32,
    pub(crate) jars: usize,
    pub(crate) front: Link,
    pub(crate) back: Link,
    /// The XDP program is tried first.
    pub(crate) xdp: bool,
    /// Frames come with partial checksums.
    pub(crate) partial: bool,
    pub(crate) slots: u32,
    pub(crate) stashes: u32,
    /// Nanoseconds since boot when it begins.
    pub(crate) boot: u64,
    /// The listener's promises.
    pub(crate) timestamps: bool,
    pub(crate) sack: bool,
    pub(crate) scales: bool,
    pub(crate) mss: u32,
    pub(crate) scale: u32,
    /// What it speaks.
    pub(crate) family: Family,
    /// The legs' source address is the listener's own.
    pub(crate) shared_address: bool,
    /// Backends die and come back.
    pub(crate) deaths: u32,
    /// Flips, additions and removals.
    pub(crate) flips: u32,
    /// How often clients send a request before the answer to the last.
    pub(crate) pipelining: f64,
    /// How often heads are sent in pieces, are long, bodies are big.
    pub(crate) pieces: f64,
    pub(crate) long_heads: f64,
    pub(crate) big_bodies: f64,
    /// Milliseconds after which backends close idle connections; 0 for never.
    pub(crate) keep_alive: u64,
    /// How often a connection ends behind a response.
    pub(crate) closing: f64,
    /// How often requests with a body come in chunks, or with `Expect: 100-continue`; how often requests are HTTP/1.0, or
    /// make a tunnel of their connection.
    pub(crate) chunks: f64,
    pub(crate) expects: f64,
    pub(crate) old: f64,
    pub(crate) tunnels: f64,
    /// How often interim answers go before a final one, and how often that comes before the request's body has.
    pub(crate) interim: f64,
    pub(crate) early: f64,
    /// Idle legs that are kept for each backend; 0 if they serve no other flow.
    pub(crate) pool: u32,
    /// How often a backend resets a connection that has been idle for long, rather than to close it; how often it says
    /// something on it that nobody asked for.
    pub(crate) resets: f64,
    pub(crate) speaks: f64,
    /// How often a request or its answer is about authentication that binds the connection.
    pub(crate) binds: f64,
    /// How often a client closes its connection behind an answer.
    pub(crate) short: f64,
    /// How often a peer does not read for a while.
    pub(crate) stalls: f64,
    /// Ports that a client has for its connections.
    pub(crate) ports: u16,
    /// How often the table of flows refuses an entry, or a flow is in another CPU's hands for too long.
    pub(crate) refusals: f64,
}

impl Plan {
    /// The plan of a seed, and the generator for what follows.
    pub(crate) fn of(seed: u64) -> (Self, Random) {
        let family = Family::of(seed);
        let mut random = Random::seed_from_u64(seed);
        let r = &mut random;
        let rough = r.random_bool(0.6);
        let timestamps = r.random_bool(0.6);
        let nops = r.random_bool(0.5);
        let (sack, scales) = (r.random_bool(0.8), r.random_bool(0.8));
        let clients: Vec<Stack> = (0..r.random_range(1..=3)).map(|_| stack(r, nops, None)).collect();
        let backend = Options { timestamps, sack, scale: scales };
        let backends: Vec<Stack> = (0..r.random_range(2..=6)).map(|_| stack(r, nops, Some(backend))).collect();
        // Less than that no link of IPv6 has (RFC 8200, section 5).
        let least = if family == Family::V6 { 1280 } else { 0 };
        let [clients, backends] = [clients, backends].map(|stacks| {
            stacks.into_iter().map(|stack| Stack { mtu: stack.mtu.max(least), ..stack }).collect::<Vec<_>>()
        });
        let xdp = r.random_bool(0.4);
        // XDP cannot do with partial checksums, and is not used where they come.
        let partial = !xdp && r.random_bool(0.4);
        // Whatever has a partial checksum has not been on a wire.
        let damaging = rough && !partial && r.random_bool(0.5);
        let mtu = backends.iter().map(|stack| stack.mtu).min().unwrap_or(1500);
        let link = |r: &mut Random| Link {
            delay: r.random_range(50..10_000),
            jitter: r.random_range(100..40_000),
            loss: if rough { r.random_range(0.0..0.05) } else { 0.0 },
            duplicates: if rough { r.random_range(0.0..0.03) } else { 0.0 },
            held_up: if rough { r.random_range(0.0..0.1) } else { 0.0 },
            damage: if damaging { r.random_range(0.0..0.03) } else { 0.0 },
        };
        let plan = Self {
            family,
            front: link(r),
            back: link(r),
            tabs: r.random_range(1..=3),
            requests: r.random_range(4..=16),
            jars: r.random_range(1..=4),
            xdp,
            partial,
            slots: r.random_range(24..=48),
            stashes: r.random_range(12..=24),
            // In a fifth of the simulations the millisecond clock wraps.
            boot: if r.random_bool(0.2) { 4_294_960_000 } else { r.random_range(70_000..400_000_000) } * 1_000_000,
            timestamps,
            sack,
            scales,
            mss: (mtu - family.header() - 20) as u32,
            scale: r.random_range(0..=7),
            shared_address: r.random_bool(0.3),
            deaths: if r.random_bool(0.6) { r.random_range(1..=4) } else { 0 },
            flips: if r.random_bool(0.75) { r.random_range(1..=8) } else { 0 },
            pipelining: if r.random_bool(0.3) { r.random_range(0.1..0.5) } else { 0.0 },
            pieces: if r.random_bool(0.5) { r.random_range(0.0..0.4) } else { 0.0 },
            long_heads: r.random_range(0.0..0.3),
            big_bodies: if r.random_bool(0.3) { 0.15 } else { 0.02 },
            keep_alive: match r.random_range(0..10) {
                0 | 1 => r.random_range(50..2_000),
                // About as long as a request is under way: the end crosses the next one.
                2 => r.random_range(5..60),
                _ => 0,
            },
            closing: if r.random_bool(0.5) { r.random_range(0.0..0.15) } else { 0.0 },
            chunks: often(r, 0.5),
            expects: often(r, 0.3),
            old: often(r, 0.3),
            tunnels: often(r, 0.1),
            interim: often(r, 0.2),
            early: often(r, 0.1),
            stalls: often(r, 0.03),
            pool: if r.random_bool(0.6) { r.random_range(1..=12) } else { 0 },
            resets: often(r, 0.5),
            speaks: often(r, 0.3),
            binds: often(r, 0.1),
            short: if r.random_bool(0.3) { r.random_range(0.3..1.0) } else { 0.0 },
            ports: r.random_range(4..=40),
            refusals: if rough { often(r, 0.02) } else { 0.0 },
            clients,
            backends,
        };
        (plan, random)
    }

    /// Whether nothing happens to packets on their way.
    pub(crate) fn clean(&self) -> bool {
        self.front.loss == 0.0 && self.back.loss == 0.0
    }
}

/// How often something happens: in half of the worlds never.
fn often(r: &mut Random, most: f64) -> f64 {
    if r.random_bool(0.5) { r.random_range(0.0..most) } else { 0.0 }
}

/// What all backends of a listener take, which promises it in their name.
#[derive(Clone, Copy)]
struct Options {
    timestamps: bool,
    sack: bool,
    scale: bool,
}

/// A client's stack, or a backend's that takes what all of them take.
fn stack(r: &mut Random, nops: bool, backend: Option<Options>) -> Stack {
    let options = backend.unwrap_or_else(|| Options {
        timestamps: r.random_bool(0.7),
        sack: r.random_bool(0.8),
        scale: r.random_bool(0.8),
    });
    Stack {
        mtu: match r.random_range(0..10) {
            0 => 576,
            1 => 1280,
            _ => 1500,
        },
        receive: if backend.is_none() && r.random_bool(0.2) {
            r.random_range(3_000..8_000)
        } else {
            // A backend takes what a stash holds: smoltcp never sends again what a full window cut off.
            r.random_range(20_000..300_000)
        },
        send: if r.random_bool(0.2) { r.random_range(2_000..8_000) } else { 65_535 },
        timestamps: options.timestamps,
        nops,
        sack: options.sack,
        scale: options.scale,
        nagle: r.random_bool(0.5),
        ack_delay: r.random_bool(0.6).then(|| r.random_range(1..60)),
        keep_alive: r.random_bool(0.2).then(|| r.random_range(100..3_000)),
    }
}
