//! Owns what the consume loop does for the group: takes over what is assigned when PostgreSQL has said where it stands,
//! gives back what is revoked when what is sealed has been stored, and starts partitions anew where they must.

use super::{Consume, InFlight, start};
use crate::offsets::{Offset, Partition};
use crate::pipeline::rebalance::{Decision, Position, give_back, plain_list};
use rdkafka::consumer::Consumer;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// An assignment is acknowledged after so long even if PostgreSQL has not said where its partitions stand.
const ADOPT_AFTER: Duration = Duration::from_secs(5);

/// What is sealed may take so long when its partitions are revoked.
const REVOKE_WITHIN: Duration = Duration::from_secs(10);

/// After an error that concerns the start of partitions, the next attempt waits so long.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Consume {
    /// One decision after the other: the next is looked at when the one before is acknowledged.
    pub(super) fn carry_out_decisions(&mut self, now: Instant) {
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

    fn acknowledge_assigned(&mut self, partitions: Vec<Partition>) {
        if let Err(error) = self.assignment.adopt(&self.consumer, &self.topic, &partitions) {
            // The group has decided anew in the meantime; its next decision follows.
            tracing::warn!(%error, "could not take over assigned partitions");
        }
        if self.paused {
            let list = plain_list(&self.topic, partitions.into_iter());
            let _ = self.consumer.pause(&list);
        }
    }

    /// PostgreSQL has said where partitions stand.
    pub(super) fn take_positions(
        &mut self,
        asked: &[Partition],
        offsets: &BTreeMap<Partition, Offset>,
        now: Instant,
    ) {
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

    pub(super) fn tell_kafka(&mut self, now: Instant) {
        let assignment = &self.assignment;
        self.advisory.tell(&self.consumer, &self.topic, now, |partition| {
            assignment.owns(partition)
        });
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
