//! The event generator's binary against a real broker: it creates its topic, and what it says it sent is there.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use workbench::services::wait_until;

use super::shared;

const LIMIT: Duration = Duration::from_mins(1);

fn generator(topic: &str, options: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_event-generator"));
    command
        .args(["--kafka-servers", &shared::kafka().bootstrap(), "--topic", topic])
        .args(options.split_whitespace())
        .arg("--summary-json")
        .stdout(Stdio::piped());
    command
}

/// A generator that doesn't outlive a failed test.
struct Running(Option<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// The messages of each partition of a topic.
fn messages(topic: &str) -> Vec<i64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", shared::kafka().bootstrap())
        .create()
        .expect("a consumer");
    let metadata = consumer.fetch_metadata(Some(topic), LIMIT).expect("metadata");
    metadata.topics()[0]
        .partitions()
        .iter()
        .map(|partition| {
            // Just after it was created, a partition may still be without a leader.
            consumer
                .fetch_watermarks(topic, partition.id(), LIMIT)
                .map_or(0, |(low, high)| high - low)
        })
        .collect()
}

#[test]
fn the_generator_creates_its_topic_and_sends_what_it_counts() {
    let topic = shared::unique("generated");
    let output = generator(
        &topic,
        "--partitions 6 --rate 0 --count 30000 --malformed-ratio 0.1 --seed 1",
    )
    .output()
    .expect("the generator runs");
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(
        (&summary["produced"], &summary["failed"]),
        (&30_000.into(), &0.into())
    );
    let number = |name: &str| summary[name].as_u64().expect("a number");
    assert_eq!(
        number("server_metrics") + number("application_metrics") + number("malformed"),
        30_000
    );
    let messages = messages(&topic);
    assert_eq!((messages.len(), messages.iter().sum::<i64>()), (6, 30_000));
}

#[test]
fn a_stopped_generator_has_sent_what_it_counts() {
    let topic = shared::unique("stopped");
    let running = generator(&topic, "--partitions 2 --rate 1000 --config chaos")
        .spawn()
        .expect("the generator starts");
    let mut running = Running(Some(running));
    assert!(wait_until(LIMIT, || {
        messages(&topic).iter().sum::<i64>() >= 500
    }));
    let child = running.0.take().expect("it runs");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("a signal");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{output:?}");
    let summary: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(summary["failed"], 0);
    assert_eq!(
        summary["produced"].as_i64(),
        Some(messages(&topic).iter().sum::<i64>())
    );
}
