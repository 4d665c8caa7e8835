//! What attacks the core: fuzz targets for all that it reads and for the whole data path, and a corpus of the known tricks of request
//! smuggling.
//!
//! `cargo xtask fuzz` runs the targets. What they check are plain functions here, so that inputs that once failed are
//! ordinary tests; the corpus goes to real servers in the package `balancer-tests`.

#![forbid(unsafe_code)]

pub mod corpus;
pub mod framing;
pub mod head;
pub mod learning;
pub mod mutate;
pub mod packet;
pub mod rules;
pub mod splice;
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
    /// The same for the targets that have beginnings of their own.
    fn mutants_pass(seeds: &[Vec<u8>], rounds: usize, mut check: impl FnMut(&[u8])) {
        let mut random = Random(1);
        for round in 0..rounds {
            for seed in seeds {
                let other = &seeds[random.below(seeds.len())];
                check(&if round == 0 { seed.clone() } else { mutate(&mut random, seed, other) });
            }
        }
    }

    #[test]
    fn the_table_of_evasion_and_some_mutants_pass_the_rules() {
        mutants_pass(&rules::seeds(), 40, rules::check);
    }

    #[test]
    fn frames_and_some_mutants_are_read_as_etherparse_does() {
        mutants_pass(&packet::seeds(), 200, packet::check);
    }

    #[test]
    fn conversations_and_some_mutants_leave_nothing_behind() {
        let mut met = std::collections::HashSet::new();
        mutants_pass(&splice::seeds(), 30, |input| {
            met.extend(splice::play(input).iter().enumerate().filter(|(_, count)| **count != 0).map(|(at, _)| at));
        });
        // Inputs that all end at the same check prove little.
        assert!(met.len() > 40, "only {} verdicts were met", met.len());
    }
}
