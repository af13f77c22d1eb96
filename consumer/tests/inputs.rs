//! The corpus of the fuzzer and events of its making, on an ordinary compiler: what `fuzz/` checks for minutes is checked
//! here for a second. A failure names the payload, which goes into `fuzz/corpus/payloads`.

// The fuzzer's own files, by their path: its crate needs another compiler.
#[expect(unreachable_pub, reason = "public in its own crate")]
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
        // The test's output is shown when it fails: its last line names the file.
        println!("{}", path.display());
        events += u32::from(check(&fs::read(&path).expect("readable")));
    }
    assert!(events > 10, "{events}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn events_of_random_bytes_are_read_as_serde_json_reads_them_and_read_back(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let payload = events::event(&bytes);
        println!("{}", String::from_utf8_lossy(&payload));
        check(&payload);
    }
}
