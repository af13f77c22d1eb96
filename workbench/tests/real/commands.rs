//! The commands beside `consume`, each as a person or a script uses it, on real services.

mod replay; // dead letters become rows once, whatever happens
mod audit; // the sums agree, or it is said which don't
mod offsets; // set while nobody consumes, and at no other time
mod status; // where a group stands
mod privileges; // as much as is documented, and no more
mod printed; // configuration, completions, manual pages
mod reload; // routes and log level without a restart

use crate::consumer::{Consumer, PATIENCE, count, query};
use crate::shared::{Scene, kafka, postgres};
use serde_json::Value;
use std::ops::Range;
use workbench::services::wait_until;

/// A command run to its end: its exit code, and all that it said.
fn run(scene: &Scene, arguments: &[&str]) -> (i32, String) {
    run_with(scene, &kafka().bootstrap(), arguments)
}

/// The same with other brokers.
fn run_with(scene: &Scene, kafka_servers: &str, arguments: &[&str]) -> (i32, String) {
    let (command, rest) = arguments.split_first().expect("a command");
    let mut done = Consumer::launch(scene, kafka_servers, postgres().port(), command, rest);
    let status = done.wait();
    (status.code().unwrap_or(-1), done.text())
}

/// The same for a command that answers in JSON.
fn ask(scene: &Scene, arguments: &[&str]) -> (i32, Value) {
    let (code, text) = run(scene, arguments);
    let answer = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (code, answer)
}

/// The number that a query answers in the scene's database.
fn number(scene: &Scene, sql: &str) -> i64 {
    let answer = query(postgres(), &scene.database, sql);
    answer
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("no number: {sql}"))
}

/// A statement in the scene's database.
fn execute(scene: &Scene, sql: &str) {
    postgres()
        .execute(&scene.database, sql)
        .unwrap_or_else(|error| panic!("{error:#}"));
}

/// Waits until so many messages are rows or dead letters.
fn settled(scene: &Scene, consumer: &Consumer, messages: u64) {
    let found = || count(scene, postgres());
    assert!(
        wait_until(PATIENCE, || found().settled() >= messages),
        "{:?} of {messages}\n{}",
        found(),
        consumer.text()
    );
}

/// The counts of the group: stored, dead-lettered.
fn counts(scene: &Scene) -> (i64, i64) {
    let sum = |column: &str| {
        number(
            scene,
            &format!("SELECT sum({column})::bigint FROM consumer_offsets"),
        )
    };
    (sum("stored"), sum("dead_lettered"))
}

/// Events of a type that has no built-in route.
fn gpu_events(serials: Range<usize>) -> Vec<Option<Vec<u8>>> {
    let event = |serial: usize| {
        let event =
            format!(r#"{{"type": "gpu_metric", "serial": {serial}, "timestamp": "2026-01-15T10:30:00Z"}}"#);
        Some(event.into_bytes())
    };
    serials.map(event).collect()
}

/// The table for them, which refuses a row that is stored twice.
const GPU_TABLE: &str = "CREATE TABLE gpu_metrics (
    serial bigint NOT NULL, timestamp timestamptz NOT NULL, kafka_partition integer, kafka_offset bigint,
    UNIQUE (kafka_partition, kafka_offset))";

const GPU_ROUTE: [&str; 2] = ["--route", "gpu_metric=gpu_metrics"];
