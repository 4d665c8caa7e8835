//! Fuzz target: what two clients and their backends send each other, through the whole data path.
//!
//! The input is a list of deeds ([`Deed`]). Who sends knows the numbers that the director's answers told, and may use others; so most inputs
//! are conversations, and a byte makes one of them strange. Whatever they are, each packet has one verdict, what leaves is a whole packet,
//! the books balance behind each, and in the end everything that was held is free and the next client is served.

mod deed;
pub mod end;
pub mod world;

use balancer_ebpf::net::{ACK, FIN, PSH, RST, SYN};
use balancer_ebpf::verdict::Verdict;

use deed::{Deed, Reader};
use world::{FLOWS, Side, World};

/// Of one input: more say nothing that fewer do not.
const DEEDS: usize = 200;

/// The first byte says what the world is like, the rest what is done in it.
pub fn check(data: &[u8]) {
    play(data);
}

/// The same; how often there was each verdict.
pub fn play(data: &[u8]) -> Vec<u64> {
    let [kind, rest @ ..] = data else { return vec![] };
    let mut world = World::new(*kind);
    let mut reader = Reader(rest);
    for deed in std::iter::from_fn(|| reader.deed()).take(DEEDS) {
        act(&mut world, deed);
        world.balances();
    }
    ends(&mut world);
    world.verdicts()
}

fn act(world: &mut World, deed: Deed<'_>) {
    match deed {
        Deed::Connect { client, options } => world.knock(usize::from(client), options),
        Deed::Agree { leg, options } => world.agree(usize::from(leg), options),
        Deed::Segment { side, who, flags, seq, ack, data } => {
            world.segment(side, usize::from(who), flags, (seq, ack), data);
        }
        Deed::Wait(ms) => world.wait(ms),
        Deed::Flip { active, hold } => world.flip(active, hold),
        Deed::Health { backend, up } => world.health(backend, up),
        Deed::Damage { at, bits, mended } => world.damage = Some((at, bits, mended)),
    }
}

/// Everybody goes, and time passes; then there is room for as many as before, and they are served.
fn ends(world: &mut World) {
    world.damage = None;
    world.wait(700_000);
    world.flip(0, false);
    for backend in 0..world::BACKENDS {
        world.health(backend, true);
    }
    // The clock hand passes every slot twice.
    for _ in 0..2 * FLOWS {
        let client = world.newcomer();
        world.knock(client, 0xff);
        assert_eq!(world.verdict, Verdict::SynCookie, "a newcomer");
        world.segment(Side::Client, client, ACK, (0, 0), &[]);
        assert_eq!(world.verdict, Verdict::FlowBegun, "there is room for a newcomer");
        world.segment(Side::Client, client, RST | ACK, (0, 0), &[]);
        assert_eq!(world.verdict, Verdict::ClientResetAlone, "a newcomer leaves");
        world.wait(10_000);
        world.balances();
    }
    world.is_empty();
    let client = world.newcomer();
    world.knock(client, 0xff);
    world.segment(Side::Client, client, ACK, (0, 0), &[]);
    world.segment(Side::Client, client, PSH | ACK, (0, 0), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(matches!(world.verdict, Verdict::RequestOpen | Verdict::RequestPooled), "{:?}", world.verdict);
    world.balances();
}

/// Conversations for the fuzzer to begin with.
pub fn seeds() -> Vec<Vec<u8>> {
    let open =
        [&deed::connect(0)[..], &deed::client(0, ACK, b""), &deed::client(0, PSH | ACK, deed::GET), &deed::agree(0)]
            .concat();
    let answer = deed::backend(0, PSH | ACK, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    let close =
        [&deed::client(0, FIN | ACK, b"")[..], &deed::backend(0, FIN | ACK, b""), &deed::client(0, ACK, b"")].concat();
    let served = [&open[..], &answer, &deed::client(0, ACK, b"")].concat();
    let mut all = vec![
        [&served[..], &close].concat(),
        [&served[..], &deed::client(0, PSH | ACK, deed::GET), &answer, &close].concat(),
        [&served[..], &deed::flip(1), &deed::client(0, PSH | ACK, deed::GET), &deed::agree(1), &close].concat(),
        [
            &served[..],
            &deed::client(0, PSH | ACK, b"GET / HT"),
            &deed::client(0, PSH | ACK, b"TP/1.1\r\nHost: a\r\n\r\n"),
        ]
        .concat(),
        [&served[..], &deed::client(0, RST | ACK, b""), &deed::connect(0), &deed::connect(0)].concat(),
        [&open[..], &deed::backend(0, RST | ACK, b""), &deed::wait(), &deed::client(0, SYN, b"")].concat(),
        [
            &open[..],
            &deed::backend(
                0,
                PSH | ACK,
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: JSESSIONID=A\r\n\r\n",
            ),
            &deed::backend(0, PSH | ACK, b"2\r\nok\r\n0\r\n\r\n"),
            &deed::client(0, ACK, b""),
            &close,
        ]
        .concat(),
        [
            &served[..],
            &deed::client(
                0,
                PSH | ACK,
                b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            ),
            &deed::backend(0, PSH | ACK, b"HTTP/1.1 100 Continue\r\n\r\n"),
            &answer,
        ]
        .concat(),
    ];
    for seed in &mut all {
        seed.insert(0, 0);
    }
    // Over IPv6, by XDP, with pools.
    for kind in 1..8 {
        let again: Vec<Vec<u8>> = all[..2].iter().map(|seed| [&[kind], &seed[1..]].concat()).collect();
        all.extend(again);
    }
    all
}
