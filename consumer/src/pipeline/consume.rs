//! Owns a worker's consume loop, on a thread of its own: brings the group's decisions, librdkafka's messages and the
//! store's outcomes to `flow`, and carries out what that decides. Knows rdkafka, never tokio-postgres.

mod client; // the Kafka client's properties
mod group; // what is assigned and revoked, and where it starts
mod start; // what only Kafka knows: where a partition starts, what its log holds
mod messages; // librdkafka's call for many of them
mod poll; // messages into the filling batch

pub(super) use self::client::fetched_ahead;
pub use self::client::{check_properties, onlooker};

use self::messages::Client;
use super::commit::Advisory;
use super::exchange::{Command, Outcome, StoreError};
use super::flow::Flow;
use super::rebalance::Context;
use super::routing::Routing;
use crate::config::{BatchConfig, KafkaConfig, Secret};
use crate::health::WorkerHealth;
use crate::metrics::{Buffered, Metrics};
use crate::table::SharedTables;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The loop turns at least so often, for probes and librdkafka's timers; all that matters wakes it before.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// Why a consume loop ends before it is asked to.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The client can't be made from its properties.
    #[error("could not create the kafka client: {0}")]
    Client(KafkaError),
    /// The client can't go on.
    #[error("the kafka client can't go on: {0}; start again, nothing was lost")]
    Fatal(KafkaError),
    /// The store gave up.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has ended without an outcome.
    #[error("the store has ended unexpectedly; start again, nothing was lost")]
    StoreGone,
    /// The last batch could not be stored in time.
    #[error(
        "the last {messages} messages were not stored within the shutdown timeout; they will be read again"
    )]
    ShutdownTimeout {
        /// How many messages were waiting.
        messages: usize,
    },
}

/// What a consume loop works with.
pub(super) struct Parts {
    pub(super) worker: u16,
    pub(super) kafka: KafkaConfig,
    pub(super) batch: BatchConfig,
    pub(super) routing: Routing,
    pub(super) tables: Arc<SharedTables>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) health: Arc<WorkerHealth>,
    pub(super) commands: UnboundedSender<Command>,
    pub(super) outcomes: Receiver<Outcome>,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) shutdown_timeout: Duration,
}

/// A worker's consume loop.
pub(super) struct Consume {
    worker: u16,
    kafka: KafkaConfig,
    consumer: Client,
    flow: Flow,
    advisory: Advisory,
    metrics: Arc<Metrics>,
    health: Arc<WorkerHealth>,
    commands: UnboundedSender<Command>,
    outcomes: Receiver<Outcome>,
    stop: Arc<AtomicBool>,
    shutdown_timeout: Duration,
    full_since: Option<Instant>,
    paused: bool,
    kafka_error_told: Option<Instant>,
    /// When the session last timed out.
    lost_at: Option<Instant>,
    /// How long the filling batch's messages took to be taken, decoded and encoded; and those of the one in the store.
    decoding: Duration,
    decoded: Duration,
    /// What the client was made with, or was last tried.
    credentials: Secret,
    /// When the files were last compared with that.
    looked_at: Option<Instant>,
}

impl Consume {
    pub(super) fn new(parts: Parts) -> Result<Self, ConsumeError> {
        Ok(Self {
            credentials: parts.kafka.credentials(),
            consumer: join(&parts.kafka, parts.worker, &parts.health, &parts.metrics)?,
            worker: parts.worker,
            kafka: parts.kafka,
            flow: Flow::new(parts.batch, parts.routing, parts.tables),
            advisory: Advisory::default(),
            metrics: parts.metrics,
            health: parts.health,
            commands: parts.commands,
            outcomes: parts.outcomes,
            stop: parts.stop,
            shutdown_timeout: parts.shutdown_timeout,
            full_since: None,
            paused: false,
            kafka_error_told: None,
            lost_at: None,
            decoding: Duration::ZERO,
            decoded: Duration::ZERO,
            looked_at: None,
        })
    }

