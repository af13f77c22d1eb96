//! Owns the answers that only Kafka has: where a partition starts that has no stored offset yet, and what its log holds.

use crate::config::{KafkaConfig, OffsetReset};
use crate::offsets::{Log, Offset, Partition};
use crate::pipeline::rebalance::{KafkaConsumer, plain_list};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use rdkafka::metadata::MetadataTopic;
use std::time::Duration;

/// How long Kafka may take for an answer; then it is asked again.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where partitions start that have no row in `consumer_offsets`: at the group's offset in Kafka, so that a group that
/// another consumer used carries on where it stopped; without one, where `--offset-reset` says. `others_began`: the group
/// has rows for other partitions of the topic, so that these are new ones, whose messages nobody has seen: they start
/// with their first. So that this can be told later, the group begins in all partitions of the topic at once where it
/// begins at their end.
pub(super) fn first_offsets(
    consumer: &KafkaConsumer,
    kafka: &KafkaConfig,
    partitions: &[Partition],
    others_began: bool,
) -> KafkaResult<Vec<(Partition, Offset)>> {
    let policy = if others_began {
        OffsetReset::Earliest
    } else {
        kafka.offset_reset
    };
    let partitions = match policy {
        OffsetReset::Earliest => partitions.to_vec(),
        OffsetReset::Latest => all_partitions(consumer, kafka)?,
    };
    let committed = consumer.committed_offsets(plain_list(&kafka.topic, partitions.into_iter()), TIMEOUT)?;
    let mut found = Vec::with_capacity(committed.count());
    for element in committed.elements_for_topic(&kafka.topic) {
        element.error()?;
        let partition = Partition(element.partition());
        let offset = if let rdkafka::Offset::Offset(offset) = element.offset() {
            tracing::info!(
                partition = partition.0,
                offset,
                "partition carries on at its group's offset in kafka"
            );
            Offset(offset)
        } else {
            let offset = log_of(consumer, kafka, partition)?.reset(policy);
            tracing::info!(
                partition = partition.0,
                offset = offset.0,
                offset_reset = policy.as_str(),
                "partition has no offset yet, neither in postgres nor in kafka",
            );
            offset
        };
        found.push((partition, offset));
    }
    Ok(found)
}

fn all_partitions(consumer: &KafkaConsumer, kafka: &KafkaConfig) -> KafkaResult<Vec<Partition>> {
    let metadata = consumer.fetch_metadata(Some(&kafka.topic), TIMEOUT)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == kafka.topic);
    let partitions = topic.map(MetadataTopic::partitions).unwrap_or_default();
    Ok(partitions
        .iter()
        .map(|partition| Partition(partition.id()))
        .collect())
}

/// What a partition's log holds.
pub(super) fn log_of(
    consumer: &KafkaConsumer,
    kafka: &KafkaConfig,
    partition: Partition,
) -> KafkaResult<Log> {
    let (start, end) = consumer.fetch_watermarks(&kafka.topic, partition.0, TIMEOUT)?;
    Ok(Log {
        start: Offset(start),
        end: Offset(end),
    })
}
