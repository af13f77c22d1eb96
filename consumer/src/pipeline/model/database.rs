//! The model's PostgreSQL: the tables, the dead letters and the offsets, one transaction at a time. It reads the bytes of
//! the COPY as the real one does, by the columns that its tables have at that moment.

use super::log::{Kind, PartitionLog, timestamp};
use crate::offsets::{Offset, Partition, Stored, Tally};
use crate::pipeline::batch::{Batch, DatabaseRefusal, SortedRows};
use crate::table::{Column, ColumnType, Source, Table, TableName};
use std::collections::BTreeMap;

/// The names of the event types and of their tables.
pub(super) const TABLES: [&str; 2] = ["m", "n"];

/// A message's place.
pub(super) type Place = (Partition, Offset);

/// Why a transaction was rolled back.
#[derive(Debug)]
pub(super) enum Rollback {
    Missed,
    TableChanged,
    Refused,
}

#[derive(Debug, Default)]
pub(super) struct Database {
    pub(super) offsets: BTreeMap<Partition, (Offset, Tally)>,
    timestamps: BTreeMap<Partition, i64>,
    /// Where each partition's row began.
    pub(super) starts: BTreeMap<Partition, Offset>,
    rows: BTreeMap<Place, Vec<usize>>,
    letters: BTreeMap<Place, u32>,
    /// Whether rows with a negative value are refused.
    pub(super) strict: bool,
    /// The tables' columns come in one of two orders.
    turned: bool,
    changes: u32,
    /// Some member has had other routes: types without a route are skipped.
    pub(super) rerouted: bool,
}

impl Database {
    /// ALTER TABLE: both tables get their columns in another order.
    pub(super) fn alter(&mut self) {
        self.turned = !self.turned;
        self.changes += 1;
    }

    /// What the catalog says.
    pub(super) fn tables(&self) -> Vec<Table> {
        let column = |name: &str, kind, source| Column {
            name: name.to_owned(),
            kind,
            not_null: false,
            default: None,
            source,
        };
        let mut columns = vec![
            column("kafka_partition", ColumnType::Int4, Source::KafkaPartition),
            column("kafka_offset", ColumnType::Int8, Source::KafkaOffset),
            column("value", ColumnType::Int4, Source::Field),
        ];
        if self.turned {
            columns.reverse();
        }
        TABLES
            .iter()
            .map(|name| Table {
                name: TableName {
                    schema: None,
                    name: (*name).to_owned(),
                },
                columns: columns.clone(),
                key: Vec::new(),
                fingerprint: self.changes.to_string(),
            })
            .collect()
    }

    pub(super) fn load(&self) -> BTreeMap<Partition, Stored> {
        let stored = self.offsets.iter().map(|(partition, (offset, _))| {
            let stored = Stored {
                next: *offset,
                last_timestamp_ms: self.timestamps.get(partition).copied(),
            };
            (*partition, stored)
        });
        stored.collect()
    }

    pub(super) fn start(&mut self, offsets: &[(Partition, Offset)]) {
        for (partition, offset) in offsets {
            self.offsets
                .entry(*partition)
                .or_insert_with(|| (*offset, Tally::default()));
            self.starts.entry(*partition).or_insert(*offset);
        }
    }

    /// The whole transaction: it commits, or nothing has happened. `encoded_for` is what the rows were encoded for.
    pub(super) fn store(
        &mut self,
        batch: &Batch,
        sorted: &[SortedRows],
        encoded_for: &[Table],
    ) -> Result<(), Rollback> {
        for range in batch.ranges() {
            match self.offsets.get(&range.partition) {
                Some((stored, _)) if *stored == range.expected => {}
                _ => return Err(Rollback::Missed),
            }
        }
        let now = self.tables();
        if !encoded_for.iter().all(|table| now.contains(table)) {
            return Err(Rollback::TableChanged);
        }
        let tables: Vec<Vec<(Place, i32)>> = sorted.iter().map(|rows| self.read(rows)).collect();
        assert_eq!(
            tables.len(),
            encoded_for.len(),
            "rows are those of the routed tables"
        );
        if self.strict && tables.iter().flatten().any(|(_, value)| *value < 0) {
            return Err(Rollback::Refused);
        }
        for (table, rows) in encoded_for.iter().zip(tables) {
            let named = TABLES.iter().position(|name| *name == table.name.name);
            for (place, _) in rows {
                let table = named.expect("one of the two");
                self.rows.entry(place).or_default().push(table);
            }
        }
        for letter in batch.dead_letters(&TABLES.map(str::to_owned)) {
            *self.letters.entry((letter.partition, letter.offset)).or_default() += 1;
        }
        for range in batch.ranges() {
            let (offset, tally) = self.offsets.get_mut(&range.partition).expect("looked at above");
            *offset = range.next;
            *tally += range.tally;
            self.remember(range.partition, range.last_timestamp_ms);
        }
        Ok(())
    }

