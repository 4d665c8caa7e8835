//! Programs that do nothing, which say what a test run costs by itself; and one that always does the same, which says how fast the
//! machine is.

use anyhow::Result;
use aya::programs::{SchedClassifier, Xdp};

use super::code::{self, Code};

/// `TC_ACT_UNSPEC`.
const TC_PASS: i32 = -1;
/// `XDP_PASS`.
const XDP_PASS: i32 = 2;

/// A TC program that passes everything on.
pub(super) fn null_tc() -> Result<SchedClassifier> {
    code::tc("null_tc", &Code::default().end(TC_PASS))
}

/// An XDP program that passes everything on.
pub(super) fn null_xdp() -> Result<Xdp> {
    code::xdp("null_xdp", &Code::default().end(XDP_PASS))
}

/// A TC program that multiplies and adds 256 times: a yardstick that nobody changes.
pub fn yardstick() -> Result<SchedClassifier> {
    const ROUNDS: i32 = 256;
    let mut code = Code::default();
    code.number(1, ROUNDS);
    code.number(0, 1);
    // Again:
    code.multiply(0, 31);
    code.add_register(0, 1);
    code.add(1, -1);
    code.again_unless_zero(1, 4);
    code::tc("yardstick", &code.end(TC_PASS))
}
