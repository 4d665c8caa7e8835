//! TCP options (RFC 9293, section 3.1; RFC 7323; RFC 2018): timestamps, SACK, MSS, window scale.

use super::{Frame, HEADERS, Segment};
use crate::host::{Cpu, Step};

/// Two NOPs, kind 8, length 10: how Linux, the BSDs, macOS and Windows lay a lone timestamp out.
const TIMESTAMP_LAYOUT: [u8; 4] = [1, 1, 8, 10];

/// No window scale was offered.
pub const NO_SCALE: u32 = 15;

/// The options of a SYN, and scratch memory for reading them.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Options {
    pub bytes: [u8; 40],
    at: u32,
    len: u32,
    /// 0 if there was none.
    pub mss: u32,
    /// [`NO_SCALE`] if there was none.
    pub scale: u32,
    pub sack_permitted: u32,
    pub timestamp_at: u32,
    pub sack_at: u32,
    pub sacks: u32,
    pub tsval: u32,
    pub tsecr: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bytes: [0; 40],
            at: 0,
            len: 0,
            mss: 0,
            scale: NO_SCALE,
            sack_permitted: 0,
            timestamp_at: 0,
            sack_at: 0,
            sacks: 0,
            tsval: 0,
            tsecr: 0,
        }
    }
}

struct Reader<'a> {
    options: &'a mut Options,
}

/// Indexes that stay inside whatever an option's length says: the buffer is 40 bytes, and 40 is no power of two.
#[inline(always)]
fn byte(bytes: &[u8; 40], at: u32) -> u8 {
    *bytes.get(at as usize).unwrap_or(&0)
}

struct One;
impl Step<Reader<'_>> for One {
    #[inline(always)]
    fn step(reader: &mut Reader<'_>) -> bool {
        let options = &mut *reader.options;
        let at = options.at & 63;
        if at >= options.len {
            return false;
        }
        let kind = byte(&options.bytes, at);
        if kind == 0 {
            return false;
        }
        if kind == 1 {
            options.at = at + 1;
            return true;
        }
        let len = u32::from(byte(&options.bytes, at + 1));
        if len < 2 || at + len > options.len {
            return false;
        }
        let word = |o: u32| {
            u32::from_be_bytes([
                byte(&options.bytes, at + o),
                byte(&options.bytes, at + o + 1),
                byte(&options.bytes, at + o + 2),
                byte(&options.bytes, at + o + 3),
            ])
        };
        match (kind, len) {
            (2, 4) => options.mss = word(2) >> 16,
            (3, 3) => options.scale = u32::from(byte(&options.bytes, at + 2)).min(14),
            (4, 2) => options.sack_permitted = 1,
            (5, 10 | 18 | 26 | 34) => {
                options.sack_at = HEADERS as u32 + at + 2;
                options.sacks = (len - 2) / 8;
            }
            (8, 10) => {
                options.tsval = word(2);
                options.tsecr = word(6);
                options.timestamp_at = HEADERS as u32 + at + 2;
            }
            _ => {}
        }
        options.at = at + len;
        true
    }
}

/// Reads the options of a SYN as Linux lays them out, and whoever wants to be as fast: MSS, SACK permitted, timestamp, NOP and window scale.
/// False if they are others.
#[inline(always)]
fn read_usual<F: Frame>(frame: &mut F, options: &mut Options) -> bool {
    let Some(headers) = frame.headers_syn() else { return false };
    let [2, 4, m, n, 4, 2, 8, 10, a, b, c, d, e, f, g, h, 1, 3, 3, scale] = headers[HEADERS..] else { return false };
    options.mss = u32::from(u16::from_be_bytes([m, n]));
    options.sack_permitted = 1;
    options.tsval = u32::from_be_bytes([a, b, c, d]);
    options.tsecr = u32::from_be_bytes([e, f, g, h]);
    options.timestamp_at = HEADERS as u32 + 8;
    options.scale = u32::from(scale).min(14);
    true
}

/// Reads all options of the frame into `options`. False if they could not be read.
#[inline(always)]
pub fn read_options<C: Cpu, F: Frame>(frame: &mut F, len: u32, options: &mut Options) -> bool {
    options.at = 0;
    options.len = len;
    options.mss = 0;
    options.scale = NO_SCALE;
    options.sack_permitted = 0;
    options.timestamp_at = 0;
    options.sack_at = 0;
    options.sacks = 0;
    options.tsval = 0;
    options.tsecr = 0;
    if len == 0 {
        return true;
    }
    if len == 20 && read_usual(frame, options) {
        return true;
    }
    if !frame.load_options(&mut options.bytes, len) {
        return false;
    }
    C::repeat::<_, One>(&mut Reader { options }, 40);
    true
}

/// Completes `segment` with its timestamp, if it has that and no other option, or none at all.
#[inline(always)]
pub fn read_lone_timestamp<F: Frame>(frame: &mut F, segment: &mut Segment) -> bool {
    if segment.options == 0 {
        return true;
    }
    if segment.options != 12 {
        return false;
    }
    let Some(h) = frame.headers_ts() else { return false };
    if [h[54], h[55], h[56], h[57]] != TIMESTAMP_LAYOUT {
        return false;
    }
    segment.timestamp_at = 58;
    segment.tsval = u32::from_be_bytes([h[58], h[59], h[60], h[61]]);
    segment.tsecr = u32::from_be_bytes([h[62], h[63], h[64], h[65]]);
    true
}

/// Completes `segment` with timestamp and SACK: by one comparison if they lie as they nearly always do.
#[inline(always)]
pub fn read_timestamp<C: Cpu, F: Frame>(frame: &mut F, segment: &mut Segment, options: &mut Options) -> bool {
    if read_lone_timestamp(frame, segment) {
        return true;
    }
    if !read_options::<C, F>(frame, segment.options, options) {
        return false;
    }
    segment.timestamp_at = options.timestamp_at;
    segment.tsval = options.tsval;
    segment.tsecr = options.tsecr;
    segment.sack_at = options.sack_at;
    segment.sacks = options.sacks;
    true
}
