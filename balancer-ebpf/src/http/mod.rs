//! Heads of HTTP/1 messages: where one ends, what follows it, and which session it speaks of.
//!
//! A head is scanned from its first byte whenever more of it has arrived; nothing is carried from one packet to the next
//! but the bytes themselves. What [`Scanned`] does not call complete is never guessed at: a message that two servers
//! might read differently has its own reason, and its flow is never decided again.
//!
//! The scan is one bounded loop with a line per turn ([`lines`]), because a callback costs more than the work of
//! finding the end of a line eight bytes at a time ([`swar`]).

mod authentication;
mod body;
mod chunk;
mod head;
mod ids;
mod length;
mod lines;
mod names;
mod request;
mod response;
mod scanned;
mod swar;
#[cfg(test)]
mod tests;

pub use body::Body;
pub use chunk::*;
pub use head::*;
pub use scanned::Scanned;

use crate::host::Cpu;
use crate::layout::{Buffer, SessionRule};
pub(crate) use ids::{lower_name_at, name_at, trim};
use lines::{Line, Walk};
pub(crate) use swar::{ahead, byte_at, equal, first, keep, leading_blanks, odd, splat, word_at};

/// Bytes of a head at most, its blank line included: what Tomcat and nginx take by default.
pub const HEAD_LIMIT: u32 = 8192;
/// Turns of the scan at most. A head of [`HEAD_LIMIT`] bytes that a client really sends takes a tenth of it; one made of
/// separators alone would cost a hundred times its share.
const MAX_TURNS: u32 = 1024;

/// What a scan works on. It lies in a map value, because a loop may change only memory that the verifier does not track.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Scan {
    /// The result; whole only if the scan was complete.
    pub head: Head,
    /// With `fold`: which bytes stop the search in a value ([`swar::stops`]).
    floor: u64,
    fold: u64,
    /// What the bytes at `cursor` are part of: one of the modes in [`lines`].
    mode: u32,
    /// What has not been looked at yet.
    cursor: u32,
    /// 1 if the byte at `stop_at` stopped the last search and has not been acted on.
    stopped: u32,
    stop_at: u32,
    /// Where the present line begins.
    line: u32,
    /// Where the present item of a list, or value, begins.
    item: u32,
    /// Where the scan has to stop: the bytes there are, or the limit.
    end: u32,
    /// A [`Scanned`], or [`RUNNING`].
    result: u32,
    /// The message is a response.
    response: u32,
    /// What the attributes of the present Set-Cookie have said so far.
    expiry: u32,
    /// The value of the present Set-Cookie.
    pending: Span,
    /// What its path looks like, and that of the one that gave the head's id; 0 for none.
    path: u64,
    set_path: u64,
}

// Map values have no padding: every byte of them is a field's.
const _: () = assert!(size_of::<Head>() == 120 && size_of::<Scan>() == 120 + 2 * 8 + 10 * 4 + 8 + 2 * 8);

/// Nothing has ended the scan yet.
const RUNNING: u32 = u32::MAX;

impl Scan {
    /// A scan of nothing.
    pub const fn new() -> Self {
        Self {
            head: Head::EMPTY,
            floor: 0,
            fold: 0,
            mode: 0,
            cursor: 0,
            stopped: 0,
            stop_at: 0,
            line: 0,
            item: 0,
            end: 0,
            result: 0,
            response: 0,
            expiry: 0,
            pending: Span::NONE,
            path: 0,
            set_path: 0,
        }
    }

    #[inline(always)]
    fn begin(&mut self, len: u32, response: u32) {
        self.head.clear();
        self.end = if len < HEAD_LIMIT { len } else { HEAD_LIMIT };
        self.cursor = 0;
        self.stopped = 0;
        self.line = 0;
        self.result = RUNNING;
        self.response = response;
    }

    /// How the scan ended.
    #[inline(always)]
    pub const fn scanned(&self) -> Scanned {
        Scanned::from_number(self.result)
    }

    /// Ends the scan; false, because the loop does not go on.
    #[inline(always)]
    fn stop(&mut self, scanned: Scanned) -> bool {
        self.result = scanned as u32;
        false
    }

    /// Ends the scan where the bytes end.
    #[inline(always)]
    fn starve(&mut self) -> bool {
        self.stop(if self.end < HEAD_LIMIT { Scanned::Incomplete } else { Scanned::TooLong })
    }
}

impl Default for Scan {
    fn default() -> Self {
        Self::new()
    }
}

/// Scans the head of a request that begins at the start of `buffer`, of which `len` bytes are there.
#[inline(always)]
pub fn scan_request<P: Cpu>(scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
    scan.begin(len, 0);
    request::begin(scan);
    run::<P>(scan, buffer, rule)
}

/// Scans the head of a response in the same way.
#[inline(always)]
pub fn scan_response<P: Cpu>(scan: &mut Scan, buffer: &Buffer, len: u32, rule: &SessionRule) -> Scanned {
    scan.begin(len, 1);
    if response::status_line(scan, buffer) { run::<P>(scan, buffer, rule) } else { Scanned::from_number(scan.result) }
}

#[inline(always)]
fn run<P: Cpu>(scan: &mut Scan, buffer: &Buffer, rule: &SessionRule) -> Scanned {
    let mut walk = Walk { scan, buffer, rule };
    P::repeat::<Walk, Line>(&mut walk, MAX_TURNS);
    Scanned::from_number(walk.scan.result)
}
