//! Owns positions in a topic: partition, offset, and the range of offsets that a batch covers.
//! The next-offset rule lives here and nowhere else. No I/O.

use crate::config::OffsetReset;
use std::collections::BTreeMap;
use std::fmt;

/// A partition of the topic, by Kafka's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

/// A position in a partition, by Kafka's number: 0 is the first message ever written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

impl Offset {
    /// The next-offset rule: after the message at this offset, consumption goes on at the next one.
    ///
    /// What is stored (and committed to Kafka) is always the offset to read next, never the last one read.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// How many offsets lie between this one and `later`; 0 when `later` is not later.
    #[must_use]
    pub fn distance_to(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0)
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What became of messages: each consumed message is counted in exactly one of these (promise 4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages that became a row of a routed table.
    pub stored: u64,
    /// Messages kept in `dead_letters`.
    pub dead_lettered: u64,
    /// Messages left out on purpose (`--unknown-types skip`).
    pub skipped: u64,
}

impl Tally {
    /// All messages that were consumed.
    #[must_use]
    pub fn consumed(self) -> u64 {
        self.stored + self.dead_lettered + self.skipped
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.stored += other.stored;
        self.dead_lettered += other.dead_lettered;
        self.skipped += other.skipped;
    }
}

/// What one batch moves in one partition: the stored offset goes from `expected` to `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetRange {
    /// The partition that is moved.
    pub partition: Partition,
    /// The stored offset that the batch starts from: the fence misses when another value is there (promise 3).
    pub expected: Offset,
    /// The offset that is stored when the batch commits.
    pub next: Offset,
    /// What became of the messages between the two. Offsets that hold no message (compaction, transaction
    /// markers) are not counted.
    pub tally: Tally,
    /// Kafka's timestamp of the message before `next`, in milliseconds since the Unix epoch, where there is one.
    pub last_timestamp_ms: Option<i64>,
}

/// Where a partition stands in PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The offset to read next.
    pub next: Offset,
    /// Kafka's timestamp of the message before it, where it is known. Another message there is another log: the topic
    /// was deleted and created again.
    pub last_timestamp_ms: Option<i64>,
}

/// Whether the stored offsets are a batch's new ones in all its partitions: then a fence that missed has met the batch's
/// own commit, whose answer got lost (promise 3).
#[must_use]
pub fn are_stored(ranges: &[OffsetRange], stored: &BTreeMap<Partition, Stored>) -> bool {
    ranges.iter().all(|range| {
        stored
            .get(&range.partition)
            .is_some_and(|stored| stored.next == range.next)
    })
}

/// The first and the next offset of a partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The oldest message that is still there.
    pub start: Offset,
    /// What the next message will get.
    pub end: Offset,
}

impl Log {
    /// Where `--offset-reset` says to start.
    #[must_use]
    pub fn reset(self, policy: OffsetReset) -> Offset {
        match policy {
            OffsetReset::Earliest => self.start,
            OffsetReset::Latest => self.end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_to_read_next_follows_the_last_one_read() {
        assert_eq!(Offset(41).next(), Offset(42));
    }

    #[test]
    fn distance_never_goes_below_zero() {
        assert_eq!(Offset(10).distance_to(Offset(12)), 2);
        assert_eq!(Offset(12).distance_to(Offset(10)), 0);
    }
}
