//! Which of two versions is the higher one.
//!
//! Tomcat compares by string, byte by byte (C2), and so do we unless told otherwise; that has a trap (C3), which is
//! noticed here.

#![forbid(unsafe_code)]

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::label::Label;

/// How a service's versions are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Byte by byte, as Tomcat does.
    #[default]
    String,
    /// Runs of digits count as numbers: `2 < 12`.
    Numeric,
    /// Semantic versions, a leading `v` allowed; build metadata breaks ties by string.
    Semver,
    /// As they were added: the last one is the highest.
    Explicit,
}

impl Order {
    /// Compares two versions, each with its place in the order of adding.
    pub fn compare(self, (left_at, left): (usize, &Label), (right_at, right): (usize, &Label)) -> Ordering {
        match self {
            Self::String => left.cmp(right),
            Self::Numeric => natural(left.as_str(), right.as_str()),
            Self::Semver => by_semver(left.as_str(), right.as_str()),
            Self::Explicit => left_at.cmp(&right_at),
        }
    }

    /// Why `label` cannot be ordered, if it cannot.
    pub fn refuses(self, label: &Label) -> Option<String> {
        match self {
            Self::Semver => semver(label.as_str())
                .is_none()
                .then(|| format!("`{label}` is not a semantic version, and the service has order = \"semver\"")),
            Self::String | Self::Numeric | Self::Explicit => None,
        }
    }

    /// The indexes of `labels` (in order of adding), lowest version first.
    pub fn sort(self, labels: &[Label]) -> Vec<usize> {
        let mut sorted: Vec<usize> = (0..labels.len()).collect();
        sorted.sort_by(|a, b| self.compare((*a, &labels[*a]), (*b, &labels[*b])));
        sorted
    }
}

/// The padding trap (C3): the two labels that string order and natural order put differently, lower by string first.
pub fn padding_trap(order: Order, labels: &[Label]) -> Option<(Label, Label)> {
    if order != Order::String {
        return None;
    }
    let sorted = order.sort(labels);
    sorted.windows(2).find_map(|pair| {
        let (low, high) = (&labels[pair[0]], &labels[pair[1]]);
        (natural(low.as_str(), high.as_str()) == Ordering::Greater).then(|| (low.clone(), high.clone()))
    })
}

/// Runs of digits as numbers of any length, everything else byte by byte; equal numbers fall back to string order.
fn natural(left: &str, right: &str) -> Ordering {
    let (mut a, mut b) = (left.as_bytes(), right.as_bytes());
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else {
            return a.len().cmp(&b.len()).then_with(|| left.cmp(right));
        };
        let step = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (number_a, rest_a) = number(a);
            let (number_b, rest_b) = number(b);
            (a, b) = (rest_a, rest_b);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            (a, b) = (&a[1..], &b[1..]);
            x.cmp(y)
        };
        if step != Ordering::Equal {
            return step;
        }
    }
}

/// The digits that `bytes` begins with, without leading zeroes, and what follows them.
fn number(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|b| !b.is_ascii_digit()).unwrap_or(bytes.len());
    let (digits, rest) = bytes.split_at(end);
    let zeroes = digits.iter().take_while(|b| **b == b'0').count();
    (&digits[zeroes..], rest)
}

fn semver(text: &str) -> Option<semver::Version> {
    semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok()
}

/// Labels that are no semantic versions sort below all that are; [`Order::refuses`] keeps them out.
fn by_semver(left: &str, right: &str) -> Ordering {
    let by_precedence = match (semver(left), semver(right)) {
        (Some(a), Some(b)) => a.cmp_precedence(&b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    by_precedence.then_with(|| left.cmp(right))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(texts: &[&str]) -> Vec<Label> {
        texts.iter().map(|t| t.parse().unwrap()).collect()
    }

    fn sorted(order: Order, texts: &[&str]) -> Vec<String> {
        let labels = labels(texts);
        order.sort(&labels).into_iter().map(|at| labels[at].to_string()).collect()
    }

    #[test]
    fn orders() {
        let table: &[(Order, &[&str], &[&str])] = &[
            // C2.
            (Order::String, &["2", "10", "002", "001"], &["001", "002", "10", "2"]),
            (Order::Numeric, &["2", "10", "002", "001"], &["001", "002", "2", "10"]),
            (Order::Numeric, &["1.10", "1.9", "1.9-rc2", "1.9-rc10"], &["1.9", "1.9-rc2", "1.9-rc10", "1.10"]),
            (
                Order::Semver,
                &["1.10.0", "v1.9.0", "1.9.0-rc.1", "1.9.0+b"],
                &["1.9.0-rc.1", "1.9.0+b", "v1.9.0", "1.10.0"],
            ),
            (Order::Explicit, &["z", "a", "m"], &["z", "a", "m"]),
        ];
        for (order, given, expected) in table {
            assert_eq!(sorted(*order, given), *expected, "{order:?}");
        }
    }

    #[test]
    fn the_padding_trap_is_seen() {
        let trap = padding_trap(Order::String, &labels(&["2", "12"])).unwrap();
        assert_eq!((trap.0.as_str(), trap.1.as_str()), ("12", "2"));
        assert_eq!(padding_trap(Order::String, &labels(&["001", "002", "012"])), None);
        assert_eq!(padding_trap(Order::Numeric, &labels(&["2", "12"])), None);
    }

    #[test]
    fn semver_refuses_what_it_cannot_order() {
        assert!(Order::Semver.refuses(&"001".parse().unwrap()).is_some());
        assert!(Order::Semver.refuses(&"v1.0.0".parse().unwrap()).is_none());
    }

    fn any_order() -> impl Strategy<Value = Order> {
        prop_oneof![Just(Order::String), Just(Order::Numeric), Just(Order::Semver)]
    }

    proptest! {
        #[test]
        fn orders_are_total(order in any_order(), texts in prop::collection::vec("(v?[0-9]{1,3}[.][0-9]{1,2}[.]0|[0-9a-c.-]{1,6})", 3)) {
            let l: Vec<Label> = texts.iter().map(|t| t.parse().unwrap()).collect();
            let compare = |a: usize, b: usize| order.compare((a, &l[a]), (b, &l[b]));
            prop_assert_eq!(compare(0, 1), compare(1, 0).reverse());
            prop_assert_eq!(compare(0, 1) == Ordering::Equal, l[0] == l[1]);
            if compare(0, 1).is_le() && compare(1, 2).is_le() {
                prop_assert!(compare(0, 2).is_le(), "{:?}", l);
            }
        }

        #[test]
        fn padded_numbers_are_never_a_trap(numbers in prop::collection::vec(0u32..1000, 1..8)) {
            let l: Vec<Label> = numbers.iter().map(|n| format!("{n:03}").parse().unwrap()).collect();
            prop_assert_eq!(padding_trap(Order::String, &l), None);
        }
    }
}
