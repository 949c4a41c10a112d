//! Output of programs on terminals.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mountain_providers::process::fuzzing::screen(data));
