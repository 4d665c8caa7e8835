//! Names of the counters, in the order in which the programs keep them: verdicts, notes, reasons.

use balancer_ebpf::{
    http::Scanned,
    verdict::{Note, Verdict},
};

use crate::metrics::What;

/// The name of the counter at `index`.
pub(super) fn name(index: usize) -> String {
    let named = Verdict::NAMES.iter().chain(Note::NAMES).nth(index);
    named.map_or_else(|| reason(index - Verdict::NAMES.len() - Note::NAMES.len()), |name| (*name).to_owned())
}

/// All counters that have a name: index, what it counts, and the name; of reasons without their beginning.
pub(super) fn all() -> impl Iterator<Item = (usize, What, &'static str)> {
    let of = |what: What, names: &'static [&'static str]| names.iter().map(move |name| (what, *name));
    let named =
        of(What::Verdict, Verdict::NAMES).chain(of(What::Note, Note::NAMES)).chain(of(What::Unframed, Scanned::NAMES));
    named.enumerate().map(|(index, (what, name))| (index, what, name))
}

fn reason(number: usize) -> String {
    match Scanned::NAMES.get(number) {
        Some(name) => format!("unframed_{name}"),
        None => format!("unframed_{number}"),
    }
}

#[cfg(test)]
mod tests {
    use balancer_ebpf::verdict::unframed;

    use super::*;

    #[test]
    fn every_counter_has_a_name() {
        let notes = Verdict::NAMES.len();
        let reasons = notes + Note::NAMES.len();
        assert_eq!(name(0), Verdict::NAMES[0]);
        assert_eq!(name(notes), Note::NAMES[0]);
        assert_eq!(name(unframed(Scanned::LengthAndCoding) as usize), "unframed_length_and_coding");
        assert_eq!(name(reasons + 31), "unframed_31");
        for (index, what, one) in all() {
            let named = if what == What::Unframed { format!("unframed_{one}") } else { one.to_owned() };
            assert_eq!(name(index), named);
        }
    }
}
