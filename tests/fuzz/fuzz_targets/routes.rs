//! libFuzzer's entry to the check `routes`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::routes::run(bytes));
