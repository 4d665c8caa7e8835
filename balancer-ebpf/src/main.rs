//! The kernel programs: glue that binds the core to packets, maps and helpers.
//!
//! On the host this is a stub, so that the workspace builds; `balancer-user/build.rs` builds it for the kernel.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch, core_intrinsics))]
#![cfg_attr(target_arch = "bpf", expect(internal_features, reason = "atomics on BPF have no other name"))]

#[cfg(target_arch = "bpf")]
mod kernel;

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("balancer-ebpf is a kernel program; `cargo xtask build` builds it, and `balancer` loads it");
}
