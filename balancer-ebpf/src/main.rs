#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(target_arch = "bpf", allow(internal_features))]
#[cfg(not(target_arch = "bpf"))]
fn main() {}
#[cfg(target_arch = "bpf")]
mod kernel {
    use aya_ebpf::{macros::{classifier, map}, maps::Array, programs::TcContext, bindings::TC_ACT_UNSPEC};
    use core::intrinsics::{atomic_cxchg, atomic_xadd, AtomicOrdering::*};
    #[map] static A: Array<u64> = Array::with_max_entries(4, 0);
    #[classifier] pub fn balancer_tc(ctx: TcContext) -> i32 {
        if let Some(p) = A.get_ptr_mut(0) { 
            unsafe { if atomic_cxchg::<u64, {SeqCst}, {SeqCst}>(p, 0, 5).1 { atomic_xadd::<u64, u64, {Relaxed}>(p, 3); 
              (*(p as *const core::sync::atomic::AtomicU64)).store(ctx.len() as u64, core::sync::atomic::Ordering::Relaxed);
              atomic_xadd::<u32, u32, {SeqCst}>(p as *mut u32, 1);
              } } }
        TC_ACT_UNSPEC as i32
    }
    #[panic_handler] fn panic(_: &core::panic::PanicInfo) -> ! { loop {} }
    #[unsafe(link_section="license")] #[unsafe(no_mangle)] static LICENSE: [u8;4] = *b"GPL\0";
}
