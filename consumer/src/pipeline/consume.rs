//! Owns a worker's consume loop, on a thread of its own: takes messages from librdkafka into the filling batch, hands
//! it to the store when it is due and the store is free, and carries out what the group decides. Knows rdkafka, never
//! tokio-postgres.

mod client; // the Kafka client's properties
mod group; // what is assigned and revoked
mod start; // where a partition starts that has no stored offset, or one that Kafka no longer has
mod poll; // messages into the filling batch

pub use self::client::check_properties;

use super::batch::Batch;
use super::commit::Advisory;
use super::exchange::{Command, Outcome, StoreError};
use super::rebalance::{Assignment, Context, KafkaConsumer};
use super::routing::Routing;
use crate::config::{BatchConfig, KafkaConfig};
use crate::health::WorkerHealth;
use crate::metrics::Metrics;
use crate::offsets::{Offset, Partition};
use crate::table::SharedTables;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use std::collections::{BTreeMap, BTreeSet};
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

/// What the store is busy with.
struct InFlight {
    partitions: Vec<Partition>,
    /// When the oldest message of the batch came; `None` where it is no batch.
    oldest: Option<Instant>,
    messages: usize,
}

/// A worker's consume loop.
pub(super) struct Consume {
    parts: Parts,
    topic: String,
    consumer: KafkaConsumer,
    assignment: Assignment,
    filling: Box<Batch>,
    /// The other batch's memory, while it is not in the store.
    spare: Option<Box<Batch>>,
    in_flight: Option<InFlight>,
    /// The partitions that PostgreSQL is to be asked about, and not before when.
    to_load: BTreeSet<Partition>,
    /// What was found for partitions without a row.
    to_start: Vec<(Partition, Offset)>,
    load_after: Instant,
    /// Partitions whose position is known but that librdkafka reads from somewhere else.
    to_restart: BTreeSet<Partition>,
    /// A partition's position fell out of its log.
    out_of_range: bool,
    assigning: Option<(Vec<Partition>, Instant)>,
    revoking: Option<(Vec<Partition>, Instant)>,
    advisory: Advisory,
    full_since: Option<Instant>,
    paused: bool,
    kafka_error_told: Option<Instant>,
}

impl Consume {
    pub(super) fn new(parts: Parts) -> Result<Self, ConsumeError> {
        let topic = parts.kafka.topic.clone();
        let context = Context::new(
            topic.clone(),
            Arc::clone(&parts.health),
            Arc::clone(&parts.metrics),
        );
        let mut consumer = client::create(&parts.kafka, context).map_err(ConsumeError::Client)?;
        // The loop sleeps when there is nothing to do; a message or a decision of the group wakes it.
        let thread = std::thread::current();
        consumer.set_nonempty_callback(move || thread.unpark());
        consumer.subscribe(&[&topic]).map_err(ConsumeError::Client)?;
        Ok(Self {
            parts,
            topic,
            consumer,
            assignment: Assignment::default(),
            filling: Box::default(),
            spare: Some(Box::default()),
            in_flight: None,
            to_load: BTreeSet::new(),
            to_start: Vec::new(),
            load_after: Instant::now(),
            to_restart: BTreeSet::new(),
            out_of_range: false,
            assigning: None,
            revoking: None,
            advisory: Advisory::default(),
            full_since: None,
            paused: false,
            kafka_error_told: None,
        })
    }

    /// Runs until it is asked to stop, or can't go on.
    pub(super) fn run(mut self) -> Result<(), ConsumeError> {
        while !self.parts.stop.load(Ordering::Relaxed) {
            let mut now = Instant::now();
            self.parts.health.turned(now, self.oldest());
            self.take_outcomes(now)?;
            self.carry_out_decisions(now);
            self.employ_store(now)?;
            if let Some(committed) = self.consumer.context().take_committed() {
                self.advisory.confirm(&committed);
            }
            if self.advisory.is_due(now) {
                self.tell_kafka(now);
            }
            if self.poll(now)? {
                continue;
            }
            now = Instant::now();
            if !self.store_has_work(now) {
                std::thread::park_timeout(self.sleep(now));
            }
        }
        self.finish()
    }

    /// How long there is nothing to do, unless something happens.
    fn sleep(&self, now: Instant) -> Duration {
        match (self.filling.opened_at(), &self.in_flight) {
            (Some(opened_at), None) => (opened_at + self.parts.batch.interval)
                .saturating_duration_since(now)
                .min(LONGEST_SLEEP),
            _ => LONGEST_SLEEP,
        }
    }

    fn oldest(&self) -> Option<Instant> {
        self.in_flight
            .as_ref()
            .and_then(|in_flight| in_flight.oldest)
            .or(self.filling.opened_at())
    }

    fn take_outcomes(&mut self, now: Instant) -> Result<(), ConsumeError> {
        loop {
            match self.parts.outcomes.try_recv() {
                Ok(outcome) => self.take_outcome(outcome, now)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(ConsumeError::StoreGone),
            }
        }
    }

