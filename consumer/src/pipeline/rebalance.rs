//! Owns what librdkafka says of the group and is told in return: takes notes in its callbacks, and tells it what to read,
//! from where, and what to give back. Knows rdkafka, never tokio-postgres; what is told, `flow` decides.

mod client; // what the client says of itself

use super::assignment::Assignment;
use super::token;
use crate::config::{KafkaConfig, OAuth};
use crate::health::WorkerHealth;
use crate::metrics::Metrics;
use crate::offsets::{Offset, Partition};
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The consumer with our callbacks.
pub(super) type KafkaConsumer = BaseConsumer<Context>;

/// A decision of the group.
#[derive(Debug)]
pub(super) enum Decision {
    Assigned(Vec<Partition>),
    Revoked(Vec<Partition>),
}

/// librdkafka's callbacks. They only take notes: what they say is carried out by the consume loop, outside of them.
pub(super) struct Context {
    topic: String,
    worker: u16,
    oauth: Option<OAuth>,
    health: Arc<WorkerHealth>,
    metrics: Arc<Metrics>,
    decisions: Mutex<VecDeque<Decision>>,
    closing: AtomicBool,
    session_timed_out: AtomicBool,
    refused: AtomicBool,
    /// The offsets that Kafka has taken, as the newest statistics have them.
    committed: Mutex<Option<BTreeMap<Partition, Offset>>>,
    callbacks: AtomicUsize,
}

impl Context {
    pub(super) fn new(
        kafka: &KafkaConfig,
        worker: u16,
        health: Arc<WorkerHealth>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            topic: kafka.topic.clone(),
            worker,
            oauth: kafka.oauth.clone(),
            health,
            metrics,
            decisions: Mutex::default(),
            closing: AtomicBool::new(false),
            session_timed_out: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            committed: Mutex::default(),
            callbacks: AtomicUsize::new(0),
        }
    }

    /// From now on the group takes what it wants: nobody carries out decisions any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether the client has missed its group for a session's length since the last call.
    pub(super) fn take_session_timeout(&self) -> bool {
        self.session_timed_out.swap(false, Ordering::Relaxed)
    }

    /// Whether a broker has refused our credentials, or we its certificate. librdkafka says so once in half a minute.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// It has let us in since.
    pub(super) fn forget_refusal(&self) {
        self.refused.store(false, Ordering::Relaxed);
    }

    /// The offsets that Kafka has taken, if statistics have come since the last call.
    pub(super) fn take_committed(&self) -> Option<BTreeMap<Partition, Offset>> {
        self.committed.lock().expect("not poisoned").take()
    }

    /// How many callbacks there have been.
    pub(super) fn callbacks(&self) -> usize {
        self.callbacks.load(Ordering::Relaxed)
    }

    fn count_callback(&self) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn next_decision(&self) -> Option<Decision> {
        self.decisions.lock().expect("not poisoned").pop_front()
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        oauth_token(self.oauth.as_ref())
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.count_callback();
        // librdkafka says it nowhere else.
        if facility == "SESSTMOUT" {
            self.session_timed_out.store(true, Ordering::Relaxed);
        }
        match level {
            // Brokers come and go, and librdkafka comes back to them: nothing that a person must act on.
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => tracing::warn!(facility, "kafka client: {message}"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
                tracing::info!(facility, "kafka client: {message}");
            }
            RDKafkaLogLevel::Debug => tracing::debug!(facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.count_callback();
        // The end of a log is news, and no trouble.
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) {
            return;
        }
        let refused = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::Authentication
                    | RDKafkaErrorCode::SSL
                    | RDKafkaErrorCode::SaslAuthenticationFailed
            )
        );
        // A broker that refuses our certificate says so once the handshake is over, on a connection like any other.
        if refused || reason.contains("certificate") {
            self.refused.store(true, Ordering::Relaxed);
        }
        self.health.kafka_failed(reason);
        tracing::debug!(%error, reason, "kafka client error");
    }

    fn stats(&self, statistics: Statistics) {
        self.count_callback();
        if let Some(group) = &statistics.cgrp {
            self.health
                .set_joined(group.state == "up" && group.join_state == "steady");
        }
        self.metrics
            .client_says(self.worker, client::says(&statistics, &self.topic));
        let Some(topic) = statistics.topics.get(&self.topic) else {
            return;
        };
        let mut committed = BTreeMap::new();
        for partition in topic.partitions.values() {
            let number = Partition(partition.partition);
            if partition.committed_offset >= 0 {
                committed.insert(number, Offset(partition.committed_offset));
            }
            // What is committed by transactions, where there are any; negative: not known yet.
            let end = if partition.ls_offset >= 0 {
                partition.ls_offset
            } else {
                partition.hi_offset
            };
            if partition.partition >= 0 && end >= 0 {
                self.metrics.partition_ends(self.worker, number, Offset(end));
            }
        }
        *self.committed.lock().expect("not poisoned") = Some(committed);
    }
}

