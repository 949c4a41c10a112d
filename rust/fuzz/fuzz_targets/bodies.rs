//! Packed bodies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mountain_providers::http::fuzzing::body(data));
