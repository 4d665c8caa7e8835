//! What attacks the core's reading of HTTP: fuzz targets, and a corpus of the known tricks of request smuggling.
//!
//! `cargo xtask fuzz` runs the targets. What they check are plain functions here, so that inputs that once failed are
//! ordinary tests; the corpus goes to real servers in the package `balancer-tests`.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod framing;
pub mod head;
pub mod learning;
pub mod mutate;
pub mod stream;

pub use balancer_ebpf::plain::Plain;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::{Random, mutate};

    /// What the fuzzer does for hours, for a second: on the compiler and the machine that everybody has.
    #[test]
    fn the_corpus_and_some_mutants_pass_the_targets() {
        let cases = corpus::cases();
        let mut random = Random(1);
        for round in 0..20 {
            for case in &cases {
                let other = &cases[random.below(cases.len())];
                let bytes =
                    if round == 0 { case.bytes.clone() } else { mutate(&mut random, &case.bytes, &other.bytes) };
                let mut prefix = [0; 5].map(|_: u8| random.below(256) as u8);
                prefix[0] = u8::from(case.side == stream::Side::Response);
                framing::check(&[&prefix, &bytes[..]].concat());
                head::check(&[&prefix[..3], &bytes].concat());
                learning::check(&bytes);
            }
        }
    }
}
