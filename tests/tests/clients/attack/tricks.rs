//! The tricks: the corpus of the core's framing and mutants of it, and those that need a connection to be seen.

use std::collections::BTreeSet;

use balancer_ebpf::http::Scanned;
use balancer_fuzz::corpus::{Wanted, cases};
use balancer_fuzz::mutate::{Random, mutate};
use balancer_fuzz::stream::Side;

/// What is sent, and how it goes on.
#[derive(Clone)]
pub(super) struct Trick {
    pub(super) bytes: Vec<u8>,
    pub(super) then: Then,
}

/// What comes behind the bytes.
#[derive(Clone, Copy)]
pub(super) enum Then {
    /// An innocent request: whoever is out of step answers it wrongly.
    Request,
    /// The end: who waits for more, waits for somebody else's.
    Close,
}

/// Mutants for each attacker, who has a seed of its own.
const MUTANTS: usize = 150;

/// By themselves, these leave something open: an upload, a head, an answer that nobody reads.
const OPEN: &[&[u8]] = &[
    // Uploads that end early, with the beginning of a request for the next one's bytes to complete.
    b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n400\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
    b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    b"GET /whoami HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n",
    b"POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    // A pipelined prefix.
    b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
    b"GET /whoami HTTP/1.1\r\nHost: a\r\n\r\nPOST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n",
    b"GET /smuggled HTTP/1.1\r\nX-Glue: ",
    // Answers that nobody waits for.
    b"GET /bytes?n=1000000 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /slow?ms=30 HTTP/1.1\r\nHost: a\r\n\r\nGET /slow?ms=30 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HEAD /bytes?n=5000 HTTP/1.1\r\nHost: a\r\n\r\nGET /bytes?n=5000 HTTP/1.1\r\nHost: a\r\n\r\n",
    // A promise of a body that does not come, and one that does although nobody asked for it.
    b"POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n",
    b"GET /whoami HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    // Another protocol, agreed to and not.
    b"GET /upgrade HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
    b"GET /whoami HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
    b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ",
];

/// All that an attacker with this seed sends.
pub(super) fn tricks(seed: u64) -> Vec<Trick> {
    let corpus: Vec<_> = cases().into_iter().filter(|case| case.side == Side::Request).map(|case| case.bytes).collect();
    let mut random = Random(seed);
    let mutants: Vec<_> = (0..MUTANTS)
        .map(|_| {
            let [one, other] = [random.below(corpus.len()), random.below(corpus.len())];
            mutate(&mut random, &corpus[one], &corpus[other])
        })
        .collect();
    let heads = [7_000, 8_150, 9_000, 40_000].map(|length| {
        let fill = "h".repeat(length);
        format!("GET /whoami HTTP/1.1\r\nHost: a\r\nX-Fill: {fill}\r\n\r\nGET /smuggled HTTP/1.1\r\nX-Glue: ")
            .into_bytes()
    });
    let open = OPEN.iter().map(|bytes| bytes.to_vec()).chain(heads);
    let trick = |then| move |bytes| Trick { bytes, then };
    let closed: Vec<_> = open.clone().map(trick(Then::Close)).collect();
    let mut all: Vec<_> =
        corpus.into_iter().chain(mutants).chain(open).map(trick(Then::Request)).chain(closed).collect();
    // Each attacker in another order.
    for index in (1..all.len()).rev() {
        all.swap(index, random.below(index + 1));
    }
    all
}

/// The names of the reasons for which first heads of the corpus are not framed.
pub(super) fn reasons() -> BTreeSet<&'static str> {
    let reason =
        |wanted| if let Wanted::Unframed(0, reason) = wanted { Some(Scanned::NAMES[reason as usize]) } else { None };
    cases().into_iter().filter(|case| case.side == Side::Request).filter_map(|case| reason(case.wanted)).collect()
}
