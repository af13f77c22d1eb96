//! Promises 1 to 3: every message is stored exactly once, whatever happens to the consumer.

use crate::consumer::{Consumer, count, expect_settled, last_statistics, load, migrate_with_coordinates};
use crate::shared::{Scene, postgres};
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;
use workbench::generator::{Summary, publish};

fn produce(scene: &Scene, events: u64) -> Summary {
    publish::run(&load(scene, events), &AtomicBool::new(false), |_| {}).expect("the load is sent")
}

#[test]
fn every_event_lands_in_its_table_once_and_the_sums_are_logged() {
    let scene = Scene::new("plain", 6);
    let settings = workbench::generator::Settings {
        malformed_ratio: 0.02,
        ..load(&scene, 50_000)
    };
    let sent = publish::run(&settings, &AtomicBool::new(false), |_| {}).expect("the load is sent");
    let consumer = Consumer::start(&scene, &[]);
    let found = expect_settled(&scene, postgres(), &consumer, 50_000);
    assert_eq!(found.stored, sent.server_metrics + sent.application_metrics);
    assert_eq!(found.dead_lettered, sent.malformed);
    let lines = consumer.stop();
    let statistics = last_statistics(&lines);
    assert_eq!(statistics["total_consumed"], 50_000);
    assert_eq!(statistics["server_metrics"], sent.server_metrics);
    assert_eq!(statistics["application_metrics"], sent.application_metrics);
    assert_eq!(statistics["dead_letters"], sent.malformed);
    assert_eq!(statistics["lag"], 0);
    for key in [
        "parse_errors",
        "insert_errors",
        "unknown_type",
        "avg_rate_per_sec",
        "elapsed_sec",
    ] {
        assert!(statistics.contains_key(key), "{key}: {statistics:?}");
    }
}

#[test]
fn sigkill_at_any_moment_loses_and_doubles_nothing() {
    let scene = Scene::new("sigkill", 6);
    migrate_with_coordinates(&scene, postgres());
    let events = 100_000;
    produce(&scene, events);
    for kill in 1..=6u64 {
        let consumer = Consumer::start(&scene, &["--kafka-property", "session.timeout.ms=6000"]);
        let target = events * kill / 8;
        workbench::services::wait_until(Duration::from_mins(1), || {
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
