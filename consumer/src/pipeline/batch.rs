//! Owns a batch: rows per table, dead letters, and the range of offsets that they cover in each partition. It keeps
//! every message's bytes until it is stored, so that a batch can be sent again, encoded again, and a row that
//! PostgreSQL refuses can become a dead letter. No I/O and no clock: time is an argument.

mod order; // the order of rows by their keys
mod rows; // the rows of one table

pub use self::rows::SortedRows;

use self::rows::Rows;
use super::decode::Decoder;
use crate::dead_letter::{DeadLetter, Reason, Refusal};
use crate::offsets::{Offset, OffsetRange, Partition, Tally};
use crate::table::Coordinates;
use std::collections::HashSet;
use std::ops::Range;
use std::time::Instant;

/// A message as Kafka hands it over: borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Where it stood.
    pub at: Coordinates<'a>,
    /// Its bytes; `None` for a tombstone.
    pub payload: Option<&'a [u8]>,
}

/// What became of one message: the counterpart of `Tally`, before it is counted.
#[derive(Debug)]
pub enum Fate {
    /// Its row is the last one in the table's buffer.
    Row {
        /// The table, by its place in the routes.
        table: usize,
    },
    /// It is a dead letter.
    Refused {
        /// The event's `type`, where one could be read.
        event_type: Option<String>,
        /// The table that the type is routed to, by its place in the routes.
        table: Option<usize>,
        /// Why.
        refusal: Refusal,
    },
    /// It is left out on purpose.
    Skipped,
}

/// Where in the arena a message's bytes are.
#[derive(Debug)]
struct Message {
    partition: Partition,
    offset: Offset,
    timestamp_ms: Option<i64>,
    key: Option<Range<u32>>,
    payload: Option<Range<u32>>,
    /// The type had no route; for the statistics.
    unknown_type: bool,
    /// Its partition was taken away: it is somebody else's now, even if the partition comes back.
    forgotten: bool,
}

#[derive(Debug)]
struct Refused {
    message: u32,
    event_type: Option<String>,
    table: Option<usize>,
    refusal: Refusal,
    sqlstate: Option<String>,
}

/// Messages on their way into one transaction.
#[derive(Debug, Default)]
pub struct Batch {
    arena: Vec<u8>,
    messages: Vec<Message>,
    tables: Vec<Rows>,
    refused: Vec<Refused>,
    ranges: Vec<OffsetRange>,
    /// Place in `ranges` of the partition of the last message: messages come in runs.
    last_range: usize,
    opened_at: Option<Instant>,
    /// The generation of the tables that the rows were encoded for.
    generation: u64,
}

impl Batch {
    /// An empty one with room for messages of so many bytes: they are not moved as it grows, and take memory when they come.
    #[must_use]
    pub fn with_room(bytes: usize) -> Self {
        Self {
            arena: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Whether it moves nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many messages it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::try_from(self.tally().consumed()).unwrap_or(usize::MAX)
    }

    /// When its first message came.
    #[must_use]
    pub fn opened_at(&self) -> Option<Instant> {
        self.opened_at
    }

    /// The generation of the tables that its rows were encoded for.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What it occupies, in bytes, including what it takes to put its rows in order.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.arena.len()
            + self.messages.len() * size_of::<Message>()
            + self.tables.iter().map(Rows::footprint).sum::<usize>()
    }

    /// What it moves, one range a partition.
    #[must_use]
    pub fn ranges(&self) -> &[OffsetRange] {
        &self.ranges
    }

    /// The rows of each table, by the table's place in the routes.
    #[must_use]
    pub fn rows(&self, table: usize) -> usize {
        self.tables.get(table).map_or(0, Rows::len)
    }

    /// Whether the table's columns decided on any of its messages, be it that a row was refused for them.
    #[must_use]
    pub fn depends_on(&self, table: usize) -> bool {
        self.rows(table) > 0 || self.refused.iter().any(|refused| refused.table == Some(table))
    }

