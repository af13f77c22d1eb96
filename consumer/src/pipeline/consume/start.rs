//! Owns the answers that only Kafka has: where a partition starts that has no stored offset yet, and where it goes on
//! when the stored offset is no longer in its log.

use crate::config::{KafkaConfig, OffsetReset};
use crate::metrics::Metrics;
use crate::offsets::{Offset, Partition};
use crate::pipeline::rebalance::{Assignment, KafkaConsumer, plain_list};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use std::time::Duration;

/// How long Kafka may take for an answer; then it is asked again.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Where partitions start that have no row in `consumer_offsets`: at the group's offset in Kafka, so that a group that
/// another consumer used carries on where it stopped; without one, where `--offset-reset` says.
pub(super) fn first_offsets(
    consumer: &KafkaConsumer,
    kafka: &KafkaConfig,
    partitions: &[Partition],
) -> KafkaResult<Vec<(Partition, Offset)>> {
    let committed =
        consumer.committed_offsets(plain_list(&kafka.topic, partitions.iter().copied()), TIMEOUT)?;
    let mut found = Vec::with_capacity(partitions.len());
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
            let offset = reset(log_of(consumer, kafka, partition)?, kafka.offset_reset);
            tracing::info!(
                partition = partition.0,
                offset = offset.0,
                offset_reset = kafka.offset_reset.as_str(),
                "partition has no offset yet, neither in postgres nor in kafka",
            );
            offset
        };
        found.push((partition, offset));
    }
    Ok(found)
}

/// Looks at each partition whether its position is in its log, and moves it there if not. Never in silence.
pub(super) fn back_in_range(
    consumer: &KafkaConsumer,
    kafka: &KafkaConfig,
    assignment: &mut Assignment,
    metrics: &Metrics,
) -> KafkaResult<()> {
    let partitions: Vec<Partition> = assignment.partitions().collect();
    for partition in partitions {
        let Some(position) = assignment.position(partition) else {
            continue;
        };
        let log = log_of(consumer, kafka, partition)?;
        if position.read_next < log.start {
            let lost = position.read_next.distance_to(log.start);
            metrics.offsets_lost.increment(lost);
            tracing::error!(
                partition = partition.0,
                offset = position.read_next.0,
                log_start = log.start.0,
                offsets_lost = lost,
                "kafka's retention has removed messages that were not read yet; going on at the start of the log. Give \
                 the topic a longer retention, or the consumer more workers",
            );
            position.read_next = log.start;
        } else if position.read_next > log.end {
            let to = reset(log, kafka.offset_reset);
            tracing::error!(
                partition = partition.0,
                offset = position.read_next.0,
                log_end = log.end.0,
                going_on_at = to.0,
                offset_reset = kafka.offset_reset.as_str(),
                "the stored offset is beyond the end of the log: was the topic deleted and created again? \
                 --offset-reset decides where to go on",
            );
            position.read_next = to;
        }
    }
    Ok(())
}

/// The first and the next offset of a partition's log.
#[derive(Clone, Copy)]
struct Log {
    start: Offset,
    end: Offset,
}

fn log_of(consumer: &KafkaConsumer, kafka: &KafkaConfig, partition: Partition) -> KafkaResult<Log> {
    let (start, end) = consumer.fetch_watermarks(&kafka.topic, partition.0, TIMEOUT)?;
    Ok(Log {
        start: Offset(start),
        end: Offset(end),
    })
}

fn reset(log: Log, policy: OffsetReset) -> Offset {
    match policy {
        OffsetReset::Earliest => log.start,
        OffsetReset::Latest => log.end,
    }
}
