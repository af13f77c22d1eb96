//! Owns the way of messages from librdkafka into the filling batch, and what the client's errors mean.

use super::{Consume, ConsumeError};
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::{Batch, Incoming};
use crate::pipeline::rebalance::{Assignment, Position, plain_list};
use crate::pipeline::routing::Routing;
use crate::table::{Coordinates, SharedTables};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message, Timestamp};
use std::time::{Duration, Instant};

/// A store that has been busy for so long with the filling batch full is in an outage: then partitions are paused,
/// and polling goes on. Before, not polling is enough, and keeps what librdkafka has fetched already.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

impl Consume {
    /// Takes up to `--max-poll-records` messages. Whether there may be more.
    pub(super) fn poll(&mut self, now: Instant) -> Result<bool, ConsumeError> {
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
            match self.consumer.poll(Duration::ZERO) {
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

    pub(super) fn pause(&mut self, pause: bool) {
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

    pub(super) fn tell_kafka_error(&mut self, error: &KafkaError, now: Instant) {
        const TELL_AGAIN: Duration = Duration::from_secs(10);
        self.parts.health.kafka_failed(&error.to_string());
        if self.kafka_error_told.is_none_or(|at| now - at >= TELL_AGAIN) {
            self.kafka_error_told = Some(now);
            tracing::warn!(%error, topic = self.topic, "kafka: waiting, nothing is lost");
        }
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
