//! libFuzzer's entry to the check `messages`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::messages::run(bytes));
