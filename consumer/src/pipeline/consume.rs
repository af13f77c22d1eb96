//! Owns a worker's consume loop, on a thread of its own: takes messages from librdkafka into the filling batch, hands
//! it to the store when it is due and the store is free, and carries out what the group decides. Knows rdkafka, never
//! tokio-postgres.

mod client; // the Kafka client's properties
mod start; // where a partition starts that has no stored offset, or one that Kafka no longer has

pub use self::client::check_properties;

use super::batch::{Batch, Incoming};
use super::commit::Advisory;
use super::rebalance::{Assignment, Context, Decision, KafkaConsumer, Position, give_back, plain_list};
use super::routing::Routing;
use super::store::{Command, Outcome, StoreError};
use crate::config::{BatchConfig, KafkaConfig};
use crate::health::WorkerHealth;
use crate::metrics::Metrics;
use crate::offsets::{Offset, Partition};
use crate::table::{Coordinates, SharedTables};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The loop turns at least so often, for probes and librdkafka's timers; all that matters wakes it before.
const LONGEST_SLEEP: Duration = Duration::from_millis(100);

/// A store that has been busy for so long with the filling batch full is in an outage: then partitions are paused,
/// and polling goes on. Before, not polling is enough, and keeps what librdkafka has fetched already.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// An assignment is acknowledged after so long even if PostgreSQL has not said where its partitions stand.
const ADOPT_AFTER: Duration = Duration::from_secs(5);

/// What is sealed may take so long when its partitions are revoked.
const REVOKE_WITHIN: Duration = Duration::from_secs(10);

