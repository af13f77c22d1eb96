//! Events for a table with a column of every type, made from the bytes: what is encoded reads back.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let payload = fuzz::events::event(bytes);
    // An event that fails is kept as it is: `corpus/payloads` takes it for good.
    let text = String::from_utf8_lossy(&payload).into_owned();
    let result = std::panic::catch_unwind(|| {
        if fuzz::reading::check_decode(&payload) {
            fuzz::cells::check_encode(&payload);
        }
    });
    if let Err(panic) = result {
        eprintln!("the event: {text}");
        std::panic::resume_unwind(panic);
    }
});