    /// Another consumer, which is none of the model's, stores the next message of the partition.
    pub(super) fn store_foreign(&mut self, partition: Partition, log: &PartitionLog) {
        let Some((stored, tally)) = self.offsets.get_mut(&partition) else {
            return;
        };
        let Some((offset, kind)) = log.next(*stored) else {
            return;
        };
        *stored = offset.next();
        self.timestamps.insert(partition, timestamp(offset));
        match kind {
            Kind::Good(table) | Kind::Negative(table) => {
                tally.stored += 1;
                self.rows.entry((partition, offset)).or_default().push(table);
            }
            Kind::Malformed | Kind::Tombstone => {
                tally.dead_lettered += 1;
                *self.letters.entry((partition, offset)).or_default() += 1;
            }
            Kind::Unknown => tally.skipped += 1,
        }
    }

    fn remember(&mut self, partition: Partition, timestamp_ms: Option<i64>) {
        match timestamp_ms {
            Some(timestamp_ms) => self.timestamps.insert(partition, timestamp_ms),
            None => self.timestamps.remove(&partition),
        };
    }

    /// The rows that are refused now, as isolation finds them.
    pub(super) fn refused(&self, rows: &SortedRows) -> Vec<DatabaseRefusal> {
        let refused = |(row, (_, value)): (usize, (Place, i32))| {
            (self.strict && value < 0).then(|| DatabaseRefusal {
                row,
                sqlstate: "23514".to_owned(),
                detail: "value".to_owned(),
            })
        };
        self.read(rows)
            .into_iter()
            .enumerate()
            .filter_map(refused)
            .collect()
    }

    /// Reads a binary COPY by the columns of now.
    fn read(&self, rows: &SortedRows) -> Vec<(Place, i32)> {
        const HEADER: usize = 19;
        let bytes: Vec<u8> = rows.copy_data(0..rows.len(), 7).flatten().collect();
        let mut rest = &bytes[HEADER..];
        let mut take = |count: usize| {
            let (taken, left) = rest.split_at(count);
            rest = left;
            taken
        };
        let mut read = Vec::new();
        while take(2) == [0, 3] {
            let mut values = [0i64; 3];
            for value in &mut values {
                let length = i32::from_be_bytes(take(4).try_into().expect("four bytes"));
                *value = match length {
                    4 => i32::from_be_bytes(take(4).try_into().expect("four bytes")).into(),
                    8 => i64::from_be_bytes(take(8).try_into().expect("eight bytes")),
                    length => panic!("a value of {length} bytes"),
                };
            }
            if self.turned {
                values.reverse();
            }
            let number = |value: i64| i32::try_from(value).expect("the column is an integer");
            read.push((
                (Partition(number(values[0])), Offset(values[1])),
                number(values[2]),
            ));
        }
        read
    }

    /// Whether the message ended in exactly one place, and in the right one. `settled`: the stored offset has passed it.
    pub(super) fn judge(&self, place: Place, kind: Option<Kind>, settled: bool) -> Result<(), String> {
        let rows = self.rows.get(&place).map_or(&[][..], Vec::as_slice);
        let letters = self.letters.get(&place).copied().unwrap_or(0);
        // The sums tell whether it was counted as that, once.
        let skipped = self.rerouted && rows.is_empty() && letters == 0;
        let right = match kind {
            Some(kind) if settled => match kind {
                Kind::Good(1) | Kind::Negative(1) if skipped => true,
                Kind::Good(table) => rows == [table] && letters == 0,
                Kind::Negative(table) => {
                    (rows == [table] && letters == 0) || (rows.is_empty() && letters == 1)
                }
                Kind::Malformed | Kind::Tombstone => rows.is_empty() && letters == 1,
                Kind::Unknown => rows.is_empty() && letters == 0,
            },
            _ => rows.is_empty() && letters == 0,
        };
        if right {
            Ok(())
        } else {
            Err(format!(
                "{place:?} {kind:?} settled {settled}: rows in {rows:?}, {letters} dead letters"
            ))
        }
    }

    /// Whether a message is stored or kept, for those that are perhaps lost.
    pub(super) fn has(&self, place: Place) -> bool {
        self.rows.contains_key(&place) || self.letters.contains_key(&place)
    }
}
