//! The fuzzer's target for [`dlc_fuzz::data`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| dlc_fuzz::data(bytes));
