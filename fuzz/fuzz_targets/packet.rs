#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| balancer_fuzz::packet::check(data));
