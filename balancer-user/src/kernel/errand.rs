//! Errands: what is done to one flow, by a program that is run by itself, on a frame that says which flow is meant.

use anyhow::Context as _;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use balancer_ebpf::layout::{ERRAND_AT, Errand};

use super::pins::Pins;

/// Bytes of the frame: enough for the headers of the segments that the programs make of it.
const FRAME: usize = 128;
/// The Ethernet types of both families: what the programs make of the frame has to be taken for that of the flow.
const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// A pinned program that runs errands.
pub(super) struct Runner(SchedClassifier);

impl Runner {
    /// The one of this name ([`super::object`]).
    pub(super) fn open(pins: &Pins, name: &str) -> anyhow::Result<Self> {
        let path = pins.program(name);
        SchedClassifier::from_pin(&path).map(Self).with_context(|| format!("open {}", path.display()))
    }

    /// Whether it was done: the flow may be another one by now.
    pub(super) fn run(&self, errand: Errand) -> anyhow::Result<bool> {
        let mut frame = [0; FRAME];
        frame[ERRAND_AT - 2..ERRAND_AT].copy_from_slice(if errand.key.client.is_v4() { &IPV4 } else { &IPV6 });
        frame[ERRAND_AT..ERRAND_AT + Errand::BYTES].copy_from_slice(&errand.to_bytes());
        let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
        let result = self.0.test_run(options).context("run a program on one flow")?;
        Ok(result.return_value == 1)
    }
}
