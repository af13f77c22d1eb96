//! Owns what the consume loop does for the group and at the start of partitions: brings decisions to `flow`, carries out
//! what follows, and tells people.

use super::{Consume, ConsumeError, start};
use crate::offsets::{Partition, Stored};
use crate::pipeline::flow::{Action, Gap, REVOKE_WITHIN};
use crate::pipeline::rebalance::{self, Decision, plain_list};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaResult;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

impl Consume {
    /// One decision after the other: the next is looked at when the one before is acknowledged.
    pub(super) fn carry_out_decisions(&mut self, now: Instant) {
        if self.consumer.context().take_session_timeout() {
            self.lost_at = Some(now);
        }
        loop {
            while let Some(action) = self.flow.next_action(now) {
                self.acknowledge(action, now);
            }
            if self.flow.is_deciding() {
                return;
            }
            match self.consumer.context().next_decision() {
                Some(decision) => self.take_decision(decision, now),
                None => break,
            }
        }
        self.start_reading_again(now);
    }

    /// Acknowledges all that is not acknowledged yet, so that the client can be closed: it would wait for it without end.
    pub(super) fn acknowledge_all(&mut self, now: Instant) {
        let waits_are_over = now + REVOKE_WITHIN;
        loop {
            while let Some(action) = self.flow.next_action(waits_are_over) {
                self.acknowledge(action, now);
            }
            match self.consumer.context().next_decision() {
                Some(decision) => self.take_decision(decision, now),
                None => return,
            }
        }
    }

    fn take_decision(&mut self, decision: Decision, now: Instant) {
        self.metrics.rebalances.increment(1);
        match decision {
            Decision::Assigned(partitions) => {
                tracing::info!(partitions = %Numbers(&partitions), "partitions assigned");
                for partition in &partitions {
                    self.metrics.partition_assigned(self.worker, *partition);
                }
                self.flow.assigned(partitions, now);
            }
            Decision::Revoked(partitions) => {
                let lost = self.consumer.assignment_lost();
                tracing::info!(partitions = %Numbers(&partitions), lost, "partitions revoked");
                for partition in &partitions {
                    self.metrics.partition_leaves(self.worker, *partition);
                }
                self.flow.revoked(partitions, lost, now);
            }
        }
    }

    fn acknowledge(&mut self, action: Action, now: Instant) {
        let topic = &self.kafka.topic;
        let assignment = self.flow.assignment();
        match action {
            Action::Adopt(partitions) => {
                self.consumer.divert(partitions.iter().copied(), now);
                if let Err(error) = rebalance::take_over(&self.consumer, topic, assignment, &partitions) {
                    // The group has decided anew in the meantime; its next decision follows.
                    tracing::warn!(%error, "could not take over assigned partitions");
                }
                if self.paused {
                    let _ = self.consumer.pause(&plain_list(topic, partitions.into_iter()));
                }
            }
            Action::GiveBack(partitions) => {
                if !self.consumer.assignment_lost() {
                    self.advisory.tell(&self.consumer, topic, now, |partition| {
                        assignment.owns(partition) || partitions.contains(&partition)
                    });
                }
                if let Err(error) = rebalance::give_back(&self.consumer, topic, &partitions) {
                    tracing::warn!(%error, "could not give partitions back");
                }
            }
        }
    }

    /// A static member whose session has timed out (its coordinator was away, or it was frozen) can be taken for a second
    /// one of its name: a commit that is on its way then carries no member id. That is no reason to end.
    pub(super) fn was_lost_lately(&self, now: Instant) -> bool {
        const LATELY: Duration = Duration::from_mins(1);
        self.lost_at.is_some_and(|at| now - at < LATELY)
    }

    /// Leaves all behind that the client knows, and joins the group with a new one. PostgreSQL knows where to go on.
    pub(super) fn join_anew(&mut self, now: Instant) -> Result<(), ConsumeError> {
        self.leave_all_behind(now);
        self.credentials = self.kafka.credentials();
        self.consumer = super::join(&self.kafka, self.worker, &self.health, &self.metrics)?;
        Ok(())
    }

    fn leave_all_behind(&mut self, now: Instant) {
        self.consumer.context().close();
        for partition in self.flow.abandon(now) {
            self.metrics.partition_leaves(self.worker, partition);
        }
        self.lost_at = None;
    }

