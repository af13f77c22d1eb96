//! Kafka's faults: what the log no longer holds, brokers that die, topics that are made anew.

use crate::consumer::{Consumer, PATIENCE, count, expect_settled, load};
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
