//! Owns the Kafka client's properties: those that the promises stand on, those that measured well, the user's.

use crate::config::KafkaConfig;
use crate::pipeline::rebalance::{Context, KafkaConsumer};
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};

/// Whether librdkafka takes the properties; the error names the property and hides a secret's value.
pub fn check_properties(kafka: &KafkaConfig) -> Result<(), String> {
    match properties(kafka).create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, key, value)) => {
            let value = if KafkaConfig::is_secret_property(&key) {
                "***"
            } else {
                value.as_str()
            };
            let reason = if KafkaConfig::is_secret_property(&key) {
                ""
            } else {
                reason.as_str()
            };
            Err(format!(
                "--kafka-property {key}={value}: librdkafka refuses it: {reason}"
            ))
        }
        Err(error) => Err(format!("--kafka-property: {error}")),
    }
}

/// The bytes that the client may fetch ahead.
pub(in crate::pipeline) fn fetched_ahead(kafka: &KafkaConfig) -> u64 {
    properties(kafka)
        .get(FETCH_AHEAD)
        .and_then(|kib| kib.parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// The property that bounds it, in KiB.
const FETCH_AHEAD: &str = "queued.max.messages.kbytes";

/// The properties of a client that looks at a group and its topic without being a member: how the user's client reaches
/// Kafka, and nothing that makes it join.
#[must_use]
pub fn onlooker(kafka: &KafkaConfig) -> ClientConfig {
    const OF_MEMBERS: [&str; 7] = [
        "group.instance.id",
        "group.protocol",
        "group.remote.assignor",
        "partition.assignment.strategy",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "max.poll.interval.ms",
    ];
    let mut properties = ClientConfig::new();
    for (key, value) in kafka.current_properties() {
        if !OF_MEMBERS.contains(&key.as_str()) {
            properties.set(key, value);
        }
    }
    properties
        .set("client.id", "storage-consumer")
        .set("allow.auto.create.topics", "false");
    promised(&mut properties, kafka);
    properties
}

pub(super) fn create(kafka: &KafkaConfig, context: Context) -> KafkaResult<KafkaConsumer> {
    properties(kafka).create_with_context(context)
}

fn properties(kafka: &KafkaConfig) -> ClientConfig {
    let mut properties = ClientConfig::new();
    properties
        .set("client.id", "storage-consumer")
        .set("allow.auto.create.topics", "false")
        .set("socket.keepalive.enable", "true")
        // A topic that is created later, and new partitions, are found within so long.
        .set("topic.metadata.refresh.interval.ms", "10000")
        // Lag and the group's state are read from librdkafka's statistics.
        .set("statistics.interval.ms", "1000")
        // Memory: what is fetched ahead, and what one answer of a broker may hold. An answer is compressed, and five
        // times as large when it is unpacked. A larger message comes all the same, alone.
        .set(FETCH_AHEAD, "2048")
        .set("fetch.max.bytes", "1048576")
        .set("fetch.message.max.bytes", "262144")
        // Without it, the client pauses a whole second whenever it has fetched ahead as much as it may.
        .set("fetch.queue.backoff.ms", "10")
        .set_log_level(RDKafkaLogLevel::Info);
    let classic = !kafka
        .properties
        .iter()
        .any(|(key, value)| key == "group.protocol" && value == "consumer");
    if classic {
        // A rebalance takes only the partitions that move.
        properties.set("partition.assignment.strategy", "cooperative-sticky");
        // A member that died is missed after so long. Short, because the fence makes a wrong suspicion harmless.
        properties.set("session.timeout.ms", "10000");
    }
    for (key, value) in kafka.current_properties() {
        properties.set(key, value);
    }
    promised(&mut properties, kafka);
    properties
}

/// What the promises stand on, whatever the user's properties say: offsets are PostgreSQL's, a gap in the log is never
/// skipped in silence, and its end is told.
fn promised(properties: &mut ClientConfig, kafka: &KafkaConfig) {
    properties
        .set("bootstrap.servers", &kafka.servers)
        .set("group.id", &kafka.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
}
