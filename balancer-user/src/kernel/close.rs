//! Closing a flow: the program that does it is run by itself, on a frame that says which one.

use anyhow::Context as _;
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use balancer_ebpf::layout::{CLOSE_AT, CloseRequest};

use super::{object, pins::Pins};

/// Bytes of the frame: enough for the headers of the segments that the program makes of it.
const FRAME: usize = 128;
/// The Ethernet type of IPv4: what the program makes of the frame has to be taken for that.
const IPV4: [u8; 2] = [0x08, 0x00];

/// Whether the flow was closed.
pub(super) fn run(pins: &Pins, request: CloseRequest) -> anyhow::Result<bool> {
    let path = pins.program(object::CLOSE);
    let program = SchedClassifier::from_pin(&path).with_context(|| format!("open {}", path.display()))?;
    let mut frame = [0; FRAME];
    frame[CLOSE_AT - 2..CLOSE_AT].copy_from_slice(&IPV4);
    frame[CLOSE_AT..CLOSE_AT + CloseRequest::BYTES].copy_from_slice(&request.to_bytes());
    let options = TestRunOptions { data_in: Some(&frame), ..TestRunOptions::new() };
    let result = program.test_run(options).context("run the program that closes flows")?;
    Ok(result.return_value == 1)
}
