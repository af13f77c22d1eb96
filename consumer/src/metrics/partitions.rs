//! Owns where the partitions of this process stand, and how far behind: in messages, and in seconds.

use crate::offsets::{Offset, OffsetRange, Partition};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

/// Where a partition of this process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionNow {
    /// Which.
    pub partition: Partition,
    /// The stored offset, once PostgreSQL has said it.
    pub next: Option<Offset>,
    /// The end of its log, once Kafka has said it.
    pub end: Option<Offset>,
    /// Messages in Kafka that are not stored yet, where both are known.
    pub lag: Option<u64>,
    /// How long the oldest of them has waited, at most; zero where there are none.
    pub lag_time: Option<Duration>,
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// The worker that reads it: what others still say of it is old.
    worker: u16,
    next: Option<Offset>,
    end: Option<Offset>,
    /// No message that came before this moment waits: that of the last stored message, or of the last look at which all
    /// was stored; at first, when the partition was assigned.
    settled: SystemTime,
    /// It is only known since when it is assigned: what waits may be older.
    at_least: bool,
}

/// The partitions that this process reads.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeMap<Partition, Position>>);

impl Partitions {
    /// The group has given it to the worker.
    pub(super) fn assigned(&self, worker: u16, partition: Partition, now: SystemTime) {
        let position = Position {
            worker,
            next: None,
            end: None,
            settled: now,
            at_least: true,
        };
        self.lock().insert(partition, position);
    }

    /// It is read from that stored offset on; the timestamp is that of the message before it.
    pub(super) fn starts(
        &self,
        worker: u16,
        partition: Partition,
        next: Offset,
        last_timestamp_ms: Option<i64>,
        now: SystemTime,
    ) {
        self.change(worker, partition, |position| {
            position.next = Some(next);
            position.end = None;
            position.settle(last_timestamp_ms, now);
        });
    }

    /// The end of its log, as last heard.
    pub(super) fn ends(&self, worker: u16, partition: Partition, end: Offset, now: SystemTime) {
        self.change(worker, partition, |position| {
            position.end = Some(end);
            if position.lag() == Some(0) {
                position.settled = now;
                position.at_least = false;
            }
        });
    }

    /// A batch is committed.
    pub(super) fn stored(&self, ranges: &[OffsetRange], now: SystemTime) {
        let mut positions = self.lock();
        for range in ranges {
            // What is stored of a partition that another process reads by now is nothing to tell here.
            if let Some(position) = positions.get_mut(&range.partition) {
                position.next = Some(range.next);
                position.settle(range.last_timestamp_ms, now);
            }
        }
    }

    /// The worker reads it no more.
    pub(super) fn leaves(&self, worker: u16, partition: Partition) {
        let mut positions = self.lock();
        if positions
            .get(&partition)
            .is_some_and(|position| position.worker == worker)
        {
            positions.remove(&partition);
        }
    }

    /// All of them, as they are now.
    pub(super) fn get(&self, now: SystemTime) -> Vec<PartitionNow> {
        let positions = self.lock();
        let told = positions.iter().map(|(partition, position)| {
            let lag = position.lag();
            let waited = now.duration_since(position.settled).unwrap_or_default();
            PartitionNow {
                partition: *partition,
                next: position.next,
                end: position.end,
                lag,
                lag_time: lag.map(|lag| if lag == 0 { Duration::ZERO } else { waited }),
            }
        });
        told.collect()
    }

    fn change(&self, worker: u16, partition: Partition, change: impl FnOnce(&mut Position)) {
        if let Some(position) = self.lock().get_mut(&partition)
            && position.worker == worker
        {
            change(position);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Partition, Position>> {
        self.0.lock().expect("not poisoned")
    }
}

impl Position {
    fn lag(&self) -> Option<u64> {
        Some(self.next?.distance_to(self.end?))
    }

    /// All up to a message is stored. Its timestamp is a producer's word: it can't be later than now. A backlog's oldest
    /// message is as old as that says, whatever was known before it.
    fn settle(&mut self, timestamp_ms: Option<i64>, now: SystemTime) {
        let Some(timestamp) = timestamp_ms.and_then(system_time).map(|at| at.min(now)) else {
            return;
        };
        if self.at_least || timestamp > self.settled {
            self.settled = timestamp;
            self.at_least = false;
        }
    }
}

/// Milliseconds since the Unix epoch as a moment; nothing for what lies before it.
fn system_time(timestamp_ms: i64) -> Option<SystemTime> {
    let since = Duration::from_millis(u64::try_from(timestamp_ms).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::Tally;

    const ONE: Partition = Partition(1);

    fn at(seconds: i64) -> SystemTime {
        system_time(seconds * 1000).expect("a moment after the epoch")
    }

    fn lag(partitions: &Partitions, now: i64) -> (Option<u64>, Option<u64>) {
        let now = partitions.get(at(now))[0];
        (now.lag, now.lag_time.map(|time| time.as_secs()))
    }

    fn stored(next: i64, timestamp: i64) -> [OffsetRange; 1] {
        [OffsetRange {
            partition: ONE,
            expected: Offset(0),
            next: Offset(next),
            tally: Tally::default(),
            last_timestamp_ms: Some(timestamp * 1000),
        }]
    }

    #[test]
    fn the_oldest_message_that_waits_is_younger_than_the_last_stored_one_and_than_the_last_rest() {
        let partitions = Partitions::default();
        partitions.assigned(0, ONE, at(1000));
        assert_eq!(lag(&partitions, 1001), (None, None), "nothing is known yet");
        partitions.starts(0, ONE, Offset(5), None, at(1001));
        partitions.ends(0, ONE, Offset(9), at(1002));
        assert_eq!(
            lag(&partitions, 1010),
            (Some(4), Some(10)),
            "since it is assigned"
        );
        // A backlog: as old as its messages say.
        partitions.stored(&stored(7, 400), at(1010));
        assert_eq!(lag(&partitions, 1010), (Some(2), Some(610)));
        partitions.stored(&stored(9, 1009), at(1011));
        assert_eq!(lag(&partitions, 1011), (Some(0), Some(0)));
        // A message after a long rest is not as old as the rest.
        partitions.ends(0, ONE, Offset(9), at(5000));
        partitions.ends(0, ONE, Offset(10), at(5001));
        assert_eq!(lag(&partitions, 5003), (Some(1), Some(3)));
    }

    #[test]
    fn a_producer_whose_clock_is_ahead_hides_no_lag() {
        let partitions = Partitions::default();
        partitions.assigned(0, ONE, at(1000));
        partitions.starts(0, ONE, Offset(0), Some(9_000_000), at(1000));
        partitions.ends(0, ONE, Offset(3), at(1001));
        partitions.stored(&stored(1, 2_000_000), at(1002));
        assert_eq!(lag(&partitions, 1012), (Some(2), Some(10)));
    }

    #[test]
    fn what_a_worker_says_of_another_ones_partition_is_not_heard() {
        let partitions = Partitions::default();
        partitions.assigned(0, ONE, at(1000));
        partitions.starts(0, ONE, Offset(5), None, at(1000));
        partitions.assigned(1, ONE, at(1000));
        partitions.leaves(0, ONE);
        partitions.ends(0, ONE, Offset(6), at(1000));
        partitions.starts(1, ONE, Offset(7), None, at(1000));
        partitions.ends(1, ONE, Offset(9), at(1000));
        assert_eq!(lag(&partitions, 1000).0, Some(2));
        partitions.leaves(1, ONE);
        assert!(partitions.get(at(1000)).is_empty());
    }
}
