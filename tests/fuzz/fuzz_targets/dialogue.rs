//! libFuzzer's entry to the check `dialogue`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::dialogue::run(bytes));
