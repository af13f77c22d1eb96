//! Topics that change under the consumer: their log's start moves, they get more partitions, they are made anew.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates, query};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::wait_until;

#[test]
fn retention_that_passed_the_stored_offset_is_told_loudly_and_counted() {
    let scene = Scene::new("retention", 1);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1000);
    consumer.stop();
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
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
    let arguments = ["--kafka-property", "topic.metadata.refresh.interval.ms=1000"];
    let consumer = Consumer::start(&scene, &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    expect_settled(&scene, postgres(), &consumer, 1000);
    kafka().add_partitions(&scene.topic, 4).expect("more partitions");
    publish::run(&load(&scene, 4000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
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
pub(super) fn make_anew(scene: &Scene, partitions: i32) {
    kafka().delete_topic(&scene.topic).expect("the topic is deleted");
    kafka()
        .create_topic(&scene.topic, partitions, &[])
        .expect("the topic is made again");
}

#[test]
fn a_topic_made_anew_while_the_consumer_is_stopped_is_read_whole_and_told_loudly() {
    let scene = Scene::new("anew_stopped", 2);
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 2000);
    consumer.stop();
    make_anew(&scene, 2);
    publish::run(&load(&scene, 100), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    let line = consumer.wait_for_line("the stored offset is beyond the end of the log");
    assert_eq!(line["level"], "ERROR");
    let found = expect_settled(&scene, postgres(), &consumer, 2100);
    assert_eq!(found.dead_letters, 0);
    consumer.stop();
}

#[test]
fn a_topic_made_anew_while_the_consumer_runs_is_read_whole_and_told_loudly() {
    let scene = Scene::new("anew_running", 2);
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let arguments = ["--kafka-property", "topic.metadata.refresh.interval.ms=1000"];
    let consumer = Consumer::start(&scene, &arguments);
    expect_settled(&scene, postgres(), &consumer, 2000);
    make_anew(&scene, 2);
    publish::run(&load(&scene, 100), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let line = consumer.wait_for_line("the stored offset is beyond the end of the log");
    assert_eq!(line["level"], "ERROR");
    let found = expect_settled(&scene, postgres(), &consumer, 2100);
    assert_eq!(found.dead_letters, 0);
    consumer.stop();
}
