//! What a batch holds, moves, sorts, refuses and forgets, by examples.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;

const TOPIC: &str = "topic";

fn incoming(partition: i32, offset: i64, payload: &[u8]) -> Incoming<'_> {
    let at = Coordinates {
        topic: TOPIC,
        partition: Partition(partition),
        offset: Offset(offset),
        timestamp_ms: Some(1),
        key: Some(b"key"),
    };
    Incoming {
        at,
        payload: Some(payload),
    }
}

fn opened(tables: usize) -> Batch {
    let mut batch = Batch::default();
    batch.open(1, tables, Instant::now());
    batch
}

/// A row whose bytes are its key, so that the order can be read from the bytes.
fn push_row(batch: &mut Batch, partition: i32, offset: i64, key: &[u8]) {
    let (rows, keys) = batch.row_buffers(0);
    rows.extend_from_slice(key);
    keys.extend_from_slice(key);
    batch.push(
        &incoming(partition, offset, key),
        Offset(0),
        Fate::Row { table: 0 },
    );
}

fn body(rows: &SortedRows, part: Range<usize>) -> Vec<u8> {
    let copy: Vec<u8> = rows
        .copy_data(part, 3)
        .flat_map(|piece: Bytes| piece.to_vec())
        .collect();
    copy[19..copy.len() - 2].to_vec()
}

#[test]
fn ranges_move_from_the_expected_offset_to_the_one_after_the_last_message() {
    let mut batch = opened(1);
    push_row(&mut batch, 3, 10, b"a");
    push_row(&mut batch, 3, 15, b"b"); // offsets 11 to 14 hold no message: compaction, transaction markers
    push_row(&mut batch, 1, 7, b"c");
    let [third, first] = batch.ranges() else {
        panic!("two partitions: {:?}", batch.ranges())
    };
    assert_eq!(
        (third.partition, third.next, third.tally.stored),
        (Partition(3), Offset(16), 2)
    );
    assert_eq!(
        (first.partition, first.next, first.tally.stored),
        (Partition(1), Offset(8), 1)
    );
}

#[test]
fn rows_leave_in_the_order_of_their_keys_and_equal_keys_in_order_of_arrival() {
    let mut batch = opened(1);
    let keys: [&[u8]; 5] = [
        b"server-0002-aaaaaaaaaaaaaaaaaaaa2",
        b"server-0001",
        b"server-0002-aaaaaaaaaaaaaaaaaaaa1",
        b"server-0001",
        b"z",
    ];
    for (offset, key) in (0..).zip(keys) {
        push_row(&mut batch, 0, offset, key);
    }
    let sorted = batch.sort(0);
    let expected: Vec<u8> = [keys[1], keys[3], keys[2], keys[0], keys[4]].concat();
    assert_eq!(body(&sorted, 0..5), expected);
    assert_eq!(body(&sorted, 1..3), [keys[3], keys[2]].concat());
    assert_eq!((sorted.message(0), sorted.message(1)), (1, 3));
}

#[test]
fn a_refused_row_becomes_a_dead_letter_with_its_bytes_and_the_rest_stays() {
    let mut batch = opened(1);
    for (offset, key) in (0..).zip([b"b", b"a", b"c"]) {
        push_row(&mut batch, 0, offset, key);
    }
    let sorted = batch.sort(0);
    let refusal = DatabaseRefusal {
        row: 1,
        sqlstate: "23514".into(),
        detail: "check".into(),
    };
    batch.refuse(0, &sorted, vec![refusal]);
    assert_eq!(
        batch.tally(),
        Tally {
            stored: 2,
            dead_lettered: 1,
            skipped: 0
        }
    );
    let names = ["metrics".to_owned()];
    let letters: Vec<_> = batch.dead_letters(&names).collect();
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0].offset, letters[0].payload, letters[0].key),
        (Offset(0), Some(&b"b"[..]), Some(&b"key"[..]))
    );
    assert_eq!(
        (letters[0].sqlstate, letters[0].target_table),
        (Some("23514"), Some("metrics"))
    );
    let again = batch.sort(0);
    assert_eq!(body(&again, 0..2), b"ac");
}

#[test]
fn a_forgotten_partition_leaves_nothing_behind() {
    let mut batch = opened(1);
    push_row(&mut batch, 0, 0, b"b");
    push_row(&mut batch, 1, 0, b"x");
    push_row(&mut batch, 0, 1, b"a");
    batch.forget(&|partition| partition == Partition(1));
    push_row(&mut batch, 0, 2, b"c");
    push_row(&mut batch, 1, 9, b"d"); // it comes back, from where somebody else has left it
    let sorted = batch.sort(0);
    assert_eq!(body(&sorted, 0..4), b"abcd");
    assert_eq!((batch.tally().consumed(), batch.len()), (4, 4));
    assert_eq!((batch.replay(TOPIC).count(), batch.measures().count()), (4, 4));
    batch.forget(&|_| true);
    assert!(batch.is_empty() && batch.opened_at().is_none());
}

proptest! {
    #[test]
    fn sorting_is_what_a_stable_sort_of_the_keys_gives(keys in prop::collection::vec("[ab]{1,40}", 0..200)) {
        let mut batch = opened(1);
        // Keys end so that none is the beginning of another, as encode makes them.
        let keys: Vec<Vec<u8>> = keys.into_iter().map(|key| [key.as_bytes(), b"\0"].concat()).collect();
        for (offset, key) in (0..).zip(&keys) {
            push_row(&mut batch, 0, offset, key);
        }
        let sorted = batch.sort(0);
        let mut expected: Vec<(u32, &Vec<u8>)> = (0..).zip(&keys).collect();
        expected.sort_by_key(|(_, key)| *key);
        prop_assert_eq!(body(&sorted, 0..keys.len()), expected.iter().flat_map(|(_, key)| key.iter().copied()).collect::<Vec<u8>>());
        for (place, (message, _)) in expected.iter().enumerate() {
            prop_assert_eq!(sorted.message(place), *message);
        }
    }
}
