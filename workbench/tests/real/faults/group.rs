//! The consumer group: members come and go, other consumers went before, and zombies store nothing.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates};
use crate::shared::{Scene, kafka, postgres};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::{Settings, publish};
use workbench::services::process::Signal;
use workbench::services::wait_until;

fn members_come_and_go(scene: &Scene, arguments: &[&str]) {
    migrate_with_coordinates(scene, postgres());
    let settings = Settings {
        rate: 10_000.0,
        ..load(scene, 120_000)
    };
    let first = Consumer::start(scene, arguments);
    thread::scope(|scope| {
        let sender = scope
            .spawn(|| publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent"));
        let mut two_workers = arguments.to_vec();
        two_workers.extend(["--workers", "2"]);
        while !sender.is_finished() {
            let other = Consumer::start(scene, &two_workers);
            other.wait_for_line("partitions assigned");
            thread::sleep(Duration::from_millis(1500));
            other.stop();
        }
    });
    expect_settled(scene, postgres(), &first, 120_000);
    first.stop();
}

#[test]
fn members_come_and_go_under_load() {
    members_come_and_go(&Scene::new("members", 6), &[]);
}

#[test]
fn members_come_and_go_with_eager_rebalances() {
    members_come_and_go(
        &Scene::new("eager", 6),
        &["--kafka-property", "partition.assignment.strategy=range"],
    );
}

#[test]
fn members_come_and_go_with_the_new_group_protocol() {
    members_come_and_go(
        &Scene::new("kip848", 6),
        &["--kafka-property", "group.protocol=consumer"],
    );
}

#[test]
fn a_group_that_another_consumer_used_is_carried_on() {
    let scene = Scene::new("migrated", 2);
    publish::run(&load(&scene, 2000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let older: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka().bootstrap())
        .set("group.id", &scene.group)
        .create()
        .expect("a consumer");
    let mut offsets = TopicPartitionList::new();
    for partition in 0..2 {
        offsets
            .add_partition_offset(&scene.topic, partition, rdkafka::Offset::Offset(100))
            .expect("a plain offset");
    }
    older.commit(&offsets, CommitMode::Sync).expect("committed");
    drop(older);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 1800);
    consumer.stop();
}

#[test]
fn offset_reset_latest_keeps_its_start_even_if_nothing_was_read_before_a_crash() {
    let scene = Scene::new("latest", 1);
    publish::run(&load(&scene, 500), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let arguments = [
        "--offset-reset",
        "latest",
        "--kafka-property",
        "session.timeout.ms=6000",
    ];
    let consumer = Consumer::start(&scene, &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    consumer.kill();
    publish::run(&load(&scene, 700), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &arguments);
    expect_settled(&scene, postgres(), &consumer, 700);
    consumer.stop();
}

#[test]
fn a_zombie_stores_nothing() {
    let scene = Scene::new("zombie", 2);
    migrate_with_coordinates(&scene, postgres());
    let arguments = ["--kafka-property", "session.timeout.ms=6000"];
    let zombie = Consumer::start(&scene, &arguments);
    let settings = Settings {
        rate: 5000.0,
        ..load(&scene, 100_000)
    };
    let heir = thread::scope(|scope| {
        let sender = scope
            .spawn(|| publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent"));
        assert!(wait_until(PATIENCE, || count(&scene, postgres()).settled() > 5000));
        zombie.signal(Signal::STOP);
        let frozen = count(&scene, postgres()).settled();
        let heir = Consumer::start(&scene, &arguments);
        assert!(
            wait_until(PATIENCE, || count(&scene, postgres()).settled() > frozen + 5000),
            "{}",
            heir.text()
        );
        zombie.signal(Signal::CONT);
        sender.join().expect("the sender ends");
        heir
    });
    expect_settled(&scene, postgres(), &heir, 100_000);
    zombie.stop();
    heir.stop();
}

#[test]
fn a_rebalance_does_not_wait_for_postgres() {
    let (scene, mut own) = Scene::with_own_postgres("rebalance", 4);
    migrate_with_coordinates(&scene, &own);
    let consumer = Consumer::start_on(&scene, &own, &[]);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    expect_settled(&scene, &own, &consumer, 1000);
    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    consumer.wait_for_line("postgres does not take the work now");

    // Another member joins and leaves meanwhile: partitions are given up and come back while nobody can say where
    // they stand.
    let other: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", kafka().bootstrap())
        .set("group.id", &scene.group)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .create()
        .expect("a consumer");
    other.subscribe(&[&scene.topic]).expect("subscribed");
    let joined = || {
        let _ = other.poll(Duration::from_millis(50));
        other.assignment().is_ok_and(|assignment| assignment.count() > 0)
    };
    assert!(wait_until(PATIENCE, joined), "{}", consumer.text());
    drop(other);
    let back = || {
        let lines = consumer.lines();
        lines
            .iter()
            .filter(|line| line["message"] == "partitions assigned")
            .count()
            >= 2
    };
    assert!(wait_until(PATIENCE, back), "{}", consumer.text());
    own.restart().expect("it comes back");
    expect_settled(&scene, &own, &consumer, 2000);
    consumer.stop();
}
