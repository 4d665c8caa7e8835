//! The edge: two programs, one core.

#[macro_use]
mod steps;
mod sum;

mod cpu;
mod fib;
mod functions;
mod lock;
mod maps;
mod proof;
mod tc;
mod xdp;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // A reachable panic would be a loop without an end, which the verifier refuses: so there is none.
    loop {}
}

/// Helpers that rewrite packets are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
