//! Rise and fall: how many results in a row it takes to change one's mind.

use crate::model::Condition;

/// The results so far.
#[derive(Clone, Debug)]
pub(super) struct Streak {
    condition: Condition,
    /// Results in a row that contradict `condition`.
    against: u32,
    rise: u32,
    fall: u32,
}

impl Streak {
    pub(super) fn new(condition: Condition, rise: u32, fall: u32) -> Self {
        Self { condition, against: 0, rise, fall }
    }

    /// Takes in a result. The first one of a backend that nothing is known of decides alone: waiting for more would only
    /// delay the start.
    pub(super) fn count(&mut self, healthy: bool) -> Condition {
        let (says, needed) = if healthy { (Condition::Up, self.rise) } else { (Condition::Down, self.fall) };
        if says == self.condition {
            self.against = 0;
        } else {
            self.against += 1;
            if self.against >= needed || self.condition == Condition::Unknown {
                self.condition = says;
                self.against = 0;
            }
        }
        self.condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall() {
        // (start, rise, fall, results, conditions), `+` for healthy and up, `-` for the other.
        let table = [
            (Condition::Unknown, 3, 3, "+", "+"),
            (Condition::Unknown, 3, 3, "-+++", "---+"),
            (Condition::Up, 1, 2, "-+--", "+++-"),
            (Condition::Up, 1, 2, "--+", "+-+"),
            (Condition::Down, 2, 1, "+-++-", "---+-"),
        ];
        for (start, rise, fall, results, expected) in table {
            let mut streak = Streak::new(start, rise, fall);
            let got: String = results
                .chars()
                .map(|result| if streak.count(result == '+') == Condition::Up { '+' } else { '-' })
                .collect();
            assert_eq!(got, expected, "{results}");
        }
    }
}