    /// A client keeps the passwords and certificates that it was made with. Where brokers refuse them and the files hold
    /// others by now, a new client is made; not where those are of no use yet: a certificate and its key are two files.
    pub(super) fn use_renewed_credentials(&mut self, now: Instant) {
        const LOOK_EVERY: Duration = Duration::from_secs(1);
        let looked = self.looked_at.is_some_and(|at| now - at < LOOK_EVERY);
        if looked || !self.consumer.context().is_refused() {
            return;
        }
        self.looked_at = Some(now);
        if self.health.joined() {
            self.consumer.context().forget_refusal();
        }
        let credentials = self.kafka.credentials();
        if credentials == self.credentials {
            return;
        }
        self.credentials = credentials;
        match super::join(&self.kafka, self.worker, &self.health, &self.metrics) {
            Ok(consumer) => {
                tracing::info!(
                    "kafka refuses the credentials, and the files hold others by now: joining anew with those"
                );
                self.leave_all_behind(now);
                self.consumer = consumer;
            }
            Err(error) => tracing::warn!(
                %error,
                "kafka refuses the credentials, and those that the files hold by now cannot be used; \
                 they are looked at again when they change"
            ),
        }
    }

    /// PostgreSQL has said where partitions stand.
    pub(super) fn take_positions(&mut self, offsets: &BTreeMap<Partition, Stored>, now: Instant) {
        for (partition, offset) in self.flow.loaded(offsets) {
            tracing::info!(
                partition = partition.0,
                offset = offset.0,
                "partition starts at its stored offset"
            );
            let before = offsets
                .get(&partition)
                .and_then(|stored| stored.last_timestamp_ms);
            self.metrics
                .partition_starts(self.worker, partition, offset, before);
            // A consumer that was killed has perhaps not told it.
            self.advisory.stored(partition, offset);
        }
        let without_row = self.flow.take_without_row();
        if without_row.is_empty() {
            return;
        }
        // Where others have begun, a partition without a row is a new one.
        match start::first_offsets(&self.consumer, &self.kafka, &without_row, !offsets.is_empty()) {
            Ok(found) => self.flow.found(found),
            Err(error) => {
                self.tell_kafka_error(&error, now);
                self.flow.ask_again(without_row, now);
            }
        }
    }

    /// Starts reading where the position is another one than librdkafka's.
    fn start_reading_again(&mut self, now: Instant) {
        if self.flow.is_out_of_range(now) {
            match self.fit_positions_into_logs() {
                Ok(()) => self.flow.is_back_in_range(),
                Err(error) => {
                    self.tell_kafka_error(&error, now);
                    self.flow.ask_again(Vec::new(), now);
                }
            }
        }
        let partitions = self.flow.take_restarts();
        if partitions.is_empty() {
            return;
        }
        self.consumer.divert(partitions.iter().copied(), now);
        let assignment = self.flow.assignment();
        if let Err(error) = rebalance::restart(&self.consumer, &self.kafka.topic, assignment, &partitions) {
            tracing::warn!(%error, "could not start reading partitions again");
        }
        if self.paused {
            self.hold_still();
        }
    }

    /// Looks at each partition whether its position is in its log, and moves it there if not. Never in silence.
    fn fit_positions_into_logs(&mut self) -> KafkaResult<()> {
        let policy = self.kafka.offset_reset;
        let partitions: Vec<Partition> = self.flow.assignment().known().collect();
        for partition in partitions {
            let log = start::log_of(&self.consumer, &self.kafka, partition)?;
            match self.flow.fit_into(partition, log, policy) {
                None => {}
                Some(Gap::Lost { from, offsets_lost }) => {
                    self.metrics.offsets_lost.increment(offsets_lost);
                    tracing::error!(
                        partition = partition.0,
                        offset = from.0,
                        log_start = log.start.0,
                        offsets_lost,
                        "kafka's retention has removed messages that were not read yet; going on at the start of the \
                         log. Give the topic a longer retention, or the consumer more workers",
                    );
                }
                Some(Gap::OtherLog { from, going_on_at }) => tracing::error!(
                    partition = partition.0,
                    offset = from.0,
                    log_end = log.end.0,
                    going_on_at = going_on_at.0,
                    offset_reset = policy.as_str(),
                    "the topic was deleted and created again: the message before the stored offset is another one than \
                     before. --offset-reset decides where to go on",
                ),
                Some(Gap::Beyond { from, going_on_at }) => tracing::error!(
                    partition = partition.0,
                    offset = from.0,
                    log_end = log.end.0,
                    going_on_at = going_on_at.0,
                    offset_reset = policy.as_str(),
                    "the stored offset is beyond the end of the log: was the topic deleted and created again? \
                     --offset-reset decides where to go on",
                ),
            }
        }
        Ok(())
    }
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
