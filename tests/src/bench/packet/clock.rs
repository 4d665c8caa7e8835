//! The kernel's clock, and what it shows of programs that do nothing, or always the same.

use anyhow::Result;
use aya::programs::{SchedClassifier, Xdp};

use crate::bench::statistics::middle;
use crate::progrun::{self, Program};

/// Programs to measure others by.
pub(super) struct Clock {
    null_tc: SchedClassifier,
    null_xdp: Xdp,
    yardstick: SchedClassifier,
}

impl Clock {
    pub(super) fn new() -> Result<Self> {
        Ok(Self { null_tc: progrun::null_tc()?, null_xdp: progrun::null_xdp()?, yardstick: progrun::yardstick()? })
    }

    /// What a packet costs in a program that does nothing.
    pub(super) fn null(&self, program: Program, interface: u32, frame: &[u8]) -> Result<f64> {
        let nothing = match program {
            Program::Tc => progrun::run(&self.null_tc, &progrun::skb_context(interface), frame)?,
            Program::Xdp => progrun::run(&self.null_xdp, &progrun::xdp_context(interface, frame.len()), frame)?,
        };
        Ok(nothing.duration.as_nanos() as f64)
    }

    /// What the yardstick takes.
    pub(super) fn yardstick(&self, samples: usize) -> Result<f64> {
        let sample = |_| {
            let answer = progrun::run(&self.yardstick, &progrun::skb_context(1), &[0; 64])?;
            Ok(answer.duration.as_nanos() as f64)
        };
        Ok(middle((0..samples).map(sample).collect::<Result<_>>()?))
    }
}
