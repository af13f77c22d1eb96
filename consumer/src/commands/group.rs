//! Owns what Kafka says of a group and its topic to somebody who is not a member: partitions, logs, members, committed
//! offsets, messages' timestamps. Blocks; knows rdkafka, never tokio-postgres.

use super::Trouble;
use crate::config::{Config, KafkaConfig, OAuth};
use crate::offsets::{Log, Offset, Partition};
use crate::pipeline::consume::onlooker;
use crate::pipeline::oauth_token;
use rdkafka::ClientContext;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long Kafka may take for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) client_id: String,
    pub(super) host: String,
    pub(super) partitions: BTreeSet<Partition>,
}

/// Who is in the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Members {
    /// These, all of them.
    Known(Vec<Member>),
    /// Kafka tells members of the group protocol of Kafka 4 (`group.protocol=consumer`) to newer clients only.
    NotTold,
}

/// Why the group's offsets were not taken by Kafka.
#[derive(Debug)]
pub(super) enum Uncommitted {
    /// Somebody is a member of the group.
    Live,
    /// Anything else.
    Other(String),
}

/// Keeps what the client says last of brokers that it does not reach: its errors say less.
struct Listener {
    said: Mutex<Option<String>>,
    oauth: Option<OAuth>,
}

impl ClientContext for Listener {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(self.oauth.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "kafka client: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let is_end = error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF);
        // That all brokers are down is told last, and why before.
        let is_sum = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        if !is_end && !is_sum {
            *self.said.lock().expect("not poisoned") = Some(reason.to_owned());
        }
    }
}

impl ConsumerContext for Listener {}

/// A client that looks at the group and its topic.
pub(super) struct Group {
    client: BaseConsumer<Listener>,
    topic: String,
    name: String,
    servers: String,
}

impl Group {
    /// Does not connect yet.
    pub(super) fn new(kafka: &KafkaConfig) -> Result<Self, Trouble> {
        let mut properties = onlooker(kafka);
        // One message a partition is all that is ever wanted.
        properties
            .set("queued.min.messages", "1")
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.message.max.bytes", "65536");
        let client = properties
            .create_with_context(Listener {
                said: Mutex::default(),
                oauth: kafka.oauth.clone(),
            })
            .map_err(|error| Trouble::Refused(format!("kafka: {error}")))?;
        Ok(Self {
            client,
            topic: kafka.topic.clone(),
            name: kafka.group_id.clone(),
            servers: kafka.servers.clone(),
        })
    }

    /// What the client has said of its brokers, in brackets.
    fn heard(&self) -> String {
        let heard = self.client.context().said.lock().expect("not poisoned").clone();
        heard.map_or_else(String::new, |heard| format!(" ({heard})"))
    }

    fn trouble(&self, error: &KafkaError) -> Trouble {
        Trouble::Unreachable(format!("kafka {}: {error}{}", self.servers, self.heard()))
    }

    /// The topic's partitions; at least one.
    pub(super) fn partitions(&self) -> Result<Vec<Partition>, Trouble> {
        let metadata = self.client.fetch_metadata(Some(&self.topic), TIMEOUT);
        let metadata = metadata.map_err(|error| self.trouble(&error))?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        let mut partitions: Vec<Partition> = topic
            .map(MetadataTopic::partitions)
            .unwrap_or_default()
            .iter()
            .map(|partition| Partition(partition.id()))
            .collect();
        partitions.sort_unstable();
        if partitions.is_empty() {
            let topic = &self.topic;
            return Err(Trouble::Refused(format!(
                "topic {topic}: does not exist; check --topic"
            )));
        }
        Ok(partitions)
    }

