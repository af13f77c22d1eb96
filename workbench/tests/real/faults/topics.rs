//! Topics that change under the consumer: their log's start moves, they get more partitions, they are made anew.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::wait_until;

const REFRESH_SOON: [&str; 2] = ["--kafka-property", "topic.metadata.refresh.interval.ms=1000"];

fn send(scene: &Scene, count: u64) {
    publish::run(&load(scene, count), &AtomicBool::new(false), |_| {}).expect("the load is sent");
}

fn expect_rows(scene: &Scene, consumer: &Consumer, rows: u64) {
    assert!(
        wait_until(PATIENCE, || count(scene, postgres()).rows == rows),
        "{:?} of {rows}\n{}",
        count(scene, postgres()),
        consumer.text()
    );
}

#[test]
fn retention_that_passed_the_stored_offset_is_told_loudly_and_counted() {
    let scene = Scene::new("retention", 1);
    send(&scene, 1000);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1000);
    consumer.stop();
    send(&scene, 1000);
    kafka()
        .delete_records(&scene.topic, 0, 1300)
        .expect("the log start moves");
    let consumer = Consumer::start(&scene, &[]);
    let line = consumer.wait_for_line("retention has removed messages");
    assert_eq!(
        (&line["offsets_lost"], &line["level"]),
        (&300.into(), &"ERROR".into())
    );
    assert!(
        wait_until(PATIENCE, || count(&scene, postgres()).stored == 1700),
        "{}",
        consumer.text()
    );
    consumer.stop();
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_message() {
    let scene = Scene::new("added", 1);
    migrate_with_coordinates(&scene, postgres());
    let consumer = Consumer::start(&scene, &REFRESH_SOON);
    consumer.wait_for_line("partition starts at its stored offset");
    send(&scene, 1000);
    expect_settled(&scene, postgres(), &consumer, 1000);
    kafka().add_partitions(&scene.topic, 4).expect("more partitions");
    send(&scene, 4000);
    let found = expect_settled(&scene, postgres(), &consumer, 5000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    let partitions = "SELECT count(DISTINCT kafka_partition) FROM server_metrics";
    assert_eq!(
        query(postgres(), &scene.database, partitions).as_deref(),
        Some("4")
    );
    consumer.stop();
}

/// Deletes the topic and makes it again, empty.
fn make_anew(scene: &Scene, partitions: i32) {
    kafka().delete_topic(&scene.topic).expect("the topic is deleted");
    kafka()
        .create_topic(&scene.topic, partitions, &[])
        .expect("the topic is made again");
}

/// 1,000 messages are stored, the topic is made anew and gets `messages`; what was seen before and after is told by an
/// ERROR, and all of it is stored.
fn made_anew(name: &str, stops: bool, messages: u64, told: &str) {
    let scene = Scene::new(name, 3);
    send(&scene, 1000);
    let mut consumer = Consumer::start(&scene, &REFRESH_SOON);
    expect_settled(&scene, postgres(), &consumer, 1000);
    if stops {
        consumer.stop();
        make_anew(&scene, 3);
        send(&scene, messages);
        consumer = Consumer::start(&scene, &REFRESH_SOON);
    } else {
        make_anew(&scene, 3);
        send(&scene, messages);
    }
    let line = consumer.wait_for_line(told);
    assert_eq!(line["level"], "ERROR", "{line}");
    let found = expect_settled(&scene, postgres(), &consumer, 1000 + messages);
    assert_eq!(found.dead_letters, 0, "{found:?}");
    consumer.stop();
}

#[test]
fn a_topic_made_anew_while_the_consumer_is_stopped_is_read_whole_and_told_loudly() {
    made_anew(
        "anew_stopped",
        true,
        100,
        "the stored offset is beyond the end of the log",
    );
}

#[test]
fn a_topic_made_anew_while_the_consumer_runs_is_read_whole_and_told_loudly() {
    made_anew(
        "anew_running",
        false,
        100,
        "the stored offset is beyond the end of the log",
    );
}

#[test]
fn a_topic_made_anew_that_has_grown_past_the_stored_offset_of_a_stopped_consumer_is_read_whole() {
    made_anew(
        "grown_stopped",
        true,
        3000,
        "the topic was deleted and created again",
    );
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_message_where_others_began_at_the_end() {
    let scene = Scene::new("added_latest", 1);
    let arguments = [&REFRESH_SOON[..], &["--offset-reset", "latest"]].concat();
    let consumer = Consumer::start(&scene, &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    kafka().add_partitions(&scene.topic, 4).expect("more partitions");
    send(&scene, 4000);
    expect_rows(&scene, &consumer, 4000);
    consumer.stop();
}