    /// What became of all its messages.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let mut sum = Tally::default();
        for range in &self.ranges {
            sum += range.tally;
        }
        sum
    }

    /// How many messages had a type without a route, skipped ones included.
    #[must_use]
    pub fn unknown_types(&self) -> u64 {
        self.kept().filter(|message| message.unknown_type).count() as u64
    }

    /// How many dead letters there are for each reason, in the order of `Reason::ALL`.
    #[must_use]
    pub fn reasons(&self) -> [u64; Reason::ALL.len()] {
        Reason::ALL.map(|reason| {
            self.refused
                .iter()
                .filter(|refused| refused.refusal.reason == reason)
                .count() as u64
        })
    }

    /// Of each message the bytes of its payload, and Kafka's timestamp in milliseconds since the Unix epoch.
    pub fn measures(&self) -> impl Iterator<Item = (usize, Option<i64>)> {
        self.kept().map(|message| {
            (
                message.payload.as_ref().map_or(0, ExactSizeIterator::len),
                message.timestamp_ms,
            )
        })
    }

    fn kept(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().filter(|message| !message.forgotten)
    }

    /// Makes an empty batch ready for its first message; what was allocated is kept for the next ones.
    pub fn open(&mut self, generation: u64, tables: usize, now: Instant) {
        self.clear();
        self.generation = generation;
        self.tables.resize_with(tables, Rows::default);
        self.opened_at = Some(now);
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.messages.clear();
        self.tables.iter_mut().for_each(Rows::clear);
        self.refused.clear();
        self.ranges.clear();
        self.last_range = 0;
        self.opened_at = None;
    }

    /// Where the next row of the table is written: its bytes and its sort key.
    pub fn row_buffers(&mut self, table: usize) -> (&mut Vec<u8>, &mut Vec<u8>) {
        self.tables[table].buffers()
    }

    /// Takes a message and its fate. `expected` is the offset from which its partition's stored offset is moved if
    /// this is the batch's first message of that partition.
    pub fn push(&mut self, incoming: &Incoming<'_>, expected: Offset, fate: Fate) {
        let message = u32::try_from(self.messages.len()).expect("a batch's size is bounded far below 4 GiB");
        let unknown_type = matches!(
            &fate,
            Fate::Skipped
                | Fate::Refused {
                    refusal: Refusal {
                        reason: Reason::UnknownType,
                        ..
                    },
                    ..
                }
        );
        let key = incoming.at.key.map(|key| remember(&mut self.arena, key));
        let payload = incoming.payload.map(|payload| remember(&mut self.arena, payload));
        self.messages.push(Message {
            partition: incoming.at.partition,
            offset: incoming.at.offset,
            timestamp_ms: incoming.at.timestamp_ms,
            key,
            payload,
            unknown_type,
            forgotten: false,
        });
        let range = self.range_of(incoming.at.partition, expected);
        range.next = incoming.at.offset.next();
        range.last_timestamp_ms = incoming.at.timestamp_ms;
        match fate {
            Fate::Row { table } => {
                range.tally.stored += 1;
                self.tables[table].close_row(message);
            }
            Fate::Refused {
                event_type,
                table,
                refusal,
            } => {
                range.tally.dead_lettered += 1;
                self.refused.push(Refused {
                    message,
                    event_type,
                    table,
                    refusal,
                    sqlstate: None,
                });
            }
            Fate::Skipped => range.tally.skipped += 1,
        }
    }

    /// Moves a partition over offsets that hold no message.
    pub fn pass(&mut self, partition: Partition, expected: Offset, next: Offset) {
        let range = self.range_of(partition, expected);
        if range.next < next {
            range.next = next;
            range.last_timestamp_ms = None;
        }
    }

    fn range_of(&mut self, partition: Partition, expected: Offset) -> &mut OffsetRange {
        if self
            .ranges
            .get(self.last_range)
            .is_none_or(|range| range.partition != partition)
        {
            self.last_range = self
                .ranges
                .iter()
                .position(|range| range.partition == partition)
                .unwrap_or_else(|| {
                    self.ranges.push(OffsetRange {
                        partition,
                        expected,
                        next: expected,
                        tally: Tally::default(),
                        last_timestamp_ms: None,
                    });
                    self.ranges.len() - 1
                });
        }
        &mut self.ranges[self.last_range]
    }

    /// Forgets all that it holds of the partitions: somebody else goes on from what is stored.
    pub fn forget(&mut self, gone: &dyn Fn(Partition) -> bool) {
        for message in self.messages.iter_mut().filter(|message| gone(message.partition)) {
            message.forgotten = true;
        }
        let messages = &self.messages;
        let forgotten = |message: u32| messages[message as usize].forgotten;
        for rows in &mut self.tables {
            rows.forget(&forgotten);
        }
        self.refused.retain(|refused| !forgotten(refused.message));
        self.ranges.retain(|range| !gone(range.partition));
        self.last_range = 0;
        if self.ranges.is_empty() {
            self.clear();
        }
    }

    /// Does ahead what `sort` would do: while there is nothing else to do.
    pub fn put_in_order(&mut self) {
        self.tables.iter_mut().for_each(Rows::put_in_order);
    }

    /// The rows of a table in the order of its key, ready for COPY.
    pub fn sort(&mut self, table: usize) -> SortedRows {
        self.tables[table].sort()
    }

    /// Takes sorted rows back, so that the next batch uses their memory again.
    pub fn recycle(&mut self, table: usize, rows: SortedRows) {
        self.tables[table].recycle(rows);
    }

    /// Makes dead letters of rows that PostgreSQL refused: rows of `sorted`, which must be the table's newest
    /// sorted rows.
    pub fn refuse(&mut self, table: usize, sorted: &SortedRows, refusals: Vec<DatabaseRefusal>) {
        let messages: Vec<u32> = refusals
            .iter()
            .map(|refusal| sorted.message(refusal.row))
            .collect();
        let refused: HashSet<u32> = messages.iter().copied().collect();
        self.tables[table].forget(&|message| refused.contains(&message));
        for (message, refusal) in messages.into_iter().zip(refusals) {
            let partition = self.messages[message as usize].partition;
            let payload = self.slice(self.messages[message as usize].payload.as_ref());
            let event_type = Decoder::default()
                .decode(payload)
                .ok()
                .map(|event| event.event_type().to_owned());
            let range = self.range_of(partition, Offset(0));
            range.tally.stored -= 1;
            range.tally.dead_lettered += 1;
            self.refused.push(Refused {
                message,
                event_type,
                table: Some(table),
                refusal: Refusal::new(Reason::RejectedByDatabase, refusal.detail),
                sqlstate: Some(refusal.sqlstate),
            });
        }
    }

    /// Its dead letters. `table_names` are the routes' tables.
    pub fn dead_letters<'a>(&'a self, table_names: &'a [String]) -> impl Iterator<Item = DeadLetter<'a>> {
        self.refused.iter().map(|refused| {
            let message = &self.messages[refused.message as usize];
            DeadLetter {
                partition: message.partition,
                offset: message.offset,
                timestamp_ms: message.timestamp_ms,
                key: self.slice(message.key.as_ref()),
                payload: self.slice(message.payload.as_ref()),
                event_type: refused.event_type.as_deref(),
                target_table: refused.table.map(|table| table_names[table].as_str()),
                refusal: &refused.refusal,
                sqlstate: refused.sqlstate.as_deref(),
            }
        })
    }

    /// Its messages as Kafka handed them over, each with the stored offset that its range starts from: to encode
    /// them again when a table has changed.
    pub fn replay<'a>(&'a self, topic: &'a str) -> impl Iterator<Item = (Incoming<'a>, Offset)> {
        self.kept().filter_map(move |message| {
            let range = self
                .ranges
                .iter()
                .find(|range| range.partition == message.partition)?;
            let at = Coordinates {
                topic,
                partition: message.partition,
                offset: message.offset,
                timestamp_ms: message.timestamp_ms,
                key: self.slice(message.key.as_ref()),
            };
            Some((
                Incoming {
                    at,
                    payload: self.slice(message.payload.as_ref()),
                },
                range.expected,
            ))
        })
    }

    fn slice(&self, range: Option<&Range<u32>>) -> Option<&[u8]> {
        range.map(|range| &self.arena[range.start as usize..range.end as usize])
    }
}

/// A row that PostgreSQL refused, by its place among the sorted rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseRefusal {
    /// Its place among the sorted rows.
    pub row: usize,
    /// PostgreSQL's code.
    pub sqlstate: String,
    /// PostgreSQL's message and detail.
    pub detail: String,
}

fn remember(arena: &mut Vec<u8>, bytes: &[u8]) -> Range<u32> {
    let start = end_of(arena);
    arena.extend_from_slice(bytes);
    start..end_of(arena)
}

fn end_of(buffer: &[u8]) -> u32 {
    u32::try_from(buffer.len()).expect("a batch's size is bounded far below 4 GiB")
}

#[cfg(test)]
mod tests;
