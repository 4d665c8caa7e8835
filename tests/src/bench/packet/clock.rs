//! How fast the machine is: what a program takes that always does the same.

use anyhow::Result;

use crate::bench::statistics::middle;
use crate::progrun;

/// Nanoseconds that the yardstick takes.
pub(super) fn yardstick(samples: usize) -> Result<f64> {
    let program = progrun::yardstick()?;
    let sample = |_| {
        let answer = progrun::run(&program, &progrun::skb_context(1), &[0; 64])?;
        Ok(answer.duration.as_nanos() as f64)
    };
    Ok(middle((0..samples).map(sample).collect::<Result<_>>()?))
}
