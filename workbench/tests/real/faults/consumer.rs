//! The consumer's own faults: killed at any moment, stopped under load, asked to stop while PostgreSQL is away.

use crate::consumer::{
    Consumer, PATIENCE, count, expect_settled, last_statistics, load, migrate_with_coordinates,
};
use crate::shared::{Scene, kafka, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::publish;
use workbench::services::process::Signal;
use workbench::services::proxy::{Point, Proxy};
use workbench::services::wait_until;

/// A member that is known by name: its next start takes its place at once, however long the session of the one before.
const NAMED: [&str; 4] = [
    "--kafka-property",
    "group.instance.id=one",
    "--kafka-property",
    "session.timeout.ms=60000",
];

#[test]
fn sigkill_at_any_moment_loses_and_doubles_nothing() {
    let scene = Scene::new("sigkill", 6);
    migrate_with_coordinates(&scene, postgres());
    let events = 100_000;
    publish::run(&load(&scene, events), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    for kill in 1..=6u64 {
        let consumer = Consumer::start(&scene, &["--kafka-property", "session.timeout.ms=6000"]);
        let target = events * kill / 8;
        wait_until(Duration::from_mins(1), || {
            count(&scene, postgres()).settled() >= target
        });
        // A different moment of a batch each time.
        thread::sleep(Duration::from_millis(7 * kill));
        consumer.kill();
    }
    let consumer = Consumer::start(&scene, &["--kafka-property", "session.timeout.ms=6000"]);
    let found = expect_settled(&scene, postgres(), &consumer, events);
    assert_eq!(
        found.dead_letters, 0,
        "a row stored twice would have been refused by the unique index"
    );
    consumer.stop();
}

/// The consumer is killed while its first transaction is held at a chosen point.
fn sigkill_at(name: &str, point: Point, committed: bool) {
    let scene = Scene::new(name, 2);
    migrate_with_coordinates(&scene, postgres());
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    let servers = kafka().bootstrap();
    let consumer = Consumer::launch(&scene, &servers, proxy.port(), "consume", &NAMED);
    consumer.wait_for_line("partition starts at its stored offset");
    proxy.hold_at(point);
    publish::run(&load(&scene, 5000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(proxy.wait_held(PATIENCE), "{}", consumer.text());
    consumer.kill();
    drop(proxy);
    let told: i64 = kafka()
        .group_offsets(&scene.group, &scene.topic)
        .expect("the group's offsets")
        .iter()
        .filter_map(|partition| partition.current_offset)
        .sum();
    assert_eq!(told, 0, "Kafka has not heard of any message");
    let stored = count(&scene, postgres()).settled();
    assert_eq!(stored > 0, committed, "{stored} are stored");
    let consumer = Consumer::start(&scene, &NAMED);
    let found = expect_settled(&scene, postgres(), &consumer, 5000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
}

#[test]
fn sigkill_after_the_fence_stores_nothing_of_the_batch() {
    sigkill_at("kill_fence", Point::AfterFence, false);
}

#[test]
fn sigkill_within_copy_stores_nothing_of_the_batch() {
    sigkill_at("kill_copy", Point::InCopy, false);
}

#[test]
fn sigkill_before_commit_stores_nothing_of_the_batch() {
    sigkill_at("kill_commit", Point::BeforeCommit, false);
}

#[test]
fn sigkill_before_the_answer_to_commit_and_before_kafka_is_told_doubles_nothing() {
    sigkill_at("kill_answer", Point::CommitSent, true);
}

#[test]
fn a_restart_after_sigkill_need_not_wait_for_the_session_where_the_member_has_a_name() {
    let scene = Scene::new("named", 2);
    migrate_with_coordinates(&scene, postgres());
    publish::run(&load(&scene, 50_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &NAMED);
    assert!(wait_until(PATIENCE, || count(&scene, postgres()).settled() > 5000));
    consumer.kill();
    let before = count(&scene, postgres()).settled();
    assert!(before < 50_000, "it was killed under load");
    let consumer = Consumer::start(&scene, &NAMED);
    let stores = || count(&scene, postgres()).settled() > before;
    // Long before the session of 60 seconds is over.
    assert!(wait_until(Duration::from_secs(30), stores), "{}", consumer.text());
    let found = expect_settled(&scene, postgres(), &consumer, 50_000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
}

#[test]
fn memory_is_bounded_whatever_the_lag_and_the_outage() {
    let (scene, mut own) = Scene::with_own_postgres("memory", 6);
    let consumer = Consumer::start_on(&scene, &own, &[]);
    consumer.wait_for_line("partition starts at its stored offset");
    own.stop_immediate().expect("a crash");
    // 130 MB of payload, many times what a batch may hold, while nothing can be stored; then all of it at once.
    publish::run(&load(&scene, 300_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    consumer.wait_for_line("partitions paused");
    own.restart().expect("it comes back");
    expect_settled(&scene, &own, &consumer, 300_000);
    let peak = consumer.peak_memory_mib();
    assert!(peak < 128, "{peak} MiB");
    consumer.stop();
}

#[test]
fn a_stop_under_load_stores_what_is_batched_and_hands_over_clean() {
    let scene = Scene::new("stop", 3);
    publish::run(&load(&scene, 200_000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    assert!(
        wait_until(PATIENCE, || count(&scene, postgres()).settled() > 10_000),
        "{}",
        consumer.text()
    );
    let lines = consumer.stop();
    let found = count(&scene, postgres());
    assert_eq!(last_statistics(&lines)["total_consumed"], found.settled());
    let told = kafka()
        .group_offsets(&scene.group, &scene.topic)
        .expect("the group's offsets");
    let told: i64 = told.iter().filter_map(|partition| partition.current_offset).sum();
    assert_eq!(
        u64::try_from(told).expect("a count"),
        found.settled(),
        "Kafka was told all that is stored"
    );
}

#[test]
fn a_duration_ends_by_itself_and_a_second_signal_ends_at_once() {
    let scene = Scene::new("duration", 1);
    let mut consumer = Consumer::start(&scene, &["--duration", "2"]);
    assert!(consumer.wait().success(), "{}", consumer.text());

    let (scene, mut own) = Scene::with_own_postgres("second", 1);
    let mut consumer = Consumer::start_on(&scene, &own, &["--shutdown-timeout", "600"]);
    consumer.wait_for_line("partition starts at its stored offset");
    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 100), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    consumer.wait_for_line("postgres does not take the work now");
    consumer.signal(Signal::TERM);
    consumer.wait_for_line("stopping");
    assert!(!consumer.has_ended());
    consumer.signal(Signal::TERM);
    // Long before its 600 seconds: nothing here waits for so long.
    assert_eq!(consumer.wait().code(), Some(143), "{}", consumer.text());
}

#[test]
fn a_stop_while_postgres_is_away_is_bounded_and_loses_nothing() {
    let (scene, mut own) = Scene::with_own_postgres("bounded", 1);
    let arguments = [
        "--shutdown-timeout",
        "2",
        "--kafka-property",
        "session.timeout.ms=6000",
    ];
    let mut consumer = Consumer::start_on(&scene, &own, &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    own.stop_fast().expect("it stops");
    publish::run(&load(&scene, 100), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    consumer.wait_for_line("postgres does not take the work now");
    consumer.signal(Signal::TERM);
    assert_eq!(consumer.wait().code(), Some(75), "{}", consumer.text());
    own.restart().expect("it starts");
    let consumer = Consumer::start_on(&scene, &own, &arguments);
    expect_settled(&scene, &own, &consumer, 100);
    consumer.stop();
}

#[test]
fn a_stop_while_postgres_says_nothing_is_bounded_and_loses_nothing() {
    let scene = Scene::new("silent_stop", 1);
    migrate_with_coordinates(&scene, postgres());
    let proxy = Proxy::start(postgres().port()).expect("a proxy");
    let arguments = [&NAMED[..], &["--shutdown-timeout", "2"]].concat();
    let mut consumer = Consumer::launch(&scene, &kafka().bootstrap(), proxy.port(), "consume", &arguments);
    consumer.wait_for_line("partition starts at its stored offset");
    proxy.silence(true);
    publish::run(&load(&scene, 1000), &AtomicBool::new(false), |_| {}).expect("the load is sent");
    assert!(
        wait_until(PATIENCE, || proxy.counts().silenced_bytes > 0),
        "a batch is under way\n{}",
        consumer.text()
    );
    consumer.signal(Signal::TERM);
    assert_eq!(consumer.wait().code(), Some(75), "{}", consumer.text());
    consumer.wait_for_line("were not stored within the shutdown timeout");
    // What was sent arrives in the end, without its COMMIT.
    proxy.silence(false);
    let consumer = Consumer::start(&scene, &NAMED);
    let found = expect_settled(&scene, postgres(), &consumer, 1000);
    assert_eq!(found.dead_letters, 0, "none twice: {found:?}");
    consumer.stop();
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