    /// What each partition's log holds.
    pub(super) fn logs(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Log>, Trouble> {
        let log_of = |partition: &Partition| {
            let marks = self.client.fetch_watermarks(&self.topic, partition.0, TIMEOUT);
            let (start, end) = marks.map_err(|error| self.trouble(&error))?;
            let log = Log {
                start: Offset(start),
                end: Offset(end),
            };
            Ok((*partition, log))
        };
        partitions.iter().map(log_of).collect()
    }

    /// The offsets that the group has committed to Kafka.
    pub(super) fn committed(&self, partitions: &[Partition]) -> Result<BTreeMap<Partition, Offset>, Trouble> {
        let list = self.list(partitions.iter().copied());
        let committed = self
            .client
            .committed_offsets(list, TIMEOUT)
            .map_err(|error| self.trouble(&error))?;
        Ok(offsets(&committed).collect())
    }

    /// The first offset of each partition whose message has this timestamp (milliseconds since the Unix epoch) or a later
    /// one; a partition without one is left out.
    pub(super) fn at_time(
        &self,
        partitions: &[Partition],
        timestamp_ms: i64,
    ) -> Result<BTreeMap<Partition, Offset>, Trouble> {
        let wanted = partitions
            .iter()
            .map(|partition| (*partition, Offset(timestamp_ms)));
        let answer = self
            .placed(wanted)
            .and_then(|wanted| self.client.offsets_for_times(wanted, TIMEOUT));
        Ok(offsets(&answer.map_err(|error| self.trouble(&error))?).collect())
    }

    /// Who is in the group.
    pub(super) fn members(&self, has_committed: bool) -> Result<Members, Trouble> {
        let groups = match self.client.fetch_group_list(Some(&self.name), TIMEOUT) {
            Ok(groups) => groups,
            Err(KafkaError::GroupListFetch(RDKafkaErrorCode::GroupIdNotFound)) => {
                return Ok(Members::NotTold);
            }
            Err(error) => return Err(self.trouble(&error)),
        };
        let Some(group) = groups.groups().iter().find(|group| group.name() == self.name) else {
            return Ok(if has_committed {
                Members::NotTold
            } else {
                Members::Known(Vec::new())
            });
        };
        // A group that has offsets and is nothing to this question is one of the newer protocol.
        if group.state() == "Dead" && has_committed {
            return Ok(Members::NotTold);
        }
        let members = group.members().iter().map(|member| Member {
            client_id: member.client_id().to_owned(),
            host: member.client_host().trim_start_matches('/').to_owned(),
            partitions: member
                .assignment()
                .and_then(|bytes| assigned(bytes, &self.topic))
                .unwrap_or_default(),
        });
        Ok(Members::Known(members.collect()))
    }

    /// The first message at or behind each of these offsets: its offset and its timestamp, in milliseconds since the Unix
    /// epoch. A partition whose log ends there, or says nothing in time, is left out.
    pub(super) fn messages_at(
        &self,
        wanted: &BTreeMap<Partition, Offset>,
        within: Duration,
    ) -> Result<BTreeMap<Partition, (Offset, Option<i64>)>, Trouble> {
        let mut found = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let places = wanted.iter().map(|(partition, offset)| (*partition, *offset));
        let assigned = self.placed(places).and_then(|list| self.client.assign(&list));
        assigned.map_err(|error| self.trouble(&error))?;
        let until = Instant::now() + within;
        let mut missing: BTreeSet<Partition> = wanted.keys().copied().collect();
        while !missing.is_empty() && Instant::now() < until {
            match self.client.poll(Duration::from_millis(50)) {
                Some(Ok(message)) => {
                    let partition = Partition(message.partition());
                    if missing.remove(&partition) {
                        let at = (Offset(message.offset()), message.timestamp().to_millis());
                        found.insert(partition, at);
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(missing.remove(&Partition(partition))),
                // An offset outside of the log, or a broker that is away for a moment.
                Some(Err(_)) | None => {}
            }
        }
        let _ = self.client.unassign();
        Ok(found)
    }

    /// Commits offsets as nobody's member: Kafka refuses it while the group has any.
    pub(super) fn commit(&self, offsets: &BTreeMap<Partition, Offset>) -> Result<(), Uncommitted> {
        let places = offsets.iter().map(|(partition, offset)| (*partition, *offset));
        let done = self
            .placed(places)
            .and_then(|list| self.client.commit(&list, CommitMode::Sync));
        match done {
            Ok(()) => Ok(()),
            Err(error) => match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress
                    | RDKafkaErrorCode::StaleMemberEpoch,
                ) => Err(Uncommitted::Live),
                _ => Err(Uncommitted::Other(self.trouble(&error).to_string())),
            },
        }
    }

    fn list(&self, partitions: impl Iterator<Item = Partition>) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for partition in partitions {
            list.add_partition(&self.topic, partition.0);
        }
        list
    }

    fn placed(&self, places: impl Iterator<Item = (Partition, Offset)>) -> KafkaResult<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in places {
            list.add_partition_offset(&self.topic, partition.0, rdkafka::Offset::Offset(offset.0))?;
        }
        Ok(list)
    }
}

/// A question to Kafka, on a thread that may block.
pub(super) async fn ask_kafka<T: Send + 'static>(
    config: &Config,
    question: impl FnOnce(&Group) -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let kafka = config.kafka.clone();
    tokio::task::spawn_blocking(move || question(&Group::new(&kafka)?))
        .await
        .expect("questions don't panic")
}

fn offsets(list: &TopicPartitionList) -> impl Iterator<Item = (Partition, Offset)> {
    let elements = list.elements();
    let found: Vec<_> = elements
        .iter()
        .filter_map(|element| match element.offset() {
            rdkafka::Offset::Offset(offset) => Some((Partition(element.partition()), Offset(offset))),
            _ => None,
        })
        .collect();
    found.into_iter()
}

/// The topic's partitions in a member's assignment (Kafka's `ConsumerProtocolAssignment`: version, topics with partitions).
fn assigned(bytes: &[u8], topic: &str) -> Option<BTreeSet<Partition>> {
    fn take<'a>(rest: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, left) = rest.split_at_checked(count)?;
        *rest = left;
        Some(taken)
    }
    fn number(rest: &mut &[u8]) -> Option<i32> {
        Some(i32::from_be_bytes(take(rest, 4)?.try_into().ok()?))
    }
    let mut rest = bytes;
    take(&mut rest, 2)?;
    let mut partitions = BTreeSet::new();
    for _ in 0..number(&mut rest)? {
        let length = u16::from_be_bytes(take(&mut rest, 2)?.try_into().ok()?);
        let name = take(&mut rest, usize::from(length))?;
        for _ in 0..number(&mut rest)? {
            let partition = Partition(number(&mut rest)?);
            if name == topic.as_bytes() {
                partitions.insert(partition);
            }
        }
    }
    Some(partitions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_a_broken_one_is_none() {
        let mut bytes = vec![0, 1, 0, 0, 0, 2];
        for (topic, partitions) in [("other", vec![7]), ("events", vec![0, 258])] {
            bytes.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(i32::try_from(partitions.len()).expect("few").to_be_bytes());
            bytes.extend(
                partitions
                    .iter()
                    .flat_map(|partition: &i32| partition.to_be_bytes()),
            );
        }
        let wanted = [Partition(0), Partition(258)].into_iter().collect();
        assert_eq!(assigned(&bytes, "events"), Some(wanted));
        for length in 0..bytes.len() {
            assert_eq!(assigned(&bytes[..length], "events"), None, "{length}");
        }
        assert_eq!(assigned(&[0, 1, 0x7f, 0xff, 0xff, 0xff], "events"), None);
    }
}
