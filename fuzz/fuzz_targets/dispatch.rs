//! See `dpfw_fuzz_bodies::dispatch`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dpfw_fuzz_bodies::dispatch::body(data));
