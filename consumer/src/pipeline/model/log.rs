//! The model's Kafka: a log per partition, and the group's opinion of who reads it.

use super::database::TABLES;
use crate::offsets::{Log, Offset, Partition};
use std::collections::BTreeMap;

pub(super) const PARTITIONS: i32 = 3;

/// What a message becomes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A row of a table.
    Good(usize),
    /// A row of a table, or a dead letter while PostgreSQL refuses it.
    Negative(usize),
    /// A dead letter.
    Malformed,
    /// A dead letter without a payload.
    Tombstone,
    /// Skipped.
    Unknown,
}

impl Kind {
    pub(super) fn payload(self) -> Option<Vec<u8>> {
        let text = match self {
            Self::Good(table) => format!(r#"{{"type":"{}","value":7}}"#, TABLES[table]),
            Self::Negative(table) => format!(r#"{{"value":-7,"type":"{}"}}"#, TABLES[table]),
            Self::Malformed => r#"{"type":"m","value":"seven"}"#.to_owned(),
            Self::Unknown => r#"{"type":"nobody's"}"#.to_owned(),
            Self::Tombstone => return None,
        };
        Some(text.into_bytes())
    }
}

/// A partition's log; `None` is an offset without a message (compaction, a transaction's marker).
#[derive(Debug, Default)]
pub(super) struct PartitionLog {
    pub(super) messages: Vec<Option<Kind>>,
    pub(super) start: usize,
}

impl PartitionLog {
    pub(super) fn bounds(&self) -> Log {
        Log {
            start: offset(self.start),
            end: offset(self.messages.len()),
        }
    }

    /// The first message at this offset or later.
    pub(super) fn next(&self, from: Offset) -> Option<(Offset, Kind)> {
        let from = place(from);
        let mut found = self.messages.get(from..)?.iter().zip(from..);
        found.find_map(|(kind, at)| kind.map(|kind| (offset(at), kind)))
    }
}

/// When the message at an offset was written, in milliseconds.
pub(super) fn timestamp(offset: Offset) -> i64 {
    1000 + offset.0
}

/// A place in a log as an offset.
pub(super) fn offset(place: usize) -> Offset {
    Offset(i64::try_from(place).expect("logs are short"))
}

/// An offset as a place in a log.
pub(super) fn place(offset: Offset) -> usize {
    usize::try_from(offset.0).expect("offsets are not negative")
}

/// Who reads which partition, in the group's opinion.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) owners: BTreeMap<Partition, usize>,
    /// Who gets a partition when its owner has given it back.
    pub(super) promised: BTreeMap<Partition, usize>,
}
