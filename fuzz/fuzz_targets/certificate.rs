//! See `dpfw_fuzz_bodies::certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dpfw_fuzz_bodies::certificate::body(data));
