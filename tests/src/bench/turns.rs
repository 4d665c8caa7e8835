//! Rounds in which all take turns.

use anyhow::{Context, Result};

/// Lets each do the work once in every round; what each one's rounds gave. Whoever comes first is another one each time.
pub(super) fn in_turn<C, S>(
    title: &str,
    contenders: &[C],
    rounds: usize,
    name: impl Fn(&C) -> &'static str,
    mut work: impl FnMut(usize, &C) -> Result<S>,
) -> Result<Vec<Vec<S>>> {
    let mut samples: Vec<Vec<S>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        eprint!("\r\x1b[K{title}: round {} of {rounds}", round + 1);
        for turn in 0..contenders.len() {
            let index = (turn + round) % contenders.len();
            let sample = work(index, &contenders[index]);
            samples[index].push(sample.with_context(|| format!("{title}: {}", name(&contenders[index])))?);
        }
    }
    eprint!("\r\x1b[K");
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_first_once() -> Result<()> {
        let mut order = Vec::new();
        let samples = in_turn(
            "",
            &["a", "b", "c"],
            3,
            |name| *name,
            |index, name| {
                order.push(*name);
                Ok(index)
            },
        )?;
        assert_eq!(order.concat(), "abcbcacab");
        assert_eq!(samples, [[0; 3], [1; 3], [2; 3]]);
        Ok(())
    }

    #[test]
    fn a_failure_says_whose_it_is() {
        let failed = in_turn("load", &["a"], 1, |name| *name, |_, _| -> Result<()> { anyhow::bail!("no") });
        assert_eq!(failed.map_err(|error| format!("{error:#}")).err().as_deref(), Some("load: a: no"));
    }
}
