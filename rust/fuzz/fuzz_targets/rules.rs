//! Files of rules, as a watch reads them and as a walk does.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mountain_providers::watch::fuzzing::rules(data));
