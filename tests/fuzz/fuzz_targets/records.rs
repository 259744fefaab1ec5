//! libFuzzer's entry to the check `records`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::records::run(bytes));
