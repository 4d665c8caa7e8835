//! Map values as bytes and back.
//!
//! aya wants `Pod` values, which the layout's types are not, since those with `Cell`s are shared with the programs. A map
//! call copies, so here a value is a plain array of bytes for as long as it is on its way.

#![expect(unsafe_code, reason = "a value's bytes can only be reached through a pointer")]

use std::{mem::size_of, ptr};

use balancer_ebpf::layout::{
    Backend, FlowKey, FlowSlot, Globals, LegSlot, Listener, ListenerKey, Pin, PinEvent, PinKey, Policy, RuleSet, Sieve,
    SourceKey, Traffic,
};

/// A type of the layout.
///
/// # Safety
///
/// The type is `repr(C)` without padding, and every pattern of bits is a value of it.
pub unsafe trait Layout: Sized {}

// SAFETY: the layout's module says so of all its types: integers and arrays of them, explicit `zero` fields for padding.
unsafe impl Layout for Backend {}
// SAFETY: as above.
unsafe impl Layout for FlowKey {}
// SAFETY: as above.
unsafe impl Layout for FlowSlot {}
// SAFETY: as above.
unsafe impl Layout for Globals {}
// SAFETY: as above.
unsafe impl Layout for Sieve {}
// SAFETY: as above.
unsafe impl Layout for LegSlot {}
// SAFETY: as above.
unsafe impl Layout for Listener {}
// SAFETY: as above.
unsafe impl Layout for ListenerKey {}
// SAFETY: as above.
unsafe impl Layout for Pin {}
// SAFETY: as above.
unsafe impl Layout for PinEvent {}
// SAFETY: as above.
unsafe impl Layout for PinKey {}
// SAFETY: as above.
unsafe impl Layout for Policy {}
// SAFETY: as above.
unsafe impl Layout for RuleSet {}
// SAFETY: as above.
unsafe impl Layout for SourceKey {}
// SAFETY: as above.
unsafe impl Layout for Traffic {}

/// The bytes of a value; `N` must be its size.
pub fn to_bytes<T: Layout, const N: usize>(value: &T) -> [u8; N] {
    const { assert!(size_of::<T>() == N) };
    // SAFETY: `value` is valid for reads of its size, which is N, and has no padding, so all of its bytes are initialised.
    // `Cell`s in it are not shared with another thread, since `&T` of such a type is not `Sync`.
    unsafe { ptr::read(ptr::from_ref(value).cast::<[u8; N]>()) }
}

/// The value of some bytes; `N` must be its size.
pub fn from_bytes<T: Layout, const N: usize>(bytes: &[u8; N]) -> T {
    const { assert!(size_of::<T>() == N) };
    // SAFETY: the source is valid for reads of N bytes, the size of `T`; any bits are a `T`; the read may be unaligned.
    unsafe { ptr::read_unaligned(bytes.as_ptr().cast::<T>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let listener = Listener { service: 7, offers: 5, mss: 1460, scale: 9 };
        let bytes: [u8; 16] = to_bytes(&listener);
        assert_eq!(bytes[..4], 7u32.to_ne_bytes());
        assert_eq!(from_bytes::<Listener, 16>(&bytes), listener);
    }
}
