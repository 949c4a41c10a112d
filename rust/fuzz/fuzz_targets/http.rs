//! Headers of servers, addresses of users, and the environment.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mountain_providers::http::fuzzing::texts(data));
