//! What a test asks of brokers beside messages: topics, the removal of old records, and how far a group has
//! come, by Kafka's own tool and by a cheaper question.

use std::time::Duration;

use anyhow::{Context as _, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::kafka::OFFSETS_PARTITIONS;
use super::{Kafka, block_on, wait_until};

const LIMIT: Duration = Duration::from_secs(30);

/// How far a group has come in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The group's committed offset, if it has one: the next message that it would read.
    pub current_offset: Option<i64>,
    /// The offset that the next message written will get.
    pub log_end_offset: Option<i64>,
    /// What lies between the two, in messages.
    pub lag: Option<i64>,
}

impl Kafka {
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap());
        // A restarted broker is found again at once.
        config
            .set("reconnect.backoff.ms", "20")
            .set("reconnect.backoff.max.ms", "500");
        config
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        self.client().create().context("no admin client")
    }

    /// Makes a topic, on up to three nodes, and returns when each of its partitions has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) -> anyhow::Result<()> {
        let copies = i32::try_from(self.nodes().min(3))?;
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(copies));
        topic.config.extend(config);
        let admin = self.admin()?;
        let created = block_on(async { Ok(admin.create_topics([&topic], &patient()).await?) })?;
        for outcome in created {
            outcome
                .map_err(|(_, code)| code)
                .with_context(|| format!("cannot create topic {name}"))?;
        }
        led(&admin, name, partitions)
    }

    /// Adds partitions to a topic, so that it has `partitions`, and returns when each of them has a leader.
    pub fn add_partitions(&self, name: &str, partitions: i32) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let grown = NewPartitions::new(name, usize::try_from(partitions)?);
        let outcomes = block_on(async { Ok(admin.create_partitions([&grown], &patient()).await?) })?;
        for outcome in outcomes {
            outcome
                .map_err(|(_, code)| code)
                .with_context(|| format!("cannot add partitions to {name}"))?;
        }
        led(&admin, name, partitions)
    }

    /// The node that leads a partition.
    pub fn leader(&self, topic: &str, partition: i32) -> anyhow::Result<usize> {
        let client: BaseConsumer = self.client().create()?;
        let metadata = client.fetch_metadata(Some(topic), LIMIT)?;
        let leader = metadata
            .topics()
            .iter()
            .flat_map(rdkafka::metadata::MetadataTopic::partitions)
            .find(|found| found.id() == partition)
            .with_context(|| format!("no partition {partition} in topic {topic}"))?
            .leader();
        usize::try_from(leader).with_context(|| format!("{topic}/{partition} has no leader"))
    }

    /// The node that coordinates a group: the leader of the partition that holds the group's offsets.
    pub fn coordinator(&self, group: &str) -> anyhow::Result<usize> {
        // Java's hash of a string (of one with nothing but ASCII), made positive as Kafka does it.
        let hash = group.bytes().fold(0i32, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(i32::from(byte))
        });
        self.leader("__consumer_offsets", (hash & i32::MAX) % OFFSETS_PARTITIONS)
    }

    /// Deletes a topic and returns when it is gone.
    pub fn delete_topic(&self, name: &str) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let deleted = block_on(async { Ok(admin.delete_topics(&[name], &patient()).await?) })?;
        for outcome in deleted {
            outcome
                .map_err(|(_, code)| code)
                .with_context(|| format!("cannot delete topic {name}"))?;
        }
        let client = admin.inner();
        let gone = wait_until(LIMIT, || {
            client
                .fetch_metadata(None, Duration::from_secs(5))
                .is_ok_and(|metadata| metadata.topics().iter().all(|topic| topic.name() != name))
        });
        if !gone {
            bail!("topic {name} is still there after {LIMIT:?}");
        }
        Ok(())
    }

    /// Removes the records before `offset`, as retention does when it passes a consumer.
    pub fn delete_records(&self, topic: &str, partition: i32, offset: i64) -> anyhow::Result<()> {
        let admin = self.admin()?;
        let mut before = TopicPartitionList::new();
        before.add_partition_offset(topic, partition, Offset::Offset(offset))?;
        let answer = block_on(async { Ok(admin.delete_records(&before, &patient()).await?) })?;
        for element in answer.elements() {
            element
                .error()
                .with_context(|| format!("cannot delete the records of {topic}/{partition}"))?;
        }
        Ok(())
    }

    /// How far a group has come, as `kafka-consumer-groups --describe` tells it. It takes a JVM's start; to
    /// wait for a group use [`Kafka::group_offsets`].
    pub fn consumer_group_lag(&self, group: &str) -> anyhow::Result<Vec<PartitionLag>> {
        let output = self
            .tool()
            .arg("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand")
            .args([
                "--bootstrap-server",
                &self.bootstrap(),
                "--describe",
                "--group",
                group,
            ])
            .output()
            .context("cannot run kafka-consumer-groups")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lag = parse_described(&text);
        if !output.status.success() || lag.is_empty() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!(
                "kafka-consumer-groups tells nothing about group {group} ({}): {text}{errors}",
                output.status
            );
        }
        Ok(lag)
    }

    /// How far a group has come in each partition of a topic, asked of the brokers in a few milliseconds.
    pub fn group_offsets(&self, group: &str, topic: &str) -> anyhow::Result<Vec<PartitionLag>> {
        let client: BaseConsumer = self.client().set("group.id", group).create()?;
        let metadata = client.fetch_metadata(Some(topic), LIMIT)?;
        let mut asked = TopicPartitionList::new();
        for partition in metadata
            .topics()
            .iter()
            .flat_map(rdkafka::metadata::MetadataTopic::partitions)
        {
            asked.add_partition(topic, partition.id());
        }
        let committed = client.committed_offsets(asked, LIMIT)?;
        let mut lag = Vec::new();
        for element in committed.elements() {
            let current_offset = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let (_, end) = client.fetch_watermarks(topic, element.partition(), LIMIT)?;
            lag.push(PartitionLag {
                topic: topic.to_owned(),
                partition: element.partition(),
                current_offset,
                log_end_offset: Some(end),
                lag: current_offset.map(|current| end - current),
            });
        }
        Ok(lag)
    }
}

