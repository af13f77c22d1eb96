//! Owns the advisory commit to Kafka, which follows PostgreSQL so that lag tools tell the truth. Nothing depends on it.

use super::rebalance::KafkaConsumer;
use crate::offsets::{Offset, Partition};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Often enough for people who look at lag, seldom enough to cost the coordinator nothing.
const INTERVAL: Duration = Duration::from_millis(500);

/// Stored offsets, as far as Kafka has not been told them.
#[derive(Debug, Default)]
pub(super) struct Advisory {
    untold: BTreeMap<Partition, Offset>,
    /// What was sent, until it is known that Kafka has taken it.
    told: BTreeMap<Partition, Offset>,
    told_at: Option<Instant>,
}

impl Advisory {
    /// The stored offset of a partition, as a committed batch has moved it or as it was found.
    pub(super) fn stored(&mut self, partition: Partition, next: Offset) {
        self.untold.insert(partition, next);
    }

    /// What Kafka has taken. The rest of what was sent is sent again: a commit that falls into a rebalance is refused,
    /// and the client library tells nobody.
    pub(super) fn confirm(&mut self, committed: &BTreeMap<Partition, Offset>) {
        for (partition, offset) in std::mem::take(&mut self.told) {
            if committed.get(&partition) != Some(&offset) {
                self.untold.entry(partition).or_insert(offset);
            }
        }
    }

    /// Whether it is time to tell. Never more than one commit is under way: while the coordinator is away, the client
    /// library would keep all of them.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.told.is_empty() && !self.untold.is_empty() && self.told_at.is_none_or(|at| now - at >= INTERVAL)
    }

    /// Tells Kafka, without waiting for its answer: of the partitions that this worker owns.
    pub(super) fn tell(
        &mut self,
        consumer: &KafkaConsumer,
        topic: &str,
        now: Instant,
        owns: impl Fn(Partition) -> bool,
    ) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in std::mem::take(&mut self.untold) {
            if owns(partition) {
                let added = list.add_partition_offset(topic, partition.0, rdkafka::Offset::Offset(offset.0));
                added.expect("a stored offset is a plain offset");
                self.told.insert(partition, offset);
            }
        }
        self.told_at = Some(now);
        if list.count() > 0
            && let Err(error) = consumer.commit(&list, CommitMode::Async)
        {
            tracing::debug!(%error, "offsets could not be sent to kafka");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kafka_has_not_taken_is_told_again() {
        let (taken, refused) = (Partition(0), Partition(1));
        let mut advisory = Advisory {
            told: BTreeMap::from([(taken, Offset(10)), (refused, Offset(20))]),
            ..Advisory::default()
        };
        advisory.confirm(&BTreeMap::from([(taken, Offset(10)), (refused, Offset(15))]));
        assert_eq!(advisory.untold, BTreeMap::from([(refused, Offset(20))]));
        assert!(advisory.told.is_empty() && advisory.is_due(Instant::now()));
    }

    #[test]
    fn a_newer_offset_is_not_replaced_by_an_older_one() {
        let mut advisory = Advisory {
            told: BTreeMap::from([(Partition(0), Offset(10))]),
            ..Advisory::default()
        };
        advisory.stored(Partition(0), Offset(30));
        advisory.confirm(&BTreeMap::new());
        assert_eq!(advisory.untold, BTreeMap::from([(Partition(0), Offset(30))]));
    }
}
