//! Offsets are set while nobody consumes, within the log, and the consumer goes on there.

use super::{ask, number, run};
use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, SystemTime};
use workbench::generator::publish;
use workbench::services::wait_until;

fn send(scene: &Scene, count: u64) {
    publish::run(&load(scene, count), &AtomicBool::new(false), |_| {}).expect("the load is sent");
}

fn expect_refusal(scene: &Scene, arguments: &[&str], why: &str) {
    let before = number(scene, "SELECT sum(next_offset)::bigint FROM consumer_offsets");
    let (code, text) = run(scene, &[&["offsets", "set"], arguments].concat());
    assert!(code == 1 && text.contains(why), "{arguments:?}: {code}\n{text}");
    let after = number(scene, "SELECT sum(next_offset)::bigint FROM consumer_offsets");
    assert_eq!(before, after, "{arguments:?}");
}

fn set(scene: &Scene, arguments: &[&str]) -> String {
    let (code, text) = run(scene, &[&["offsets", "set", "--yes"], arguments].concat());
    assert_eq!(code, 0, "{arguments:?}\n{text}");
    text
}

/// A consumer takes it from there: so many are stored in all, when it has come to the end.
fn expect_stored(scene: &Scene, stored: u64) {
    let consumer = Consumer::start(scene, &[]);
    let is_there = || count(scene, postgres()).stored >= stored;
    assert!(
        wait_until(PATIENCE, is_there),
        "{:?}\n{}",
        count(scene, postgres()),
        consumer.text()
    );
    let lines = consumer.stop();
    assert_eq!(count(scene, postgres()).stored, stored);
    // Each start has found the log that its offset is of.
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{lines:#?}");
}

#[test]
fn offsets_are_refused_while_the_group_is_live_and_set_when_it_is_not() {
    let scene = Scene::new("offsets", 2);
    send(&scene, 1000);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1000);
    expect_refusal(&scene, &["--to", "earliest", "--yes"], "is live: 1 member");
    consumer.stop();

    expect_refusal(&scene, &["--to", "earliest"], "--yes");
    expect_refusal(&scene, &["--to", "100000", "--yes"], "is outside of the log");
    expect_refusal(
        &scene,
        &["--to", "0", "--partition", "7", "--yes"],
        "has the partitions 0 to 1",
    );
    let (code, text) = run(&scene, &["offsets", "set", "--to", "soon"]);
    assert!(
        code == 64 && text.contains("earliest, latest, an offset"),
        "{text}"
    );

    let (code, text) = run(&scene, &["offsets", "set", "--to", "earliest", "--dry-run"]);
    assert!(
        code == 0 && text.contains("1,000 offsets will be read again"),
        "{text}"
    );
    let text = set(&scene, &["--to", "earliest", "--partition", "1"]);
    assert!(text.contains("stored a second time"), "{text}");
    let (code, shown) = ask(&scene, &["offsets", "show", "--json"]);
    let of_one = &shown["partitions"][1];
    assert_eq!((code, &of_one["stored_offset"]), (0, &0.into()), "{shown:#}");
    let again = of_one["lag_messages"].as_u64().expect("a lag");
    assert!(
        again > 0 && again == of_one["log_end"].as_u64().expect("an end"),
        "{shown:#}"
    );
    assert_eq!(shown["partitions"][0]["lag_messages"], 0, "{shown:#}");
    // Kafka's own offset has followed, for its tools.
    let lags = kafka()
        .group_offsets(&scene.group, &scene.topic)
        .expect("the group's offsets");
    assert_eq!(
        lags.iter()
            .find(|lag| lag.partition == 1)
            .and_then(|lag| lag.current_offset),
        Some(0)
    );
    expect_stored(&scene, 1000 + again);
}

#[test]
fn an_offset_a_moment_and_the_end_are_where_the_group_goes_on() {
    let scene = Scene::new("offsets_to", 1);
    send(&scene, 400);
    thread::sleep(Duration::from_millis(50));
    let between = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970");
    let between = jiff::Timestamp::from_millisecond(i64::try_from(between.as_millis()).expect("soon enough"));
    let between = between.expect("a time").to_string();
    thread::sleep(Duration::from_millis(50));
    send(&scene, 600);
    // Before the group has ever run.
    let (_, text) = run(&scene, &["offsets", "show"]);
    assert!(text.contains("lacks tables"), "{text}");
    assert_eq!(run(&scene, &["migrate"]).0, 0);
    set(&scene, &["--to", "990"]);
    expect_stored(&scene, 10);
    // The timestamp of the message before is stored with it: a log that was made anew would be noticed.
    set(&scene, &["--to", "995"]);
    let remembered = "SELECT count(*) FROM consumer_offsets WHERE last_offset = 994 AND last_timestamp > 0";
    assert_eq!(number(&scene, remembered), 1);
    expect_stored(&scene, 15);
    set(&scene, &["--to", &between]);
    assert_eq!(number(&scene, "SELECT next_offset FROM consumer_offsets"), 400);
    expect_stored(&scene, 615);
    send(&scene, 50);
    set(&scene, &["--to", "latest"]);
    let (_, shown) = ask(&scene, &["offsets", "show", "--json"]);
    assert_eq!(shown["partitions"][0]["stored_offset"], 1050, "{shown:#}");
    send(&scene, 5);
    expect_stored(&scene, 620);
}

#[test]
fn members_of_the_new_group_protocol_are_noticed_too() {
    let scene = Scene::new("offsets_kip848", 1);
    send(&scene, 100);
    let consumer = Consumer::start(&scene, &["--kafka-property", "group.protocol=consumer"]);
    expect_settled(&scene, postgres(), &consumer, 100);
    expect_refusal(&scene, &["--to", "earliest", "--yes"], "is live");
    // Kafka does not tell this client who they are.
    let (code, seen) = ask(&scene, &["status", "--json"]);
    assert_eq!(
        (code, &seen["members"]),
        (0, &serde_json::Value::Null),
        "{seen:#}"
    );
    consumer.stop();
    set(&scene, &["--to", "earliest"]);
    assert_eq!(number(&scene, "SELECT next_offset FROM consumer_offsets"), 0);
}
