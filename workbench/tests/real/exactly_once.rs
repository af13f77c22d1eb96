//! Promises 1 to 3: every message is stored exactly once, whatever happens to the consumer.

use crate::consumer::{Consumer, expect_settled, last_statistics, load};
use crate::shared::{Scene, postgres};
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;

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
