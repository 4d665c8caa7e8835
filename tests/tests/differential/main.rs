//! The core's framing beside that of real servers, on the same bytes.
//!
//! Each case of the smuggling corpus, and mutants of it, go to a server on a connection, and an innocent request behind
//! them. Wherever the server sees other requests than the core does, the core must have said that it does not follow.

mod in_process;
mod judge;
mod servers;
mod through;

use balancer_fuzz::corpus::{Case, Wanted, cases};
use balancer_fuzz::mutate::{Random, mutate};
use balancer_fuzz::stream::Side;

/// What comes behind a case: whoever is out of step sees it somewhere else.
const MARKER: &str = "GET /marker HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";

/// The requests of the corpus and `mutants` of them, each with a marker behind it.
fn streams(mutants: usize, seed: u64, marker: &str) -> Vec<(String, Vec<u8>)> {
    let corpus: Vec<Case> = cases().into_iter().filter(|case| case.side == Side::Request).collect();
    // What is refused at once teaches little when it is damaged further.
    let framed: Vec<&Case> = corpus.iter().filter(|case| matches!(case.wanted, Wanted::Framed(_))).collect();
    let mut random = Random(seed);
    let mut streams: Vec<_> = corpus.iter().map(|case| (case.name.clone(), case.bytes.clone())).collect();
    for number in 0..mutants {
        let other = &corpus[random.below(corpus.len())];
        let one =
            if number % 4 == 0 { &corpus[random.below(corpus.len())] } else { framed[random.below(framed.len())] };
        streams.push((format!("mutant {number} of {}", one.name), mutate(&mut random, &one.bytes, &other.bytes)));
    }
    for (_, bytes) in &mut streams {
        bytes.extend_from_slice(marker.as_bytes());
    }
    streams
}
