//! What a log may hold beside plain messages: transactions, gaps that compaction made, every compression, messages
//! of the largest size, tombstones.

use crate::consumer::{
    Consumer, PATIENCE, count, expect_settled, expect_sums, last_statistics, migrate_with_coordinates, query,
};
use crate::shared::{Scene, kafka, postgres};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use workbench::services::wait_until;

/// A producer with further properties.
fn producer(properties: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", kafka().bootstrap());
    for (key, value) in properties {
        config.set(*key, *value);
    }
    config.create().expect("a producer")
}

/// An event that names its number, and is as long as the padding makes it.
fn event(number: u32, padding: &str) -> String {
    format!(
        r#"{{"type": "server_metric", "server_id": "s{number}", "timestamp": "2025-01-01T12:00:00", "rack_id": "{padding}"}}"#
    )
}

/// Queues one message for partition 0.
fn queue(producer: &BaseProducer, scene: &Scene, key: Option<&str>, payload: Option<&str>) {
    let mut record = BaseRecord::<str, str>::to(&scene.topic).partition(0);
    record.key = key;
    record.payload = payload;
    producer
        .send(record)
        .map_err(|(error, _)| error)
        .expect("the message is queued");
}

/// Sends numbered events, all of them before it returns.
fn send(producer: &BaseProducer, scene: &Scene, numbers: Range<u32>) {
    for number in numbers {
        queue(producer, scene, None, Some(&event(number, "")));
    }
    producer.flush(PATIENCE).expect("all messages are sent");
}

/// The record batches of partition 0 as the broker has them on its disk: of each, the number of its compression and
/// its count of records. (The format is described in Kafka's documentation, "Message Format".)
fn stored_batches(scene: &Scene) -> Vec<(u8, u32)> {
    let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
    let mut found = Vec::new();
    let folder = kafka().partition_folder(1, &scene.topic, 0);
    for file in fs::read_dir(folder).expect("the log's folder").flatten() {
        let path = file.path();
        // The cleaner may have replaced it meanwhile.
        let Ok(bytes) = fs::read(&path) else { continue };
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let mut rest = bytes.as_slice();
        while rest.len() >= 61 {
            found.push((rest[22] & 7, word(&rest[57..61])));
            let length = 12 + word(&rest[8..12]) as usize;
            rest = rest.get(length..).unwrap_or_default();
        }
    }
    found
}

/// Sends numbered events in transactions of their own, each committed or aborted.
fn send_transactions(producer: &BaseProducer, scene: &Scene, transactions: &[(Range<u32>, bool)]) {
    for (numbers, commit) in transactions {
        producer.begin_transaction().expect("a transaction");
        send(producer, scene, numbers.clone());
        if *commit {
            producer.commit_transaction(PATIENCE).expect("committed");
        } else {
            producer.abort_transaction(PATIENCE).expect("aborted");
        }
    }
}

/// A producer of transactions.
fn transactional(scene: &Scene) -> BaseProducer {
    let producer = producer(&[("transactional.id", &scene.topic), ("linger.ms", "0")]);
    producer.init_transactions(PATIENCE).expect("transactions");
    producer
}

fn stored_records(scene: &Scene) -> u32 {
    stored_batches(scene).iter().map(|(_, records)| records).sum()
}

#[test]
fn only_what_transactions_committed_is_stored() {
    let scene = Scene::new("transactions", 1);
    migrate_with_coordinates(&scene, postgres());
    let producer = transactional(&scene);
    // Offsets 0 to 99 and a control record, 101 to 150 aborted, then 152 to 251 and their control record.
    send_transactions(
        &producer,
        &scene,
        &[(0..100, true), (100..150, false), (150..250, true)],
    );
    // One that is still open: nothing behind its start can be read.
    producer.begin_transaction().expect("a transaction");
    send(&producer, &scene, 250..300);
    let consumer = Consumer::start(&scene, &[]);
    let settled = |messages| wait_until(PATIENCE, || count(&scene, postgres()).settled() >= messages);
    assert!(settled(200), "{}", consumer.text());
    producer.commit_transaction(PATIENCE).expect("committed");
    assert!(settled(250), "{}", consumer.text());
    let found = count(&scene, postgres());
    expect_sums(&found, 250);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    let aborted = "SELECT count(*) FROM server_metrics WHERE substr(server_id, 2)::int BETWEEN 100 AND 149";
    assert_eq!(
        query(postgres(), &scene.database, aborted).as_deref(),
        Some("0"),
        "nothing that was aborted is stored"
    );
    consumer.stop();
}

#[test]
fn gaps_that_compaction_made_are_passed_over() {
    let scene = Scene::with_config(
        "compaction",
        &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.001"),
            ("segment.ms", "100"),
        ],
    );
    migrate_with_coordinates(&scene, postgres());
    let producer = producer(&[("linger.ms", "0")]);
    let round = || {
        for number in 0..100u32 {
            let key = format!("key {}", number % 10);
            queue(&producer, &scene, Some(&key), Some(&event(number, "")));
        }
        producer.flush(PATIENCE).expect("all messages are sent");
    };
    // A consumer that stands in the middle of the log when it is compacted under it.
    round();
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 100);
    consumer.stop();
    round();
    // The newest segment is never compacted: what is written now ends the one before.
    let mut sent = 200;
    let compacted = wait_until(PATIENCE, || {
        queue(&producer, &scene, Some("key 10"), Some(&event(1000, "")));
        producer.flush(PATIENCE).expect("the message is sent");
        sent += 1;
        std::thread::sleep(std::time::Duration::from_millis(200));
        stored_records(&scene) < sent / 2
    });
    assert!(compacted, "{sent} sent: {:?}", stored_batches(&scene));
    let end = kafka()
        .group_offsets(&scene.group, &scene.topic)
        .expect("the log's end")[0]
        .log_end_offset;
    assert_eq!(end, Some(i64::from(sent)));
    let consumer = Consumer::start(&scene, &[]);
    let all = format!("SELECT next_offset = {sent} FROM consumer_offsets");
    assert!(
        wait_until(PATIENCE, || {
            query(postgres(), &scene.database, &all).as_deref() == Some("t")
        }),
        "{}",
        consumer.text()
    );
    let found = count(&scene, postgres());
    assert!(found.settled() < u64::from(sent), "{found:?} of {sent}");
    expect_sums(&found, found.settled());
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    let lines = consumer.stop();
    assert!(
        !lines.iter().any(|line| line["level"] == "ERROR"),
        "nothing was lost: {lines:?}"
    );
}

