#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    rhumb_fuzz::pin::check(bytes);
});
