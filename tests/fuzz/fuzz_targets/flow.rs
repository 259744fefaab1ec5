//! libFuzzer's entry to the check `flow`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| offshoot_fuzz_checks::flow::run(bytes));
