//! Values of maps that belong to one CPU at a time: flows by their lock, stashes and legs by whoever owns them.

use core::cell::Cell;
use core::ops::{Deref, DerefMut};

use balancer_ebpf::host::{Cpu, Step};
use balancer_ebpf::layout::{Flow, FlowSlot};

use super::cpu::Bpf;

/// Attempts to take a flow's lock: some tens of microseconds, more than any packet takes.
const SPINS: u32 = 4096;

/// A flow whose lock this CPU holds.
pub(super) struct Locked(*mut FlowSlot);

impl Locked {
    /// Takes a flow's lock. `None` if others have it for too long.
    ///
    /// # Safety
    ///
    /// The flow is an element of an array, which is never freed.
    #[inline(always)]
    pub(super) unsafe fn take(flow: *mut FlowSlot) -> Option<Self> {
        // SAFETY: as the caller says; and the lock is a cell.
        let lock = unsafe { &(*flow).lock };
        if Bpf::compare_exchange(lock, 0, 1) || contend(lock) { Some(Self(flow)) } else { None }
    }
}

impl Drop for Locked {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: array elements are never freed. The store is volatile, so it is not moved before the flow's own stores
        // by the compiler; x86 does not reorder stores.
        unsafe { Bpf::store(&(*self.0).lock, 0) };
    }
}

impl Deref for Locked {
    type Target = Flow;
    #[inline(always)]
    fn deref(&self) -> &Flow {
        // SAFETY: the lock keeps all others out.
        unsafe { &(*self.0).flow }
    }
}

impl DerefMut for Locked {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Flow {
        // SAFETY: as above.
        unsafe { &mut (*self.0).flow }
    }
}

struct Spin<'a> {
    lock: &'a Cell<u64>,
    taken: bool,
}

struct Try;
impl Step<Spin<'_>> for Try {
    #[inline(always)]
    fn step(spin: &mut Spin<'_>) -> bool {
        spin.taken = Bpf::compare_exchange(spin.lock, 0, 1);
        !spin.taken
    }
}

/// The second and further attempts, as a program of their own: there is hardly ever one.
#[inline(never)]
fn contend(lock: &Cell<u64>) -> bool {
    let mut spin = Spin { lock, taken: false };
    Bpf::repeat::<_, Try>(&mut spin, SPINS);
    spin.taken
}

/// A stash or the slot of a leg, in the hands of whoever owns it.
pub(super) struct Held<T>(*mut T);

impl<T> Held<T> {
    /// What lies there, for its owner.
    ///
    /// # Safety
    ///
    /// It is an element of an array, which is never freed.
    #[inline(always)]
    pub(super) const unsafe fn of(value: *mut T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Held<T> {
    type Target = T;
    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: array elements are never freed; what is no cell in one belongs to its owner.
        unsafe { &*self.0 }
    }
}

impl<T> DerefMut for Held<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above.
        unsafe { &mut *self.0 }
    }
}
