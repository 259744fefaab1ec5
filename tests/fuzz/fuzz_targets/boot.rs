//! libFuzzer's entry to the check `boot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::boot::run(bytes));
