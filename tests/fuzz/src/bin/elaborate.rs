//! The fuzzer's target for [`dlc_fuzz::elaborate`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        dlc_fuzz::elaborate(text);
    }
});
