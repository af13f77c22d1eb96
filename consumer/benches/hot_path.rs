//! The hot path without services: nanoseconds per event for decode, encode, and both; microseconds for putting ten
//! thousand rows in order and making a COPY of them. `make bench-micro`. Each turn takes the next of a thousand
//! different events, so that no branch predictor learns one by heart.

mod common; // events, tables, batches

use common::{Batches, EVENTS, Events, Rows, Turns, copy};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use storage_consumer::pipeline::decode::Decoder;

fn main() {
    divan::main();
}

#[divan::bench(args = EVENTS, sample_size = 4096, sample_count = 50)]
fn decode(bencher: Bencher<'_, '_>, events: Events) {
    let mut turns = Turns::new(events);
    let mut decoder = Decoder::default();
    bencher.counter(bytes(&turns)).bench_local(|| {
        let event = decoder.decode(Some(turns.next())).expect("valid");
        black_box(event.event_type().len())
    });
}

#[divan::bench(args = [Events::Server], sample_size = 4096, sample_count = 50)]
fn encode(bencher: Bencher<'_, '_>, events: Events) {
    // One event again and again: others would be another decoder's, whose names are strangers to the encoder.
    let mut turns = Turns::new(events);
    let bytes = bytes(&turns);
    let mut decoder = Decoder::default();
    let event = decoder.decode(Some(turns.next())).expect("valid");
    let mut rows = Rows::new();
    bencher
        .counter(bytes)
        .bench_local(|| rows.encode(black_box(&event)));
}

/// Both, which is what an event costs.
#[divan::bench(args = EVENTS, sample_size = 4096, sample_count = 50)]
fn decode_and_encode(bencher: Bencher<'_, '_>, events: Events) {
    let mut turns = Turns::new(events);
    let mut decoder = Decoder::default();
    let mut rows = Rows::new();
    bencher.counter(bytes(&turns)).bench_local(|| {
        let event = decoder.decode(Some(turns.next())).expect("valid");
        rows.encode(&event);
    });
}

/// The yardstick: what reading into a tree costs, before any of it is a row.
#[divan::bench(args = EVENTS, sample_size = 4096, sample_count = 50)]
fn serde_json_value(bencher: Bencher<'_, '_>, events: Events) {
    let mut turns = Turns::new(events);
    bencher
        .counter(bytes(&turns))
        .bench_local(|| serde_json::from_slice::<serde_json::Value>(turns.next()).expect("valid"));
}

/// Putting the rows of a batch in the order of their key: its time ÷ 10,000 is what a row costs.
#[divan::bench(sample_size = 8, sample_count = 50)]
fn sort(bencher: Bencher<'_, '_>) {
    let mut batches = Batches::new();
    bencher.counter(ItemsCount::new(Batches::ROWS)).bench_local(|| {
        batches.sort(|rows| {
            black_box(rows);
        });
    });
}

/// Putting the sorted rows of a batch together as pieces for a connection: its time ÷ 10,000 is what a row costs.
#[divan::bench(sample_size = 8, sample_count = 50)]
fn copy_data(bencher: Bencher<'_, '_>) {
    Batches::new().sort(|rows| {
        bencher
            .counter(ItemsCount::new(Batches::ROWS))
            .bench_local(|| copy(black_box(rows)));
    });
}

fn bytes(turns: &Turns) -> BytesCount {
    BytesCount::new(turns.bytes())
}
