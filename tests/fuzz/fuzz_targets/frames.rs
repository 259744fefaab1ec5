//! libFuzzer's entry to the check `frames`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::frames::run(bytes));
