//! What a guest says on its second serial port: lines of the tests, and ours between them.

use super::steps::Step;

/// What begins our lines.
const OURS: &str = "xtask: ";

/// How far a guest has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) booted: bool,
    /// The step that runs.
    pub(super) running: Option<usize>,
    /// Steps that ended, with their exit codes.
    pub(super) ended: Vec<(usize, i32)>,
    pub(super) done: bool,
}

impl Heard {
    /// Reads all that was said so far. A line without its end is not believed yet.
    pub(super) fn of(text: &str) -> Self {
        let mut heard = Self::default();
        for line in whole_lines(text) {
            let mut words = line.strip_prefix(OURS).unwrap_or_default().split_whitespace();
            let (word, mut numbers) = (words.next(), words.map_while(|word| word.parse::<i32>().ok()));
            match (word, numbers.next(), numbers.next()) {
                (Some("boot"), ..) => heard.booted = true,
                (Some("begin"), Some(index), None) => heard.running = usize::try_from(index).ok(),
                (Some("end"), Some(index), Some(code)) => {
                    heard.running = None;
                    heard.ended.extend(usize::try_from(index).ok().map(|index| (index, code)));
                }
                (Some("done"), None, None) => heard.done = true,
                _ => {}
            }
        }
        heard
    }

    /// What is wrong with a guest that said this and is no more.
    pub(super) fn complaint(&self, steps: &[Step]) -> Option<String> {
        let title = |index: usize| steps.get(index).map_or("an unknown step", |step| step.title);
        if !self.booted {
            return Some("the guest did not come up".to_owned());
        }
        if let Some(index) = self.running {
            return Some(format!("the guest died during: {}", title(index)));
        }
        let failed: Vec<_> = self.ended.iter().filter(|(_, code)| *code != 0).map(|(index, _)| title(*index)).collect();
        if !failed.is_empty() {
            return Some(format!("failed: {}", failed.join(", ")));
        }
        (!self.done || self.ended.len() != steps.len()).then(|| "the guest died between two steps".to_owned())
    }
}

/// The lines that are worth telling when all went well: what was verified, and how many tests ran.
pub(super) fn results(text: &str, step: usize) -> impl Iterator<Item = &str> {
    let begin = format!("{OURS}begin {step}");
    whole_lines(text)
        .skip_while(move |line| *line != begin)
        .skip(1)
        .take_while(|line| !line.starts_with(OURS))
        .filter(|line| line.starts_with("test result: ") || line.contains(" verified instructions"))
}

/// A terminal ends lines in CR LF.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(|line| line.trim_end_matches('\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::steps::steps;

    const WHOLE: &str = "xtask: boot 6.1.0\r\nxtask: begin 0\r\nbalancer_tc: 7 verified instructions\r\n\
        test result: ok. 2 passed\r\nxtask: end 0 0\r\nxtask: begin 1\r\ntest result: ok. 5 passed\r\nxtask: end 1 0\r\n\
        xtask: begin 2\r\nxtask: end 2 0\r\nxtask: done\r\n";

    #[test]
    fn a_guest_is_right_only_if_it_said_all_of_it() {
        let steps = steps(&[]);
        let complaint = |text: &str| Heard::of(text).complaint(&steps);
        assert_eq!(complaint(WHOLE), None);
        let upto = |end: &str| &WHOLE[..WHOLE.find(end).unwrap_or_default()];
        for (text, says) in [
            ("", "did not come up"),
            (upto("xtask: end 1"), "died during: packet fixtures"),
            (upto("xtask: begin 2"), "died between"),
            (upto("xtask: done"), "died between"),
            (WHOLE.trim_end(), "died between"),
            (&WHOLE.replace("end 1 0", "end 1 101"), "failed: packet fixtures"),
        ] {
            assert!(complaint(text).is_some_and(|complaint| complaint.contains(says)), "{says}");
        }
    }

    #[test]
    fn what_tests_print_is_not_taken_for_ours() {
        let heard = Heard::of("xtask: boot 6.1\nsaid xtask: begin 1\nxtask: begin x\nxtask: begin 0\nxtask: end 0\n");
        assert_eq!(heard.running, Some(0));
        assert!(heard.ended.is_empty());
    }

    #[test]
    fn results_are_told_by_step() {
        assert_eq!(
            results(WHOLE, 0).collect::<Vec<_>>(),
            ["balancer_tc: 7 verified instructions", "test result: ok. 2 passed"]
        );
        assert_eq!(results(WHOLE, 1).collect::<Vec<_>>(), ["test result: ok. 5 passed"]);
    }
}
