//! Owns the way of messages from librdkafka into the filling batch, and what the client's errors mean.

use super::messages::Fetched;
use super::{Consume, ConsumeError};
use crate::pipeline::rebalance::plain_list;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::time::{Duration, Instant};

/// A store that has been busy for so long with the filling batch full is in an outage: then partitions are paused,
/// and polling goes on. Before, not polling is enough, and keeps what librdkafka has fetched already.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

impl Consume {
    /// Takes up to `--max-poll-records` messages. Whether there may be more.
    pub(super) fn poll(&mut self, now: Instant) -> Result<bool, ConsumeError> {
        self.poll_news(now)?;
        if self.flow.is_full() {
            let since = *self.full_since.get_or_insert(now);
            if !self.paused && now - since >= PAUSE_AFTER {
                self.hold_still();
                tracing::info!("partitions paused: the memory bound is reached while postgres is busy");
            }
            return Ok(false);
        }
        self.full_since = None;
        if self.paused {
            self.paused = false;
            self.flow.read_again();
            tracing::info!("partitions resumed");
            return Ok(true);
        }
        let mut left = self.kafka.max_poll_records;
        let mut errors = Vec::new();
        while left > 0 {
            let Self {
                consumer,
                flow,
                kafka,
                ..
            } = self;
            let (count, more) = consumer.take(left, &kafka.topic, |fetched| match fetched {
                Fetched::Message(incoming) => flow.take(&incoming, now),
                Fetched::End(partition, end) => flow.reached_end(partition, end, now),
                Fetched::Error(error) => errors.push(error),
            });
            for error in errors.drain(..) {
                self.take_kafka_error(error, now)?;
            }
            if !more {
                return Ok(false);
            }
            if self.flow.is_full() {
                break;
            }
            left -= count;
        }
        Ok(true)
    }

    /// Takes what comes by the client's own queue: decisions of the group and statistics, by callback, and its errors.
    fn poll_news(&mut self, now: Instant) -> Result<(), ConsumeError> {
        loop {
            let callbacks = self.consumer.context().callbacks();
            match self.consumer.poll(Duration::ZERO) {
                // Partitions are diverted before they are read, so that none of this should come here. If it does, the
                // order in which it was fetched is lost, and it is read again.
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => self.flow.read_again(),
                Some(Err(error)) => self.take_kafka_error(error, now)?,
                // It says so after each callback, too, whatever is behind that.
                None if self.consumer.context().callbacks() != callbacks => {}
                None => return Ok(()),
            }
        }
    }

    /// Has all partitions paused. Where they go on, and that they do, they are told anew.
    pub(super) fn hold_still(&mut self) {
        let list = plain_list(&self.kafka.topic, self.flow.assignment().known());
        if let Err(error) = self.consumer.pause(&list) {
            tracing::debug!(%error, "could not pause partitions");
        }
        self.paused = true;
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
