//! The consumer group: members come and go, have names, went before under other programs, and do not wait for
//! PostgreSQL.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load, migrate_with_coordinates};
use crate::shared::{Scene, kafka, postgres};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::topic_partition_list::TopicPartitionList;
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::{Settings, publish};
use workbench::services::proxy::Proxy;
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

#[test]
fn a_revoke_does_not_wait_for_a_silent_postgres() {
    let scene = Scene::new("silent_revoke", 4);
    migrate_with_coordinates(&scene, postgres());
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    // The batch has messages of all partitions: it is due when it has all that are sent.
    let arguments = ["--commit-interval", "10", "--batch-size", "4000"];
    let consumer = Consumer::launch(&scene, &kafka().bootstrap(), proxy.port(), "consume", &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    proxy.silence(true);
    publish::run(&load(&scene, 4000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(
        wait_until(PATIENCE, || proxy.counts().silenced_bytes > 0),
        "a batch is under way\n{}",
        consumer.text()
    );
    // The other one gets its part while the batch is neither stored nor given up, and stores it.
    let other = Consumer::start(&scene, &[]);
    other.wait_for_line("partition starts at its stored offset");
    assert!(
        wait_until(PATIENCE, || count(&scene, postgres()).settled() > 0),
        "{}",
        other.text()
    );
    assert_eq!(proxy.counts().cut, 0, "the silence was never given up");
    // Now the batch arrives after all, and misses.
    proxy.silence(false);
    consumer.wait_for_line("fence missed");
    let found = expect_settled(&scene, postgres(), &consumer, 4000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
    other.stop();
}

#[test]
fn more_workers_go_on_where_one_was_stopped_under_load() {
    let scene = Scene::new("workers", 6);
    migrate_with_coordinates(&scene, postgres());
    publish::run(&load(&scene, 50_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let one = Consumer::start(&scene, &[]);
    assert!(wait_until(PATIENCE, || count(&scene, postgres()).settled() > 1000));
    one.stop();
    let before = count(&scene, postgres()).settled();
    assert!(before < 50_000, "it was stopped under load");
    let three = Consumer::start(&scene, &["--workers", "3"]);
    expect_settled(&scene, postgres(), &three, 50_000);
    // One of them may have got all partitions first, and gives some to those that come after.
    let parts = || {
        let assigned = |line: &Value| line["message"] == "partitions assigned" && line["partitions"] != "";
        three.lines().iter().filter(|line| assigned(line)).count()
    };
    assert!(wait_until(PATIENCE, || parts() >= 3), "{}", three.text());
    publish::run(&load(&scene, 10_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let found = expect_settled(&scene, postgres(), &three, 60_000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    three.stop();
}

/// The arguments of a member that is known by name, and missed late.
fn named(name: &str) -> [String; 4] {
    [
        "--kafka-property".to_owned(),
        format!("group.instance.id={name}"),
        "--kafka-property".to_owned(),
        "session.timeout.ms=60000".to_owned(),
    ]
}

fn start_named(scene: &Scene, name: &str) -> Consumer {
    let arguments = named(name);
    Consumer::start(scene, &arguments.each_ref().map(String::as_str))
}

#[test]
fn a_member_with_a_name_comes_back_without_a_rebalance_and_ends_the_one_before_it() {
    let scene = Scene::new("static", 4);
    migrate_with_coordinates(&scene, postgres());
    let stays = start_named(&scene, "stays");
    stays.wait_for_line("partitions assigned");
    let goes = start_named(&scene, "goes");
    goes.wait_for_line("partition starts at its stored offset");
    let rebalances = |consumer: &Consumer| {
        let lines = consumer.lines();
        let of_group = |line: &&Value| {
            ["partitions assigned", "partitions revoked"]
                .contains(&line["message"].as_str().unwrap_or_default())
        };
        lines.iter().filter(of_group).count()
    };
    let sent = |count| publish::run(&load(&scene, count), &AtomicBool::new(false), |_| {}).expect("sent");
    sent(1000);
    expect_settled(&scene, postgres(), &stays, 1000);
    let before = rebalances(&stays);
    goes.stop();
    sent(1000);
    let mut back = start_named(&scene, "goes");
    expect_settled(&scene, postgres(), &back, 2000);
    assert_eq!(rebalances(&stays), before, "{}", stays.text());

    // Another one takes the name: it takes the place, too, and the older one knows that it has lost it.
    let namesake = start_named(&scene, "goes");
    assert_eq!(back.wait().code(), Some(1), "{}", back.text());
    let line = back.wait_for_line("the kafka client can't go on");
    assert_eq!(line["level"], "ERROR", "{line}");
    sent(1000);
    let found = expect_settled(&scene, postgres(), &namesake, 3000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    assert_eq!(rebalances(&stays), before, "{}", stays.text());
    namesake.stop();
    stays.stop();
}