    /// Runs until it is asked to stop, or can't go on.
    pub(super) fn run(mut self) -> Result<(), ConsumeError> {
        while !self.stop.load(Ordering::Relaxed) {
            let mut now = Instant::now();
            self.health.turned(now, self.flow.oldest());
            self.take_outcomes(now)?;
            self.carry_out_decisions(now);
            self.consumer
                .divert_again(self.flow.assignment().partitions(), now);
            self.use_renewed_credentials(now);
            if let Some(command) = self.flow.next_command(now) {
                self.send(command)?;
            }
            if let Some(committed) = self.consumer.context().take_committed() {
                self.advisory.confirm(&committed);
                self.tell_what_is_held();
            }
            // A member that has lost its place in the group would only be refused.
            if self.advisory.is_due(now) && self.health.joined() {
                self.tell_kafka(now);
            }
            let polled = Instant::now();
            let more = self.poll(now)?;
            now = Instant::now();
            self.decoding += now - polled;
            if more {
                continue;
            }
            if !self.flow.has_command(now) {
                let due = self
                    .flow
                    .next_due()
                    .map_or(LONGEST_SLEEP, |at| at.saturating_duration_since(now));
                let longest = LONGEST_SLEEP.min(self.consumer.pause_between_diversions(now));
                std::thread::park_timeout(due.min(longest));
            }
        }
        self.finish()
    }

    fn take_outcomes(&mut self, now: Instant) -> Result<(), ConsumeError> {
        loop {
            match self.outcomes.try_recv() {
                Ok(outcome) => self.take_outcome(outcome, now)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(ConsumeError::StoreGone),
            }
        }
    }

    fn take_outcome(&mut self, outcome: Outcome, now: Instant) -> Result<(), ConsumeError> {
        match outcome {
            Outcome::Loaded(offsets) => self.take_positions(&offsets, now),
            Outcome::Stored(batch) => {
                self.metrics.batch_decoded(self.decoded);
                for range in batch.ranges() {
                    self.advisory.stored(range.partition, range.next);
                }
                self.flow.stored(batch);
            }
            Outcome::Fenced(batch) => self.flow.fenced(batch),
            Outcome::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn send(&mut self, command: Command) -> Result<(), ConsumeError> {
        for (field, count) in self.flow.take_unmapped() {
            if self.metrics.unmapped_field(field, count) {
                tracing::warn!(field, "events have a field that no column takes; it is left out");
            }
        }
        if matches!(command, Command::Store(_)) {
            self.decoded = std::mem::take(&mut self.decoding);
        }
        self.commands.send(command).map_err(|_| ConsumeError::StoreGone)
    }

    /// Once a second, when the client has told its statistics.
    fn tell_what_is_held(&self) {
        let paused = if self.paused {
            self.flow.assignment().known().count() as u64
        } else {
            0
        };
        let held = self.flow.held();
        let batches = Buffered {
            messages: held.messages as u64,
            bytes: held.bytes as u64,
        };
        self.metrics.worker_holds(self.worker, batches, paused);
    }

    fn tell_kafka(&mut self, now: Instant) {
        let assignment = self.flow.assignment();
        self.advisory
            .tell(&self.consumer, &self.kafka.topic, now, |partition| {
                assignment.owns(partition)
            });
    }

    /// Stores what is batched, tells Kafka, leaves the group.
    fn finish(mut self) -> Result<(), ConsumeError> {
        let until = Instant::now() + self.shutdown_timeout;
        loop {
            let now = Instant::now();
            self.health.turned(now, self.flow.oldest());
            self.take_outcomes(now)?;
            if let Some(command) = self.flow.last_command() {
                self.send(command)?;
            } else if !self.flow.store_is_busy() {
                break;
            }
            if now >= until {
                match self.flow.waiting() {
                    0 => break,
                    messages => return Err(ConsumeError::ShutdownTimeout { messages }),
                }
            }
            std::thread::park_timeout((until - now).min(LONGEST_SLEEP));
        }
        // Once more what Kafka is not known to have taken.
        self.advisory.confirm(&BTreeMap::new());
        self.tell_kafka(Instant::now());
        Ok(())
    }
}

/// A client that has subscribed to the topic. The loop sleeps when there is nothing to do; a message or a decision of the
/// group wakes it.
fn join(
    kafka: &KafkaConfig,
    worker: u16,
    health: &Arc<WorkerHealth>,
    metrics: &Arc<Metrics>,
) -> Result<Client, ConsumeError> {
    let context = Context::new(kafka, worker, Arc::clone(health), Arc::clone(metrics));
    let mut consumer = client::create(kafka, context).map_err(ConsumeError::Client)?;
    let thread = std::thread::current();
    consumer.set_nonempty_callback(move || thread.unpark());
    consumer
        .subscribe(&[&kafka.topic])
        .map_err(ConsumeError::Client)?;
    Ok(Client::new(consumer, &kafka.topic))
}

impl Drop for Consume {
    /// Leaves the group: the client gives its partitions back and closes when it is dropped.
    fn drop(&mut self) {
        self.acknowledge_all(Instant::now());
        self.consumer.context().close();
    }
}
