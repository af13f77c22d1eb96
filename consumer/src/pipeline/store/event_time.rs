//! Owns the look at when a batch's events happened, by their own `timestamp`: read from some of the encoded rows, so that
//! it costs a batch the same however many rows it has.

use super::session::Session;
use crate::pipeline::batch::SortedRows;
use crate::table::{Column, ColumnType, Source, Table};

/// So many rows of a table are looked at, evenly spread. Of a smaller batch, all.
const ROWS: usize = 16;

/// 2000-01-01, where PostgreSQL counts from, in microseconds since the Unix epoch.
const EPOCH: i64 = 946_684_800_000_000;

/// Moments in microseconds since the Unix epoch, each with how many rows it stands for. The session knows the columns that
/// the rows were encoded for, if it is of their generation.
pub(super) fn sample(session: Option<&Session>, generation: u64, sorted: &[SortedRows]) -> Vec<(i64, u64)> {
    match session {
        Some(session) if session.tables.generation == generation => moments(&session.tables.tables, sorted),
        _ => Vec::new(),
    }
}

fn moments(tables: &[Table], sorted: &[SortedRows]) -> Vec<(i64, u64)> {
    let mut moments = Vec::with_capacity(tables.len() * ROWS);
    for (table, rows) in tables.iter().zip(sorted) {
        let Some(column) = table.columns.iter().position(tells_the_moment) else {
            continue;
        };
        let looks = rows.len().min(ROWS);
        for look in 0..looks {
            // The middle of the rows that it stands for.
            let (from, to) = (look * rows.len() / looks, (look + 1) * rows.len() / looks);
            if let Some(moment) = moment(rows, usize::midpoint(from, to), column) {
                moments.push((moment, (to - from) as u64));
            }
        }
    }
    moments
}

/// The column that the event's `timestamp` goes to.
fn tells_the_moment(column: &Column) -> bool {
    column.source == Source::Field
        && column.name == "timestamp"
        && matches!(column.kind, ColumnType::Timestamptz | ColumnType::Timestamp)
}

/// The moment in a row: a number of fields, then each with its length (PostgreSQL's documentation, COPY, "Binary Format").
/// NULL and the infinite moments have none.
fn moment(rows: &SortedRows, row: usize, column: usize) -> Option<i64> {
    // Between header and trailer, the row in one piece.
    let bytes = rows.copy_data(row..row + 1, usize::MAX).nth(1)?;
    let (_, mut rest) = bytes.split_first_chunk::<2>()?;
    for _ in 0..column {
        let (length, fields) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        rest = fields.get(length..)?;
    }
    let (length, field) = rest.split_first_chunk::<4>()?;
    let micros = i64::from_be_bytes(*field.first_chunk::<8>()?);
    (i32::from_be_bytes(*length) == 8 && micros != i64::MIN && micros != i64::MAX)
        .then(|| micros.saturating_add(EPOCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::offsets::{Offset, Partition};
    use crate::pipeline::batch::{Batch, Fate, Incoming};
    use crate::table::{Coordinates, TableName};
    use std::time::Instant;

    fn column(name: &str, kind: ColumnType) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            not_null: false,
            default: None,
            source: Source::Field,
        }
    }

    fn table(columns: Vec<Column>) -> Table {
        Table {
            name: TableName {
                schema: None,
                name: "server_metrics".to_owned(),
            },
            columns,
            key: Vec::new(),
            fingerprint: String::new(),
        }
    }

    /// Rows of a server's name (NULL in every other one) and a moment.
    fn rows(moments: impl Iterator<Item = Option<i64>>) -> SortedRows {
        let mut batch = Batch::default();
        batch.open(1, 1, Instant::now());
        for (moment, offset) in moments.zip(0..) {
            let (bytes, _) = batch.row_buffers(0);
            bytes.extend(2i16.to_be_bytes());
            if offset % 2 == 0 {
                bytes.extend(6i32.to_be_bytes());
                bytes.extend(b"server");
            } else {
                bytes.extend((-1i32).to_be_bytes());
            }
            match moment {
                Some(moment) => {
                    bytes.extend(8i32.to_be_bytes());
                    bytes.extend((moment - EPOCH).to_be_bytes());
                }
                None => bytes.extend((-1i32).to_be_bytes()),
            }
            let at = Coordinates {
                topic: "events",
                partition: Partition(0),
                offset: Offset(offset),
                timestamp_ms: None,
                key: None,
            };
            let incoming = Incoming { at, payload: None };
            batch.push(&incoming, Offset(0), Fate::Row { table: 0 });
        }
        batch.sort(0)
    }

    #[test]
    fn of_few_rows_all_are_looked_at_and_of_many_each_stands_for_its_neighbours() {
        let columns = || {
            vec![
                column("server_id", ColumnType::Text),
                column("timestamp", ColumnType::Timestamptz),
            ]
        };
        let few = rows([Some(EPOCH + 5), None, Some(7)].into_iter());
        assert_eq!(moments(&[table(columns())], &[few]), [(EPOCH + 5, 1), (7, 1)]);

        let many = moments(&[table(columns())], &[rows((0..1000).map(Some))]);
        assert_eq!(many.len(), ROWS);
        assert_eq!(many.iter().map(|(_, rows)| rows).sum::<u64>(), 1000);
        assert!(many.is_sorted() && many[0].0 < 100 && many[ROWS - 1].0 > 900);
    }

    #[test]
    fn a_table_without_the_column_and_no_rows_tell_nothing() {
        let other = table(vec![column("server_id", ColumnType::Text)]);
        assert_eq!(moments(&[other], &[rows([Some(1)].into_iter())]), []);
        let none = table(vec![column("timestamp", ColumnType::Timestamp)]);
        assert_eq!(moments(&[none], &[rows(std::iter::empty())]), []);
    }
}
