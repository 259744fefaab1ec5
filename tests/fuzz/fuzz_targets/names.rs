//! libFuzzer's entry to the check `names`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::names::run(bytes));