/// After an error that concerns the start of partitions, the next attempt waits so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

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
            if self.consumer.context().take_commit_refused() {
                self.advisory.refused();
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

    // ---- The store -------------------------------------------------------------------------------------------

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

    // ---- The group -------------------------------------------------------------------------------------------

    /// One decision after the other: the next is looked at when the one before is acknowledged.
    fn carry_out_decisions(&mut self, now: Instant) {
        loop {
            if let Some((partitions, until)) = self.revoking.take() {
                let sealed = |asked: &InFlight| {
                    asked.oldest.is_some() && asked.partitions.iter().any(|p| partitions.contains(p))
                };
                if self.in_flight.as_ref().is_some_and(sealed) && now < until {
                    self.revoking = Some((partitions, until));
                    return;
                }
                self.acknowledge_revoked(&partitions, now);
            }
            if let Some((partitions, until)) = self.assigning.take() {
                if !self.assignment.all_known(&partitions) && now < until {
                    self.assigning = Some((partitions, until));
                    return;
                }
                self.acknowledge_assigned(partitions);
            }
            match self.consumer.context().next_decision() {
                Some(Decision::Assigned(partitions)) => {
                    tracing::info!(partitions = %Numbers(&partitions), "partitions assigned");
                    self.parts.metrics.rebalances.increment(1);
                    self.assignment.add(&partitions);
                    self.to_load.extend(partitions.iter().copied());
                    self.assigning = Some((partitions, now + ADOPT_AFTER));
                }
                Some(Decision::Revoked(partitions)) => {
                    let lost = self.consumer.assignment_lost();
                    tracing::info!(partitions = %Numbers(&partitions), lost, "partitions revoked");
                    self.parts.metrics.rebalances.increment(1);
                    self.forget(&partitions);
                    self.revoking = Some((partitions, if lost { now } else { now + REVOKE_WITHIN }));
                }
                None => break,
            }
        }
        if !self.consumer.context().has_decisions() {
            self.restart_partitions(now);
        }
    }

    /// What is read but not sealed is forgotten: PostgreSQL knows where to go on.
    fn forget(&mut self, partitions: &[Partition]) {
        self.assignment.remove(partitions);
        self.filling.forget(&|partition| partitions.contains(&partition));
        self.to_start
            .retain(|(partition, _)| !partitions.contains(partition));
        for partition in partitions {
            self.to_load.remove(partition);
            self.to_restart.remove(partition);
            self.parts.metrics.partition_leaves(*partition);
        }
    }

    fn acknowledge_revoked(&mut self, partitions: &[Partition], now: Instant) {
        let assignment = &self.assignment;
        self.advisory.tell(&self.consumer, &self.topic, now, |p| {
            assignment.owns(p) || partitions.contains(&p)
        });
        if let Err(error) = give_back(&self.consumer, &self.topic, partitions) {
            tracing::warn!(%error, "could not give partitions back");
        }
    }

    fn acknowledge_assigned(&mut self, mut partitions: Vec<Partition>) {
        if let Err(error) = self.assignment.adopt(&self.consumer, &self.topic, &partitions) {
            // The group has decided anew in the meantime; its next decision follows.
            tracing::warn!(%error, "could not take over assigned partitions");
        }
        if self.paused {
            let list = plain_list(&self.topic, partitions.drain(..));
            let _ = self.consumer.pause(&list);
        }
    }

    /// PostgreSQL has said where partitions stand.
    fn take_positions(&mut self, asked: &[Partition], offsets: &BTreeMap<Partition, Offset>, now: Instant) {
        let mut without_row = Vec::new();
        for partition in asked.iter().copied() {
            // Gone in the meantime, or gone and come back, and asked for once more.
            if !self.assignment.owns(partition) || self.to_load.contains(&partition) {
                continue;
            }
            let Some(offset) = offsets.get(&partition).copied() else {
                without_row.push(partition);
                continue;
            };
            tracing::info!(
                partition = partition.0,
                offset = offset.0,
                "partition starts at its stored offset"
            );
            self.assignment.set_position(
                partition,
                Position {
                    expected: offset,
                    read_next: offset,
                },
            );
            self.parts.metrics.partition_starts(partition, offset);
            // A consumer that was killed has perhaps not told it.
            self.advisory.stored(partition, offset);
            if self.assignment.is_adopted(partition) {
                self.to_restart.insert(partition);
            }
        }
        if without_row.is_empty() {
            return;
        }
        match start::first_offsets(&self.consumer, &self.parts.kafka, &without_row) {
            Ok(found) => self.to_start.extend(found),
            Err(error) => {
                self.tell_kafka_error(&error, now);
                self.to_load.extend(without_row);
                self.load_after = now + TRY_AGAIN_AFTER;
            }
        }
    }

    /// Starts reading where the position is another one than librdkafka's.
    fn restart_partitions(&mut self, now: Instant) {
        if self.out_of_range && now >= self.load_after {
            match start::back_in_range(
                &self.consumer,
                &self.parts.kafka,
                &mut self.assignment,
                &self.parts.metrics,
            ) {
                Ok(()) => {
                    self.out_of_range = false;
                    let assignment = &self.assignment;
                    self.to_restart
                        .extend(assignment.partitions().filter(|p| assignment.is_adopted(*p)));
                }
                Err(error) => {
                    self.tell_kafka_error(&error, now);
                    self.load_after = now + TRY_AGAIN_AFTER;
                }
            }
        }
        if self.to_restart.is_empty() {
            return;
        }
        let partitions: Vec<Partition> = std::mem::take(&mut self.to_restart).into_iter().collect();
        if let Err(error) = self.assignment.restart(&self.consumer, &self.topic, &partitions) {
            tracing::warn!(%error, "could not start reading partitions again");
        }
        if self.paused {
            self.pause(true);
        }
    }

    fn tell_kafka(&mut self, now: Instant) {
        let assignment = &self.assignment;
        self.advisory.tell(&self.consumer, &self.topic, now, |partition| {
            assignment.owns(partition)
        });
    }

    // ---- Messages --------------------------------------------------------------------------------------------

    /// Takes up to `--max-poll-records` messages. Whether there may be more.
    fn poll(&mut self, now: Instant) -> Result<bool, ConsumeError> {
        if self.is_full() {
            let since = *self.full_since.get_or_insert(now);
            if !self.paused {
                if now - since < PAUSE_AFTER {
                    return Ok(false);
                }
                self.pause(true);
            }
        } else {
            self.full_since = None;
            if self.paused {
                self.pause(false);
            }
        }
        for _ in 0..self.parts.kafka.max_poll_records {
            // Not a field's borrow: the message borrows the client, and is taken into the batch beside it.
            let Self { consumer, .. } = self;
            match consumer.poll(Duration::ZERO) {
                None => return Ok(false),
                Some(Ok(message)) => take(
                    &message,
                    &self.topic,
                    &mut self.assignment,
                    &mut self.filling,
                    &mut self.parts.routing,
                    &self.parts.tables,
                    now,
                ),
                Some(Err(error)) => self.take_kafka_error(error, now)?,
            }
            if self.is_full() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn pause(&mut self, pause: bool) {
        let assignment = &mut self.assignment;
        let partitions: Vec<Partition> = assignment.partitions().collect();
        let known = partitions
            .into_iter()
            .filter(|partition| assignment.all_known(&[*partition]));
        let list = plain_list(&self.topic, known);
        let done = if pause {
            self.consumer.pause(&list)
        } else {
            self.consumer.resume(&list)
        };
        if let Err(error) = done {
            tracing::debug!(%error, pause, "could not pause or resume partitions");
        }
        self.paused = pause;
        if pause {
            tracing::info!("partitions paused: the memory bound is reached while postgres is busy");
        } else {
            tracing::info!("partitions resumed");
        }
    }

    fn take_kafka_error(&mut self, error: KafkaError, now: Instant) -> Result<(), ConsumeError> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => return Err(ConsumeError::Fatal(error)),
            // `auto.offset.reset=error`: the offset is not in the log. librdkafka must never skip by itself.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ) => {
                self.out_of_range = true;
            }
            error => self.tell_kafka_error(&error, now),
        }
        Ok(())
    }

    fn tell_kafka_error(&mut self, error: &KafkaError, now: Instant) {
        const TELL_AGAIN: Duration = Duration::from_secs(10);
        self.parts.health.kafka_failed(&error.to_string());
        if self.kafka_error_told.is_none_or(|at| now - at >= TELL_AGAIN) {
            self.kafka_error_told = Some(now);
            tracing::warn!(%error, topic = self.topic, "kafka: waiting, nothing is lost");
        }
    }

    // ---- The end ---------------------------------------------------------------------------------------------

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

