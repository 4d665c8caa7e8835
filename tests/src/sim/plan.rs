//! What a seed means: the sizes, the network, the peers and the mishaps of one simulation, drawn before it begins.

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

/// The generator of everything that is random. Named, because `SmallRng` may become another one, and a seed should go on
/// meaning what it meant.
pub(super) type Random = Xoshiro256PlusPlus;

/// How one side's links treat packets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// Microseconds that a packet takes at least.
    pub(super) delay: u64,
    /// Of those that are held up: for how long at most.
    pub(super) jitter: u64,
    pub(super) loss: f64,
    pub(super) duplicates: f64,
    pub(super) held_up: f64,
}

/// The TCP of one host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stack {
    pub(super) mtu: usize,
    pub(super) receive: usize,
    pub(super) send: usize,
    pub(super) timestamps: bool,
    /// Timestamps lie as Linux lays them, behind two NOPs; smoltcp has none.
    pub(super) nops: bool,
    pub(super) nagle: bool,
    /// Milliseconds.
    pub(super) ack_delay: Option<u64>,
}

/// One simulation.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) clients: Vec<Stack>,
    pub(super) backends: Vec<Stack>,
    /// Connections of a client at a time, requests on each, and cookie jars of the client.
    pub(super) tabs: usize,
    pub(super) requests: u32,
    pub(super) jars: usize,
    pub(super) front: Link,
    pub(super) back: Link,
    /// The XDP program is tried first.
    pub(super) xdp: bool,
    /// Frames come with partial checksums.
    pub(super) partial: bool,
    pub(super) slots: u32,
    pub(super) stashes: u32,
    /// Nanoseconds since boot when it begins.
    pub(super) boot: u64,
    /// The listener's promises.
    pub(super) timestamps: bool,
    pub(super) mss: u32,
    pub(super) scale: u32,
    /// The legs' source address is the listener's own.
    pub(super) shared_address: bool,
    /// Backends die and come back.
    pub(super) deaths: u32,
    /// Flips, additions and removals.
    pub(super) flips: u32,
    /// How often clients send a request before the answer to the last.
    pub(super) pipelining: f64,
    /// How often heads are sent in pieces, are long, bodies are big.
    pub(super) pieces: f64,
    pub(super) long_heads: f64,
    pub(super) big_bodies: f64,
    /// Milliseconds after which backends close idle connections; 0 for never.
    pub(super) keep_alive: u64,
    /// How often a connection ends behind a response.
    pub(super) closing: f64,
    /// Responses in chunks now and then, which are not followed.
    pub(super) unframed: bool,
    /// Ports that a client has for its connections.
    pub(super) ports: u16,
}

impl Plan {
    /// The plan of a seed, and the generator for what follows.
    pub(super) fn of(seed: u64) -> (Self, Random) {
        let mut random = Random::seed_from_u64(seed);
        let r = &mut random;
        let rough = r.random_bool(0.6);
        let timestamps = r.random_bool(0.6);
        let nops = r.random_bool(0.5);
        let clients: Vec<Stack> = (0..r.random_range(1..=3)).map(|_| stack(r, nops, None)).collect();
        let backends: Vec<Stack> = (0..r.random_range(2..=6)).map(|_| stack(r, nops, Some(timestamps))).collect();
        let mtu = backends.iter().map(|stack| stack.mtu).min().unwrap_or(1500);
        let link = |r: &mut Random| Link {
            delay: r.random_range(50..10_000),
            jitter: r.random_range(100..40_000),
            loss: if rough { r.random_range(0.0..0.05) } else { 0.0 },
            duplicates: if rough { r.random_range(0.0..0.03) } else { 0.0 },
            held_up: if rough { r.random_range(0.0..0.1) } else { 0.0 },
        };
        let xdp = r.random_bool(0.4);
        let plan = Self {
            front: link(r),
            back: link(r),
            tabs: r.random_range(1..=3),
            requests: r.random_range(4..=16),
            jars: r.random_range(1..=4),
            xdp,
            // XDP cannot do with them, and is not used where they come.
            partial: !xdp && r.random_bool(0.4),
            slots: r.random_range(24..=48),
            stashes: r.random_range(12..=24),
            // In a fifth of the simulations the millisecond clock wraps.
            boot: if r.random_bool(0.2) { 4_294_960_000 } else { r.random_range(70_000..400_000_000) } * 1_000_000,
            timestamps,
            mss: mtu as u32 - 40,
            scale: r.random_range(0..=7),
            shared_address: r.random_bool(0.3),
            deaths: if r.random_bool(0.6) { r.random_range(1..=4) } else { 0 },
            flips: if r.random_bool(0.75) { r.random_range(1..=8) } else { 0 },
            pipelining: if r.random_bool(0.3) { r.random_range(0.1..0.5) } else { 0.0 },
            pieces: if r.random_bool(0.5) { r.random_range(0.0..0.4) } else { 0.0 },
            long_heads: r.random_range(0.0..0.3),
            big_bodies: if r.random_bool(0.3) { 0.15 } else { 0.02 },
            keep_alive: if r.random_bool(0.3) { r.random_range(50..2_000) } else { 0 },
            closing: if r.random_bool(0.5) { r.random_range(0.0..0.15) } else { 0.0 },
            unframed: r.random_bool(0.1),
            ports: r.random_range(4..=40),
            clients,
            backends,
        };
        (plan, random)
    }

    /// Whether nothing happens to packets on their way.
    pub(super) fn clean(&self) -> bool {
        self.front.loss == 0.0 && self.back.loss == 0.0
    }
}

fn stack(r: &mut Random, nops: bool, timestamps: Option<bool>) -> Stack {
    Stack {
        mtu: match r.random_range(0..10) {
            0 => 576,
            1 => 1280,
            _ => 1500,
        },
        receive: if timestamps.is_none() && r.random_bool(0.2) {
            r.random_range(3_000..8_000)
        } else {
            // A backend takes what a stash holds: smoltcp never sends again what a full window cut off.
            r.random_range(20_000..300_000)
        },
        send: if r.random_bool(0.2) { r.random_range(2_000..8_000) } else { 65_535 },
        // All backends or none, since the listener promises it in the name of all.
        timestamps: timestamps.unwrap_or_else(|| r.random_bool(0.7)),
        nops,
        nagle: r.random_bool(0.5),
        ack_delay: r.random_bool(0.6).then(|| r.random_range(1..60)),
    }
}
