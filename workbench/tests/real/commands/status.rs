//! `status` tells a group that consumes from one that doesn't, without asking the consumer.

use super::{ask, run, run_with};
use crate::consumer::{Consumer, PATIENCE, expect_settled, load};
use crate::contract::send;
use crate::shared::{Scene, kafka, postgres};
use serde_json::Value;
use std::sync::atomic::AtomicBool;
use workbench::generator::publish;
use workbench::services::process::Signal;
use workbench::services::{ports, wait_until};

fn publish_to(scene: &Scene, count: u64) {
    publish::run(&load(scene, count), &AtomicBool::new(false), |_| {}).expect("the load is sent");
}

#[test]
fn members_lag_counts_and_the_newest_dead_letter_are_shown() {
    let scene = Scene::new("status", 2);
    publish_to(&scene, 500);
    send(&scene, &[Some(b"\x1b[31mno json\n".to_vec())]);
    let consumer = Consumer::start(&scene, &[]);
    expect_settled(&scene, postgres(), &consumer, 501);
    let (code, seen) = ask(&scene, &["status", "--json"]);
    assert_eq!(
        (code, &seen["well"], &seen["lag_messages"]),
        (0, &true.into(), &0.into()),
        "{seen:#}"
    );
    assert_eq!(
        seen["members"][0]["partitions"],
        serde_json::json!([0, 1]),
        "{seen:#}"
    );
    assert_eq!(seen["members"][0]["client_id"], "storage-consumer", "{seen:#}");
    let sum = |what: &str| {
        let partitions = seen["partitions"].as_array().expect("partitions").iter();
        partitions
            .map(|partition| partition[what].as_i64().expect("a number"))
            .sum::<i64>()
    };
    assert_eq!(sum("stored") + sum("dead_lettered"), 501, "{seen:#}");
    assert_eq!(sum("stored_offset"), 501, "{seen:#}");
    assert_eq!(
        seen["newest_dead_letters"][0]["reason"], "invalid_json",
        "{seen:#}"
    );
    let (code, text) = run(&scene, &["status"]);
    assert!(code == 0 && text.contains("all is stored"), "{text}");
    assert!(
        text.contains("storage-consumer replay --partition 0 --offset "),
        "{text}"
    );
    assert!(
        !text.contains('\x1b'),
        "no terminal, no colour, and what came from outside is text: {text:?}"
    );
    consumer.stop();

    publish_to(&scene, 40);
    let (code, seen) = ask(&scene, &["status", "--json"]);
    assert_eq!((code, &seen["lag_messages"]), (1, &40.into()), "{seen:#}");
    assert_eq!(seen["members"], serde_json::json!([]), "{seen:#}");
    assert!(
        seen["lag_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0),
        "{seen:#}"
    );
    let (code, text) = run(&scene, &["status"]);
    assert!(
        code == 1 && text.contains("nobody consumes, and 40 messages wait"),
        "{text}"
    );
}

#[test]
fn status_is_watched_until_it_is_interrupted() {
    let scene = Scene::new("status_watch", 1);
    let consumer = Consumer::start(&scene, &[]);
    consumer.wait_for_line("partition starts at its stored offset");
    let arguments = ["--watch", "0.2", "--json"];
    let mut watch = Consumer::launch(
        &scene,
        &kafka().bootstrap(),
        postgres().port(),
        "status",
        &arguments,
    );
    publish_to(&scene, 300);
    let newest = |watch: &Consumer| watch.lines().last().cloned().unwrap_or(Value::Null);
    let grown = || {
        newest(&watch)["partitions"][0]["stored"]
            .as_i64()
            .is_some_and(|stored| stored > 250)
    };
    assert!(wait_until(PATIENCE, grown), "{}", watch.text());
    assert!(watch.lines().len() > 1, "{}", watch.text());
    watch.signal(Signal::INT);
    assert_eq!(watch.wait().code(), Some(0), "{}", watch.text());
    consumer.stop();
}

#[test]
fn servers_that_are_out_of_reach_are_told_from_a_group_in_trouble() {
    let scene = Scene::new("status_away", 1);
    assert_eq!(run(&scene, &["migrate"]).0, 0);
    let nowhere = format!("127.0.0.1:{}", ports::free_port().expect("a free port"));
    let (code, text) = run_with(&scene, &nowhere, &["status"]);
    assert!(code == 69 && text.contains("kafka 127.0.0.1:"), "{code} {text}");
    let (code, text) = run(&scene, &["status", "--postgres-port", "1"]);
    assert!(code == 69 && text.contains("postgres: "), "{code} {text}");
}
