//! See `dpfw_fuzz_bodies::knock`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dpfw_fuzz_bodies::knock::body(data));
