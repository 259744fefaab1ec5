//! libFuzzer's entry to the check `targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::targets::run(bytes));
