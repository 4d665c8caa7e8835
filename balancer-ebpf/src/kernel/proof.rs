//! Bounds that the verifier can follow. LLVM knows too much: it folds a comparison into one of another register, or leaves it
//! out, and then what is known of the length never reaches the helper that asks for it.

use core::arch::asm;

use balancer_ebpf::net::IPV6_BASE;

/// `value`, of which LLVM no longer knows where it came from.
#[inline(always)]
pub(super) fn opaque(value: usize) -> usize {
    let mut value = value;
    // SAFETY: moves a register to itself.
    unsafe { asm!("{0} = {0}", inout(reg) value) };
    value
}

/// `len` if it is in `LEAST..=MOST`, in a register that is known to be so. Kernels that read it less well than the newest: up
/// to Linux 6.12 what is learned of a sum is not carried over to its terms, and up to 6.7 `len != 0` does not make it
/// positive. So `LEAST` had better be above 1.
#[inline(always)]
pub(super) fn within<const LEAST: usize, const MOST: usize>(len: u32) -> Option<u32> {
    let len = opaque(len as usize);
    if len > MOST {
        return None;
    }
    // Made opaque again, or both comparisons would become one of `len - LEAST`.
    let len = opaque(len);
    if len < LEAST { None } else { Some(len as u32) }
}

/// Where a frame's window begins, as the verifier can see: not beyond [`IPV6_BASE`], which has the bits of both beginnings.
#[inline(always)]
pub(super) fn bounded(base: u32) -> usize {
    opaque(base as usize) & IPV6_BASE as usize
}
