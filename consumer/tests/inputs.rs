//! The corpus of the fuzzer and events of its making, on an ordinary compiler: what `fuzz/` checks for minutes is checked
//! here for a second. A failure names the payload, which goes into `fuzz/corpus/payloads`.

// The fuzzer's own files, by their path: its crate needs another compiler.
#[expect(
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "public in its own crate; and its numbers are small"
)]
#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use self::fuzz::{cells, events, reading};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

/// Whether it is an event.
fn check(payload: &[u8]) -> bool {
    let event = reading::check_decode(payload);
    if event {
        cells::check_encode(payload);
    }
    event
}

#[test]
fn the_corpus_is_read_as_serde_json_reads_it_and_reads_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/payloads");
    let files = fs::read_dir(&folder).expect("the corpus");
    let mut events = 0;
    for file in files {
        let path = file.expect("a file").path();
        let payload = fs::read(&path).expect("readable");
        let event = std::panic::catch_unwind(|| check(&payload));
        events += u32::from(event.unwrap_or_else(|_| panic!("{}", path.display())));
    }
    assert!(events > 10, "{events}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn events_of_random_bytes_are_read_as_serde_json_reads_them_and_read_back(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let payload = events::event(&bytes);
        let checked = std::panic::catch_unwind(|| check(&payload));
        prop_assert!(checked.is_ok(), "{}", String::from_utf8_lossy(&payload));
    }
}