/// Takes one message into the filling batch. (Not a method: the message borrows the client.)
fn take(
    message: &BorrowedMessage<'_>,
    topic: &str,
    assignment: &mut Assignment,
    filling: &mut Batch,
    routing: &mut Routing,
    tables: &SharedTables,
    now: Instant,
) {
    let partition = Partition(message.partition());
    let offset = Offset(message.offset());
    // A message of a partition that was given back or waits for its position is a leftover: it comes again, to
    // whoever reads the partition then. The same holds for one before the position.
    let Some(position) = assignment
        .position(partition)
        .filter(|position| offset >= position.read_next)
    else {
        return;
    };
    if filling.is_empty() {
        let current = tables.current();
        routing.refresh(&current);
        filling.open(routing.generation(), routing.tables(), now);
    }
    let timestamp_ms = match message.timestamp() {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
    };
    let at = Coordinates {
        topic,
        partition,
        offset,
        timestamp_ms,
        key: message.key(),
    };
    routing.take(
        filling,
        &Incoming {
            at,
            payload: message.payload(),
        },
        position.expected,
    );
    *position = Position {
        expected: offset.next(),
        read_next: offset.next(),
    };
}

/// Partition numbers, for a log line.
struct Numbers<'a>(&'a [Partition]);

impl std::fmt::Display for Numbers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, partition) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            partition.fmt(f)?;
        }
        Ok(())
    }
}
