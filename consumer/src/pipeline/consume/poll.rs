//! Owns the way of messages from librdkafka into the filling batch, and what the client's errors mean.

use super::{Consume, ConsumeError};
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::Incoming;
use crate::pipeline::rebalance::plain_list;
use crate::table::Coordinates;
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
        if self.flow.is_full() {
            self.flow.prepare();
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
        for _ in 0..self.kafka.max_poll_records {
            match self.consumer.poll(Duration::ZERO) {
                None => return Ok(false),
                Some(Ok(message)) => self.flow.take(&incoming(&message, &self.kafka.topic), now),
                Some(Err(KafkaError::PartitionEOF(partition))) => self.flow.reached_end(Partition(partition)),
                Some(Err(error)) => self.take_kafka_error(error, now)?,
            }
            if self.flow.is_full() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    pub(super) fn pause(&mut self, pause: bool) {
        let list = plain_list(&self.kafka.topic, self.flow.assignment().known());
        let done = if pause {
            self.consumer.pause(&list)
        } else {
            self.consumer.resume(&list)
        };
        if let Err(error) = done {
            tracing::debug!(%error, pause, "could not pause or resume partitions");
        }
        self.paused = pause;
        self.flow.fetched_is_dropped();
        if pause {
            tracing::info!("partitions paused: the memory bound is reached while postgres is busy");
        } else {
            tracing::info!("partitions resumed");
        }
    }

    fn take_kafka_error(&mut self, error: KafkaError, now: Instant) -> Result<(), ConsumeError> {
        match error {
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId)
                if self.was_lost_lately(now) =>
            {
                tracing::warn!(%error, "taken for another member of the same name after losing the session; joining anew");
                self.join_anew(now)?;
            }
            KafkaError::MessageConsumptionFatal(_) => return Err(ConsumeError::Fatal(error)),
            // `auto.offset.reset=error`: the offset is not in the log. librdkafka must never skip by itself.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange,
            ) => {
                self.flow.fell_out_of_range();
            }
            error => self.tell_kafka_error(&error, now),
        }
        Ok(())
    }

    pub(super) fn tell_kafka_error(&mut self, error: &KafkaError, now: Instant) {
        const TELL_AGAIN: Duration = Duration::from_secs(10);
        self.health.kafka_failed(&error.to_string());
        if self.kafka_error_told.is_none_or(|at| now - at >= TELL_AGAIN) {
            self.kafka_error_told = Some(now);
            tracing::warn!(%error, topic = self.kafka.topic, "kafka: waiting, nothing is lost");
        }
    }
}

fn incoming<'a>(message: &'a BorrowedMessage<'_>, topic: &'a str) -> Incoming<'a> {
    let timestamp_ms = match message.timestamp() {
        Timestamp::NotAvailable => None,
        Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) => Some(ms),
    };
    let at = Coordinates {
        topic,
        partition: Partition(message.partition()),
        offset: Offset(message.offset()),
        timestamp_ms,
        key: message.key(),
    };
    Incoming {
        at,
        payload: message.payload(),
    }
}
