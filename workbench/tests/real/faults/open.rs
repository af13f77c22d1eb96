//! Faults that the consumer does not pass yet.

use super::messages::{send_transactions, transactional};
use super::topics::make_anew;
use super::zombie::frozen_at;
use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::publish;
use workbench::services::process::Signal;
use workbench::services::proxy::Point;
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
fn a_zombie_that_froze_within_copy_lets_go_of_its_locks() {
    frozen_at("zombie_copy", Point::InCopy);
}

#[test]
fn a_stop_just_after_the_group_was_lost_is_clean() {
    let scene = Scene::new("stop_lost", 2);
    let arguments = [
        "--shutdown-timeout",
        "1",
        "--kafka-property",
        "session.timeout.ms=2000",
        "--kafka-property",
        "heartbeat.interval.ms=500",
    ];
    // The client notices within a second that it was away for too long: somewhere in between it is told to stop.
    for moment in [100, 400, 700] {
        let mut consumer = Consumer::start(&scene, &arguments);
        consumer.wait_for_line("partition starts at its stored offset");
        consumer.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(2500));
        consumer.signal(Signal::CONT);
        thread::sleep(Duration::from_millis(moment));
        consumer.signal(Signal::TERM);
        assert_eq!(consumer.wait().code(), Some(0), "{moment}\n{}", consumer.text());
    }
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

#[test]
fn a_topic_made_anew_that_has_grown_past_the_stored_offset_of_a_stopped_consumer_is_read_whole() {
    let scene = Scene::new("grown_stopped", 1);
    send(&scene, 1000);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1000);
    consumer.stop();
    make_anew(&scene, 1);
    send(&scene, 3000);
    let consumer = Consumer::start(&scene, &[]);
    expect_rows(&scene, &consumer, 4000);
    consumer.stop();
}

#[test]
fn a_topic_made_anew_that_has_grown_past_the_stored_offset_of_a_frozen_consumer_is_read_whole() {
    let scene = Scene::new("grown_frozen", 1);
    send(&scene, 1000);
    let consumer = Consumer::start(&scene, &REFRESH_SOON);
    expect_settled(&scene, postgres(), &consumer, 1000);
    // Frozen for a moment, it misses that the topic was away.
    consumer.signal(Signal::STOP);
    make_anew(&scene, 1);
    send(&scene, 3000);
    consumer.signal(Signal::CONT);
    expect_rows(&scene, &consumer, 4000);
    consumer.stop();
}
