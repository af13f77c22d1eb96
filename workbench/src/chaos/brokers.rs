//! Owns what a run asks of the brokers beside what every test asks: how far the logs go, and whether a broker may be
//! missed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::metadata::Metadata;

use crate::services::{Kafka, wait_until};

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
pub(super) fn partitions(kafka: &Kafka, topic: &str) -> anyhow::Result<i32> {
    let metadata = metadata(kafka, topic)?;
    let count = metadata
        .topics()
        .first()
        .map_or(0, |topic| topic.partitions().len());
    Ok(i32::try_from(count)?)
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
