//! See `dpfw_fuzz_bodies::facts`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dpfw_fuzz_bodies::facts::body(data));
