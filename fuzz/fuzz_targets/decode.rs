//! Any bytes: never a panic, and what is read is what `serde_json` reads; what can be encoded reads back.
#![no_main]

libfuzzer_sys::fuzz_target!(|payload: &[u8]| {
    if fuzz::reading::check_decode(payload) {
        fuzz::cells::check_encode(payload);
    }
});