/// Waits until a topic has so many partitions, each with a leader.
fn led(admin: &AdminClient<DefaultClientContext>, topic: &str, partitions: i32) -> anyhow::Result<()> {
    let led = wait_until(LIMIT, || {
        admin
            .inner()
            .fetch_metadata(Some(topic), Duration::from_secs(5))
            .is_ok_and(|metadata| {
                let found = metadata.topics()[0].partitions();
                found.len() == usize::try_from(partitions).unwrap_or(usize::MAX)
                    && found
                        .iter()
                        .all(|partition| partition.leader() >= 0 && partition.error().is_none())
            })
    });
    if !led {
        bail!("topic {topic} has no leaders after {LIMIT:?}");
    }
    Ok(())
}

fn patient() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(LIMIT))
        .operation_timeout(Some(LIMIT))
}

/// Reads the table that `kafka-consumer-groups --describe` prints: GROUP TOPIC PARTITION CURRENT-OFFSET
/// LOG-END-OFFSET LAG …, `-` where there is no value. Any other line lacks the numbers.
fn parse_described(text: &str) -> Vec<PartitionLag> {
    let number = |word: &str| {
        if word == "-" {
            Some(None)
        } else {
            word.parse().ok().map(Some)
        }
    };
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        Some(PartitionLag {
            topic: (*words.get(1)?).to_owned(),
            partition: words.get(2)?.parse().ok()?,
            current_offset: number(words.get(3)?)?,
            log_end_offset: number(words.get(4)?)?,
            lag: number(words.get(5)?)?,
        })
    };
    let mut rows: Vec<PartitionLag> = text.lines().filter_map(row).collect();
    rows.sort_by(|left, right| (&left.topic, left.partition).cmp(&(&right.topic, right.partition)));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_table_is_read() {
        let text = "
Consumer group 'metrics' has no active members.

GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID
metrics         events          1          -               40              -               -               -               -
metrics         events          0          600             1000            400             -               -               -
";
        let row = |partition, current_offset, end, lag| PartitionLag {
            topic: "events".to_owned(),
            partition,
            current_offset,
            log_end_offset: Some(end),
            lag,
        };
        assert_eq!(
            parse_described(text),
            [row(0, Some(600), 1000, Some(400)), row(1, None, 40, None)]
        );
        assert!(parse_described("Error: Consumer group 'x' does not exist.\n").is_empty());
    }
}
