//! Owns what a run asks of the brokers beside messages: who leads, who coordinates, how far the logs go, more partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

use crate::services::{Kafka, block_on, wait_until};

/// An answer may take so long.
const ANSWER: Duration = Duration::from_secs(10);
/// Brokers that were away may need so long to have all that the others have.
const CATCH_UP: Duration = Duration::from_secs(90);

fn client(kafka: &Kafka) -> anyhow::Result<BaseConsumer> {
    Ok(ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .create()?)
}

fn metadata(kafka: &Kafka, topic: &str) -> anyhow::Result<Metadata> {
    let asked = client(kafka)?.fetch_metadata(Some(topic), ANSWER);
    asked.with_context(|| format!("the brokers tell nothing about {topic}"))
}

/// Where each partition's log ends.
pub(super) fn log_ends(kafka: &Kafka, topic: &str) -> anyhow::Result<BTreeMap<i32, i64>> {
    let client = client(kafka)?;
    let metadata = client.fetch_metadata(Some(topic), ANSWER)?;
    let topic = metadata.topics().first().context("no answer about the topic")?;
    let ends = topic.partitions().iter().map(|partition| {
        let (_, end) = client.fetch_watermarks(topic.name(), partition.id(), ANSWER)?;
        Ok((partition.id(), end))
    });
    ends.collect()
}

/// How many partitions a topic has.
pub(super) fn partitions(kafka: &Kafka, topic: &str) -> anyhow::Result<usize> {
    let metadata = metadata(kafka, topic)?;
    Ok(metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len()))
}

/// The node that leads a partition.
pub(super) fn leader(kafka: &Kafka, topic: &str, partition: i32) -> anyhow::Result<usize> {
    let metadata = metadata(kafka, topic)?;
    let leader = metadata
        .topics()
        .iter()
        .flat_map(rdkafka::metadata::MetadataTopic::partitions)
        .find(|found| found.id() == partition)
        .map(rdkafka::metadata::MetadataPartition::leader);
    match leader.map(usize::try_from) {
        Some(Ok(node)) => Ok(node),
        _ => bail!("nobody leads {topic}/{partition}"),
    }
}

/// The node that coordinates a group: the leader of the partition of `__consumer_offsets` that the group's name
/// falls on, as Kafka computes it.
pub(super) fn coordinator(kafka: &Kafka, group: &str) -> anyhow::Result<usize> {
    const OFFSETS: &str = "__consumer_offsets";
    let count = i32::try_from(partitions(kafka, OFFSETS)?)?;
    let partition = (java_hash(group) & i32::MAX)
        .checked_rem(count)
        .context("the group has no offsets yet")?;
    leader(kafka, OFFSETS, partition)
}

/// Java's `String.hashCode`.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0_i32, |hash, unit| {
        hash.wrapping_mul(31).wrapping_add(i32::from(unit))
    })
}

/// Gives a topic more partitions.
pub(super) fn grow(kafka: &Kafka, topic: &str, partitions: usize) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", kafka.bootstrap())
        .create()?;
    let request = NewPartitions::new(topic, partitions);
    let options = AdminOptions::new().operation_timeout(Some(ANSWER));
    let outcomes = block_on(async { Ok(admin.create_partitions([&request], &options).await?) })?;
    outcomes
        .into_iter()
        .try_for_each(|outcome| outcome.map(drop))
        .map_err(|(topic, code)| anyhow!("{topic} can't get more partitions: {code}"))
}

/// Waits until every replica has what its leader has: only then another broker may go.
pub(super) fn wait_until_in_sync(kafka: &Kafka, topic: &str) -> anyhow::Result<()> {
    let in_sync = |topic: &str| {
        metadata(kafka, topic).is_ok_and(|metadata| {
            metadata
                .topics()
                .iter()
                .flat_map(rdkafka::metadata::MetadataTopic::partitions)
                .all(|partition| partition.isr().len() == partition.replicas().len())
        })
    };
    if wait_until(CATCH_UP, || in_sync(topic) && in_sync("__consumer_offsets")) {
        Ok(())
    } else {
        bail!("the replicas are not in sync after {CATCH_UP:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("storage-consumer-group") & i32::MAX, {
            let java = java_hash("storage-consumer-group");
            if java < 0 { java - i32::MIN } else { java }
        });
        assert_eq!(java_hash(""), 0);
    }
}
