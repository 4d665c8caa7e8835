//! Loops and shared memory, as BPF has them.

use core::cell::Cell;
use core::ffi::{c_long, c_void};
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use aya_ebpf::helpers::bpf_loop;
use balancer_ebpf::host::{Cpu, Step};

/// The kernel's CPU.
#[derive(Clone, Copy)]
pub(super) struct Bpf;

/// What `bpf_loop` calls. Its first argument needs a name, or the kernel refuses the program's BTF.
unsafe extern "C" fn trampoline<C, S: Step<C>>(_index: u32, context: *mut c_void) -> c_long {
    // SAFETY: `repeat` passes its own exclusive reference, and outlives the loop.
    let more = S::step(unsafe { &mut *context.cast::<C>() });
    c_long::from(!more)
}

impl Cpu for Bpf {
    #[inline(always)]
    fn repeat<C, S: Step<C>>(context: &mut C, max: u32) {
        let callback = trampoline::<C, S> as *const () as *mut c_void;
        // SAFETY: the callback has the signature that the helper calls, and the context is on this program's stack.
        unsafe { bpf_loop(max, callback, core::ptr::from_mut(context).cast(), 0) };
    }

    #[inline(always)]
    fn copy<T: Copy>(to: &mut T, from: &T) {
        const { assert!(size_of::<T>().is_multiple_of(8), "of whole words") };
        let (to, from) = (core::ptr::from_mut(to).cast::<u64>(), core::ptr::from_ref(from).cast::<u64>());
        for word in 0..size_of::<T>() / 8 {
            // SAFETY: as many words as the two values have. Volatile, so that none is kept for later.
            unsafe { to.add(word).write_volatile(from.add(word).read_volatile()) };
        }
    }

    #[inline(always)]
    fn load(word: &Cell<u64>) -> u64 {
        // SAFETY: the reference is valid and aligned; aligned words are never torn.
        unsafe { word.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn store(word: &Cell<u64>, value: u64) {
        // SAFETY: as above, and a `Cell` may be written through a shared reference.
        unsafe { word.as_ptr().write_volatile(value) }
    }

    #[inline(always)]
    fn compare_exchange(word: &Cell<u64>, old: u64, new: u64) -> bool {
        // SAFETY: as above.
        unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(word.as_ptr(), old, new).1
        }
    }

    #[inline(always)]
    fn fetch_add(word: &Cell<u64>, value: u64) -> u64 {
        // SAFETY: as above.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(word.as_ptr(), value) }
    }
}
