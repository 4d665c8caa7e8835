//! Sums of a frame's bytes for checksums, by the helper that the kernel has for it.

use core::ffi::c_void;

use aya_ebpf::helpers::bpf_csum_diff;
use balancer_ebpf::layout::Buffer;
use balancer_ebpf::net::LONGEST;

/// Bytes that the helper takes at once: before Linux 6.13 it copied them first, to a place of this size.
const CHUNK: u32 = 512;

/// The sum of `len` bytes (at least 1) from `at` on, which `load` brings into the buffer.
#[inline(always)]
pub(super) fn over(
    at: u32,
    len: u32,
    buffer: &mut Buffer,
    load: impl Fn(u32, *mut c_void, u32) -> bool,
) -> Option<u64> {
    let (mut at, mut left, mut sum) = (at, len, 0u32);
    for _ in 0..LONGEST / CHUNK {
        let chunk = (left.min(CHUNK).wrapping_sub(1) & (CHUNK - 1)) + 1;
        // Zeroes up to the next word, and beyond: the helper takes whole words.
        buffer.words[(chunk as usize >> 3) & 127] = 0;
        let bytes = buffer.words.as_mut_ptr();
        if !load(at, bytes.cast(), chunk) {
            return None;
        }
        let whole = (chunk + 3) & !3;
        // SAFETY: at most a chunk and three bytes of the buffer; nothing is subtracted.
        let next = unsafe { bpf_csum_diff(core::ptr::null_mut(), 0, bytes.cast(), whole, sum) };
        if next < 0 {
            return None;
        }
        sum = next as u32;
        if left <= CHUNK {
            return Some(u64::from(sum));
        }
        at += CHUNK;
        left -= CHUNK;
    }
    None
}
