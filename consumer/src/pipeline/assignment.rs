//! Owns which partitions a worker has, where each of them stands, and whether the Kafka client reads it from there.
//! No I/O: `rebalance` tells the client.

use crate::offsets::{Offset, Partition, Stored};
use std::collections::BTreeMap;

/// Where a partition stands in this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// The stored offset, as it will be when everything that was read so far is committed: what the next batch's
    /// fence expects.
    pub(super) expected: Offset,
    /// The offset that is read next. Later than `expected` where Kafka has lost what lies between.
    pub(super) read_next: Offset,
}

impl Position {
    /// All before the offset is settled.
    pub(super) fn at(offset: Offset) -> Self {
        Self {
            expected: offset,
            read_next: offset,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Owned {
    /// `None` until PostgreSQL has said it.
    position: Option<Position>,
    /// The group has been told that it is ours.
    adopted: bool,
    /// The client reads from the position. Until then its messages are of another place in the log: taking one would
    /// skip what lies between.
    reading: bool,
    /// Kafka's timestamp of the message before the position, until the client has handed it over, or a later one.
    before: Option<i64>,
    /// That message is another one: the log is not the one that the position was taken from.
    other_log: bool,
}

/// What a message's place in the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is the next one. Its batch's fence expects this offset.
    Next(Offset),
    /// It is not to be taken: of a partition that was given back or waits for its position (a leftover, which comes
    /// again to whoever reads the partition then), or before the position.
    PassedOver,
    /// The topic was deleted and created again.
    OtherLog,
}

/// The partitions that the group gave to this worker.
#[derive(Debug, Default)]
pub(super) struct Assignment(BTreeMap<Partition, Owned>);

impl Assignment {
    pub(super) fn add(&mut self, partitions: &[Partition]) {
        self.0
            .extend(partitions.iter().map(|partition| (*partition, Owned::default())));
    }

    pub(super) fn remove(&mut self, partitions: &[Partition]) {
        self.0.retain(|partition, _| !partitions.contains(partition));
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.0.keys().copied()
    }

    /// The partitions whose position PostgreSQL has said.
    pub(super) fn known(&self) -> impl Iterator<Item = Partition> {
        self.0
            .iter()
            .filter_map(|(partition, owned)| owned.position.map(|_| *partition))
    }

    pub(super) fn owns(&self, partition: Partition) -> bool {
        self.0.contains_key(&partition)
    }

    pub(super) fn position(&self, partition: Partition) -> Option<Position> {
        self.0.get(&partition)?.position
    }

    /// Where the client is to read from: one message earlier where that tells whether the log is still the same.
    pub(super) fn reads_from(&self, partition: Partition) -> Option<Offset> {
        let owned = self.0.get(&partition)?;
        let next = owned.position?.read_next;
        Some(if owned.before.is_some() {
            Offset(next.0 - 1)
        } else {
            next
        })
    }

    /// Whether the log is not the one that the position was taken from.
    pub(super) fn is_other_log(&self, partition: Partition) -> bool {
        self.0.get(&partition).is_some_and(|owned| owned.other_log)
    }

    /// PostgreSQL has said where the partition stands.
    pub(super) fn start(&mut self, partition: Partition, stored: Stored) {
        self.set_position(partition, Position::at(stored.next));
        if let Some(owned) = self.0.get_mut(&partition) {
            owned.before = stored.last_timestamp_ms.filter(|_| stored.next > Offset(0));
        }
    }

    pub(super) fn all_known(&self, partitions: &[Partition]) -> bool {
        partitions
            .iter()
            .all(|partition| self.position(*partition).is_some())
    }

    /// Reading has to start at this position.
    pub(super) fn set_position(&mut self, partition: Partition, position: Position) {
        if let Some(owned) = self.0.get_mut(&partition) {
            *owned = Owned {
                position: Some(position),
                adopted: owned.adopted,
                ..Owned::default()
            };
        }
    }

    /// The client has lost its place in some of the logs: it reads all partitions anew, from where they stand.
    pub(super) fn read_again(&mut self) {
        for owned in self.0.values_mut() {
            owned.reading = false;
        }
    }

    /// The message before the position is gone, and says nothing any more.
    pub(super) fn forget_message_before(&mut self, partition: Partition) {
        if let Some(owned) = self.0.get_mut(&partition) {
            owned.before = None;
        }
    }

    /// PostgreSQL must be asked again; until then, messages of the partition are passed over.
    pub(super) fn forget_position(&mut self, partition: Partition) {
        if let Some(owned) = self.0.get_mut(&partition) {
            *owned = Owned {
                adopted: owned.adopted,
                ..Owned::default()
            };
        }
    }

    /// The client has been told to read the partitions from their positions, where those are known.
    pub(super) fn adopt(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            if let Some(owned) = self.0.get_mut(partition) {
                owned.adopted = true;
                owned.reading = owned.position.is_some();
            }
        }
    }

    /// Partitions that the client has, but does not read from their positions.
    pub(super) fn to_restart(&self) -> Vec<Partition> {
        self.0
            .iter()
            .filter(|(_, owned)| {
                owned.adopted && !owned.reading && !owned.other_log && owned.position.is_some()
            })
            .map(|(partition, _)| *partition)
            .collect()
    }

    /// Takes a message's place in the log: the position moves behind it.
    pub(super) fn advance(
        &mut self,
        partition: Partition,
        offset: Offset,
        timestamp_ms: Option<i64>,
    ) -> Place {
        let Some(owned) = self.0.get_mut(&partition).filter(|owned| owned.reading) else {
            return Place::PassedOver;
        };
        let Some(position) = &mut owned.position else {
            return Place::PassedOver;
        };
        if let Some(before) = owned.before.take()
            && offset.next() == position.read_next
            && timestamp_ms != Some(before)
        {
            owned.other_log = true;
            owned.reading = false;
            return Place::OtherLog;
        }
        if offset < position.read_next {
            return Place::PassedOver;
        }
        let expected = position.expected;
        *position = Position::at(offset.next());
        Place::Next(expected)
    }

    /// Passes over offsets at the end of the log that hold no message (transaction markers, what was aborted): the client
    /// has looked at all before `end`. What the fence of the batch that stores it expects.
    pub(super) fn pass_to(&mut self, partition: Partition, end: Offset) -> Option<Offset> {
        let owned = self.0.get_mut(&partition).filter(|owned| owned.reading)?;
        let position = owned
            .position
            .as_mut()
            .filter(|position| position.expected < end && position.read_next <= end)?;
        let expected = position.expected;
        *position = Position::at(end);
        owned.before = None;
        Some(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Partition = Partition(1);

    fn started(offset: i64, last_timestamp_ms: Option<i64>) -> Assignment {
        let mut assignment = Assignment::default();
        assignment.add(&[ONE]);
        let stored = Stored {
            next: Offset(offset),
            last_timestamp_ms,
        };
        assignment.start(ONE, stored);
        assignment
    }

    fn advance(assignment: &mut Assignment, offset: i64) -> Place {
        assignment.advance(ONE, Offset(offset), Some(1000 + offset))
    }

    #[test]
    fn messages_of_the_old_place_are_passed_over_until_the_client_reads_from_the_new_one() {
        let mut assignment = Assignment::default();
        assignment.add(&[ONE]);
        assert_eq!(advance(&mut assignment, 0), Place::PassedOver, "not known yet");
        assignment.set_position(ONE, Position::at(Offset(5)));
        assert_eq!(advance(&mut assignment, 5), Place::PassedOver, "not told yet");
        assignment.adopt(&[ONE]);
        assert_eq!(advance(&mut assignment, 5), Place::Next(Offset(5)));
        assert_eq!(
            advance(&mut assignment, 8),
            Place::Next(Offset(6)),
            "a gap in the log"
        );

        assignment.set_position(ONE, Position::at(Offset(6)));
        assert_eq!(
            advance(&mut assignment, 9),
            Place::PassedOver,
            "6 to 8 would be lost"
        );
        assert_eq!(assignment.to_restart(), [ONE]);
        assignment.adopt(&[ONE]);
        assert_eq!(advance(&mut assignment, 6), Place::Next(Offset(6)));
        assert_eq!(advance(&mut assignment, 6), Place::PassedOver, "read already");
    }

    #[test]
    fn the_message_before_the_position_tells_whether_the_log_is_still_the_same() {
        let mut same = started(5, Some(1004));
        same.adopt(&[ONE]);
        assert_eq!(same.reads_from(ONE), Some(Offset(4)));
        same.read_again();
        assert_eq!(same.reads_from(ONE), Some(Offset(4)), "not looked at yet");
        same.adopt(&[ONE]);
        assert_eq!(advance(&mut same, 4), Place::PassedOver);
        assert_eq!(advance(&mut same, 5), Place::Next(Offset(5)));

        let mut gone = started(5, Some(1004));
        gone.adopt(&[ONE]);
        assert_eq!(
            advance(&mut gone, 7),
            Place::Next(Offset(5)),
            "retention and compaction say nothing"
        );

        let mut other = started(5, Some(999));
        other.adopt(&[ONE]);
        assert_eq!(advance(&mut other, 4), Place::OtherLog);
        assert_eq!(advance(&mut other, 5), Place::PassedOver);
        assert!(other.is_other_log(ONE) && other.to_restart().is_empty());

        let unknown = started(5, None);
        assert_eq!(unknown.reads_from(ONE), Some(Offset(5)));
    }

    #[test]
    fn what_holds_no_message_at_the_end_is_passed_over_when_this_reading_has_reached_it() {
        let mut assignment = started(5, None);
        assert_eq!(
            assignment.pass_to(ONE, Offset(9)),
            None,
            "that was another reading"
        );
        assignment.adopt(&[ONE]);
        assert_eq!(assignment.pass_to(ONE, Offset(9)), Some(Offset(5)));
        assert_eq!(assignment.pass_to(ONE, Offset(9)), None, "done");
        assert_eq!(advance(&mut assignment, 9), Place::Next(Offset(9)));
        assignment.read_again();
        assert_eq!(assignment.pass_to(ONE, Offset(12)), None, "dropped since");
        assignment.adopt(&[ONE]);
        assert_eq!(assignment.pass_to(ONE, Offset(12)), Some(Offset(10)));
    }
}