#[test]
fn every_compression_is_read() {
    let scene = Scene::new("compression", 1);
    migrate_with_coordinates(&scene, postgres());
    for (place, codec) in (0..).zip(["none", "gzip", "snappy", "lz4", "zstd"]) {
        let producer = producer(&[("compression.codec", codec), ("linger.ms", "50")]);
        send(&producer, &scene, place * 200..(place + 1) * 200);
    }
    let used: BTreeSet<u8> = stored_batches(&scene).iter().map(|(codec, _)| *codec).collect();
    assert_eq!(used, (0..5).collect(), "the broker has all of them");
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 1000);
    assert_eq!(found.dead_letters, 0);
    consumer.stop();
}

#[test]
fn messages_of_the_largest_size_are_stored_in_bounded_memory() {
    const LARGE: usize = 9_000_000;
    let limit = "10485760";
    let scene = Scene::with_config("large", &[("max.message.bytes", limit)]);
    migrate_with_coordinates(&scene, postgres());
    let producer = producer(&[("message.max.bytes", limit)]);
    let padding = "x".repeat(LARGE);
    for number in 0..8 {
        queue(&producer, &scene, None, Some(&event(number, &padding)));
        producer.flush(PATIENCE).expect("the message is sent");
    }
    // No JSON, as large: a dead letter keeps its bytes.
    queue(&producer, &scene, None, Some(&padding));
    send(&producer, &scene, 8..9);
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 10);
    assert_eq!((found.rows, found.dead_letters), (9, 1));
    let whole = format!(
        "SELECT count(*) FROM (SELECT length(rack_id) AS size FROM server_metrics
         UNION ALL SELECT length(payload) FROM dead_letters) AS sizes WHERE size = {LARGE}"
    );
    assert_eq!(query(postgres(), &scene.database, &whole).as_deref(), Some("9"));
    let peak = consumer.peak_memory_mib();
    assert!(peak < 256, "{peak} MiB");
    consumer.stop();
}

#[test]
fn tombstones_empty_payloads_and_messages_without_key_are_accounted_for() {
    let scene = Scene::new("tombstones", 1);
    migrate_with_coordinates(&scene, postgres());
    let producer = producer(&[]);
    for key in [None, Some(""), Some("a key")] {
        for payload in [None, Some(""), Some(event(1, "").as_str())] {
            queue(&producer, &scene, key, payload);
        }
    }
    producer.flush(PATIENCE).expect("all messages are sent");
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 9);
    assert_eq!((found.rows, found.dead_letters), (3, 6));
    let kept = "SELECT string_agg(DISTINCT concat(key IS NULL, payload IS NULL), ' ') FROM dead_letters";
    assert_eq!(
        query(postgres(), &scene.database, kept).as_deref(),
        Some("ff ft tf tt"),
        "what was missing is told from what was empty"
    );
    assert_eq!(last_statistics(&consumer.stop())["total_consumed"], 9);
}

#[test]
fn transactions_through_an_outage_that_pauses_reading_lose_nothing() {
    const EACH: u32 = 200;
    let (scene, mut own) = Scene::with_own_postgres("paused", 1);
    migrate_with_coordinates(&scene, &own);
    let producer = transactional(&scene);
    send_transactions(&producer, &scene, &[(0..EACH, true), (EACH..2 * EACH, false)]);
    let consumer = Consumer::start_on(&scene, &own, &["--max-batch-bytes", "1MiB"]);
    expect_settled(&scene, &own, &consumer, u64::from(EACH));
    // It stands at the end of the log. Now more than its batches hold comes while nothing can be stored.
    own.stop_immediate().expect("a crash");
    let transactions: Vec<_> = (2..80).map(|n| (n * EACH..(n + 1) * EACH, n % 3 > 0)).collect();
    send_transactions(&producer, &scene, &transactions);
    consumer.wait_for_line("partitions paused");
    own.restart().expect("it comes back");
    let committed = transactions.iter().filter(|(_, commit)| *commit).count() as u64 + 1;
    let found = expect_settled(&scene, &own, &consumer, committed * u64::from(EACH));
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
}

#[test]
fn an_aborted_transaction_at_the_end_leaves_no_lag_and_is_no_loss_when_retention_removes_it() {
    let scene = Scene::new("aborted", 1);
    migrate_with_coordinates(&scene, postgres());
    let producer = transactional(&scene);
    send_transactions(&producer, &scene, &[(0..100, true), (100..150, false)]);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 100);
    consumer.stop();
    kafka()
        .delete_records(&scene.topic, 0, 152)
        .expect("the log start moves");
    send_transactions(&producer, &scene, &[(150..160, true)]);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 110);
    let lines = consumer.stop();
    assert!(
        !lines.iter().any(|line| line["level"] == "ERROR"),
        "nothing was lost: {lines:?}"
    );
}