    fn take_outcome(&mut self, outcome: Outcome, now: Instant) -> Result<(), ConsumeError> {
        let asked = self.in_flight.take();
        match outcome {
            Outcome::Loaded(offsets) => {
                let asked = asked.map(|asked| asked.partitions).unwrap_or_default();
                self.take_positions(&asked, &offsets, now);
            }
            Outcome::Stored(mut batch) => {
                for range in batch.ranges() {
                    self.advisory.stored(range.partition, range.next);
                }
                batch.clear();
                self.spare = Some(batch);
            }
            Outcome::Fenced(mut batch) => {
                // Somebody else moved these partitions. What was read of them since builds on what was not stored.
                let partitions: Vec<Partition> = batch.ranges().iter().map(|range| range.partition).collect();
                self.filling.forget(&|partition| partitions.contains(&partition));
                for partition in partitions {
                    if self.assignment.owns(partition) {
                        self.assignment.forget_position(partition);
                        self.to_load.insert(partition);
                    }
                }
                batch.clear();
                self.spare = Some(batch);
            }
            Outcome::Failed(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn store_has_work(&self, now: Instant) -> bool {
        self.in_flight.is_none()
            && (self.batch_is_due(now)
                || !self.to_start.is_empty()
                || (!self.to_load.is_empty() && now >= self.load_after))
    }

    fn batch_is_due(&self, now: Instant) -> bool {
        self.filling.opened_at().is_some_and(|opened_at| {
            self.filling.len() >= self.parts.batch.size
                || now - opened_at >= self.parts.batch.interval
                || self.is_full()
        })
    }

    fn is_full(&self) -> bool {
        self.filling.bytes() >= self.parts.batch.max_bytes
    }

    /// Gives the store its next work, if it is free and there is some.
    fn employ_store(&mut self, now: Instant) -> Result<(), ConsumeError> {
        if !self.store_has_work(now) {
            return Ok(());
        }
        if !self.to_start.is_empty() {
            let offsets = std::mem::take(&mut self.to_start);
            let partitions = offsets.iter().map(|(partition, _)| *partition).collect();
            self.command(Command::Start(offsets), partitions, None, 0)
        } else if !self.to_load.is_empty() && now >= self.load_after {
            let partitions: Vec<Partition> = std::mem::take(&mut self.to_load).into_iter().collect();
            self.command(Command::Load(partitions.clone()), partitions, None, 0)
        } else {
            self.seal()
        }
    }

    /// Hands the filling batch to the store; the other one is filled from now on.
    fn seal(&mut self) -> Result<(), ConsumeError> {
        let spare = self
            .spare
            .take()
            .expect("the store is free, so the other batch is here");
        let batch = std::mem::replace(&mut self.filling, spare);
        let partitions = batch.ranges().iter().map(|range| range.partition).collect();
        for (field, count) in self.parts.routing.take_unmapped() {
            if self.parts.metrics.unmapped_field(field, count) {
                tracing::warn!(field, "events have a field that no column takes; it is left out");
            }
        }
        let (oldest, messages) = (batch.opened_at(), batch.len());
        self.command(Command::Store(batch), partitions, oldest, messages)
    }

    fn command(
        &mut self,
        command: Command,
        partitions: Vec<Partition>,
        oldest: Option<Instant>,
        messages: usize,
    ) -> Result<(), ConsumeError> {
        self.in_flight = Some(InFlight {
            partitions,
            oldest,
            messages,
        });
        self.parts
            .commands
            .send(command)
            .map_err(|_| ConsumeError::StoreGone)
    }

    /// Stores what is batched, tells Kafka, leaves the group.
    fn finish(mut self) -> Result<(), ConsumeError> {
        let until = Instant::now() + self.parts.shutdown_timeout;
        self.to_load.clear();
        self.to_start.clear();
        loop {
            let now = Instant::now();
            self.parts.health.turned(now, self.oldest());
            self.take_outcomes(now)?;
            if self.in_flight.is_none() {
                if self.filling.is_empty() {
                    break;
                }
                self.seal()?;
            }
            if now >= until {
                let messages = self.filling.len() + self.in_flight.as_ref().map_or(0, |asked| asked.messages);
                if messages == 0 {
                    break;
                }
                return Err(ConsumeError::ShutdownTimeout { messages });
            }
            std::thread::park_timeout((until - now).min(LONGEST_SLEEP));
        }
        // Once more what Kafka is not known to have taken.
        self.advisory.confirm(&BTreeMap::new());
        self.tell_kafka(Instant::now());
        Ok(())
    }
}

impl Drop for Consume {
    /// Leaves the group: the client gives its partitions back and closes when it is dropped.
    fn drop(&mut self) {
        self.consumer.context().close();
    }
}
