//! Patterns, globs and the lines that they find.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mountain_providers::search::fuzzing::search(data));