/// A token as librdkafka takes it, for every client that is given `KafkaConfig::oauth`.
pub fn oauth_token(oauth: Option<&OAuth>) -> Result<OAuthToken, Box<dyn Error>> {
    let token = token::fetch(oauth)?;
    Ok(OAuthToken {
        token: token.value,
        principal_name: token.principal,
        lifetime_ms: token.expires,
    })
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.count_callback();
        let partitions: Vec<Partition> = list
            .elements_for_topic(&self.topic)
            .iter()
            .map(|element| Partition(element.partition()))
            .collect();
        let assigned = error == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::Relaxed) {
            // Even what comes too late waits for its acknowledgement, and closing waits for that.
            let acknowledged = match (assigned, consumer.rebalance_protocol()) {
                (true, RebalanceProtocol::Cooperative) => consumer.incremental_assign(list),
                (true, _) => consumer.assign(list),
                (false, _) => unassign(consumer, list),
            };
            if let Err(error) = acknowledged {
                tracing::debug!(%error, assigned, "could not acknowledge the group's decision while closing");
            }
            return;
        }
        let decision = if assigned {
            Decision::Assigned(partitions)
        } else {
            Decision::Revoked(partitions)
        };
        self.decisions.lock().expect("not poisoned").push_back(decision);
    }
}

/// Acknowledges an assignment: librdkafka reads the partitions from their positions. Those whose position is not known
/// yet are taken into the assignment, but not read: the group must not wait for PostgreSQL.
pub(super) fn take_over(
    consumer: &KafkaConsumer,
    topic: &str,
    assignment: &Assignment,
    partitions: &[Partition],
) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => {
            consumer.incremental_assign(&positions(topic, assignment, partitions.iter().copied())?)?;
        }
        // Eager: an assignment is always the whole one.
        _ => consumer.assign(&positions(topic, assignment, assignment.partitions())?)?,
    }
    let unknown = partitions
        .iter()
        .copied()
        .filter(|partition| assignment.position(*partition).is_none());
    consumer.pause(&plain_list(topic, unknown))
}

/// Starts reading again from the positions, whatever librdkafka thinks where it is. Must not be called between a
/// decision of the group and its acknowledgement: librdkafka would take it for that.
pub(super) fn restart(
    consumer: &KafkaConsumer,
    topic: &str,
    assignment: &Assignment,
    partitions: &[Partition],
) -> KafkaResult<()> {
    let list = plain_list(topic, partitions.iter().copied());
    if matches!(consumer.rebalance_protocol(), RebalanceProtocol::Cooperative) {
        consumer.incremental_unassign(&list)?;
    }
    take_over(consumer, topic, assignment, partitions)?;
    consumer.resume(&list)
}

fn positions(
    topic: &str,
    assignment: &Assignment,
    partitions: impl Iterator<Item = Partition>,
) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        let offset = assignment
            .reads_from(partition)
            .map_or(rdkafka::Offset::End, |from| rdkafka::Offset::Offset(from.0));
        list.add_partition_offset(topic, partition.0, offset)?;
    }
    Ok(list)
}

/// Acknowledges that partitions are taken away.
pub(super) fn give_back(consumer: &KafkaConsumer, topic: &str, partitions: &[Partition]) -> KafkaResult<()> {
    unassign(consumer, &plain_list(topic, partitions.iter().copied()))
}

fn unassign(consumer: &KafkaConsumer, list: &TopicPartitionList) -> KafkaResult<()> {
    match consumer.rebalance_protocol() {
        RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    }
}

/// A list of partitions without offsets.
pub(super) fn plain_list(topic: &str, partitions: impl Iterator<Item = Partition>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition.0);
    }
    list
}
