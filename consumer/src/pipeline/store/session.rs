//! Owns one connection's part of the work: prepared statements, and the transaction of a batch, step by step.
//! What follows from an interruption is decided by `store`.

use crate::config::PostgresConfig;
use crate::offsets::{Offset, OffsetRange, Partition, Stored};
use crate::pipeline::batch::{Batch, SortedRows};
use crate::postgres::{self, ConnectError, Connection};
use crate::table::{Tables, catalog, quote};
use bytes::Bytes;
use futures_util::SinkExt;
use std::collections::BTreeMap;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, CopyInSink, Statement};

/// Rows go to the connection in pieces of so many bytes: large enough to make the hand-over cheap, small enough to
/// keep its buffer small.
const PIECE: usize = 64 * 1024;

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The fence missed: a stored offset is not the expected one.
    Missed,
    /// A table is not the one that the rows were encoded for.
    TableChanged,
    /// Another worker has seen that before: there is a newer generation of the tables than the rows'.
    Outdated,
    /// PostgreSQL refused a row of the table (COPY), or of any table (at COMMIT).
    Refused {
        table: Option<usize>,
        error: tokio_postgres::Error,
    },
    /// Any other error.
    Postgres(tokio_postgres::Error),
    /// No answer.
    Silence,
    /// A file that a connection needs can't be used now.
    File(String),
}

impl From<tokio_postgres::Error> for Interruption {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

impl From<ConnectError> for Interruption {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Postgres(error) => Self::Postgres(error),
            ConnectError::Silence => Self::Silence,
            ConnectError::File(what) => Self::File(what),
        }
    }
}

/// How long each step of a transaction took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Phases {
    pub(super) fence: Duration,
    pub(super) copy: Duration,
    pub(super) dead_letters: Duration,
    pub(super) commit: Duration,
}

impl Phases {
    /// No statement took longer.
    pub(super) fn longest(self) -> Duration {
        self.all().into_iter().max().unwrap_or_default()
    }

    /// In the order in which the metrics name them.
    pub(super) fn all(self) -> [Duration; 4] {
        [self.fence, self.copy, self.dead_letters, self.commit]
    }
}

/// A connection, ready for batches of one group and topic.
pub(super) struct Session {
    pub(super) client: Connection,
    load: Statement,
    start: Statement,
    fence: Statement,
    fingerprints: Statement,
    dead_letters: Statement,
    /// One COPY a table, for one generation of the tables.
    copies: Vec<Statement>,
    pub(super) tables: Arc<Tables>,
    group_id: String,
    topic: String,
    /// A COPY was refused before it began. The client then ends it all the same, PostgreSQL answers that, too, and from
    /// then on every answer is taken for that of another request.
    out_of_step: AtomicBool,
}

impl Session {
    pub(super) async fn open(
        config: &PostgresConfig,
        group_id: &str,
        topic: &str,
        tables: Arc<Tables>,
    ) -> Result<Self, Interruption> {
        let client = postgres::connect(config).await?;
        // Planning takes longer than what is planned: the same few rows by their keys, again and again.
        client
            .answer(client.batch_execute("SET plan_cache_mode = force_generic_plan"))
            .await?;
        let (load, start, fence, fingerprints, dead_letters) = client
            .answer(async {
                tokio::try_join!(
                    client.prepare(include_str!("../../sql/load_offsets.sql")),
                    client.prepare(include_str!("../../sql/start_offsets.sql")),
                    client.prepare(include_str!("../../sql/fence.sql")),
                    client.prepare(catalog::FINGERPRINTS),
                    client.prepare_typed(include_str!("../../sql/dead_letters.sql"), &[Type::TEXT]),
                )
            })
            .await?;
        let copies = client.answer(prepare_copies(&client, &tables)).await?;
        let (group_id, topic) = (group_id.to_owned(), topic.to_owned());
        Ok(Self {
            client,
            load,
            start,
            fence,
            fingerprints,
            dead_letters,
            copies,
            tables,
            group_id,
            topic,
            out_of_step: AtomicBool::new(false),
        })
    }

    /// Goes over to another generation of the tables.
    pub(super) async fn refresh(&mut self, tables: Arc<Tables>) -> Result<(), Interruption> {
        if self.tables.generation != tables.generation {
            self.copies = self.client.answer(prepare_copies(&self.client, &tables)).await?;
            self.tables = tables;
        }
        Ok(())
    }

    /// The stored offsets of all partitions that have one.
    pub(super) async fn load(&self) -> Result<BTreeMap<Partition, Stored>, Interruption> {
        let rows = self
            .client
            .answer(self.client.query(&self.load, &[&self.group_id, &self.topic]))
            .await?;
        rows.iter()
            .map(|row| {
                let stored = Stored {
                    next: Offset(row.try_get(1)?),
                    last_timestamp_ms: row.try_get(2)?,
                };
                Ok((Partition(row.try_get(0)?), stored))
            })
            .collect()
    }

    /// Ends the sessions of consumers that froze in the middle of a COPY; their process ids.
    pub(super) async fn end_frozen(&self, frozen_for: Duration) -> Result<Vec<i32>, Interruption> {
        let seconds = frozen_for.as_secs_f64();
        let query = include_str!("../../sql/end_frozen.sql");
        let ended = self
            .client
            .answer(self.client.query_typed(query, &[(&seconds, Type::FLOAT8)]))
            .await?;
        Ok(ended.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
    }

    /// Stores where partitions without a row start; a row that is there stands.
    pub(super) async fn start(&self, offsets: &[(Partition, Offset)]) -> Result<(), Interruption> {
        let partitions: Vec<i32> = offsets.iter().map(|(partition, _)| partition.0).collect();
        let next: Vec<i64> = offsets.iter().map(|(_, offset)| offset.0).collect();
        self.client
            .answer(
                self.client
                    .execute(&self.start, &[&self.group_id, &self.topic, &partitions, &next]),
            )
            .await?;
        Ok(())
    }

    /// The whole transaction. After an interruption it is still open, as far as the connection is.
    pub(super) async fn store(
        &self,
        batch: &Batch,
        sorted: &[SortedRows],
        table_names: &[String],
    ) -> Result<Phases, Interruption> {
        if batch.generation() != self.tables.generation {
            return Err(Interruption::Outdated);
        }
        let mut phases = Phases::default();
        let mut lap = Lap(Instant::now());

        self.begin(batch).await?;
        phases.fence = lap.take();

        for (table, rows) in sorted.iter().enumerate() {
            if !rows.is_empty() {
                self.copy(table, rows, 0..rows.len())
                    .await
                    .map_err(|interruption| match interruption {
                        Interruption::Postgres(error)
                            if postgres::classify(&error) == postgres::Fault::Refused =>
                        {
                            Interruption::Refused {
                                table: Some(table),
                                error,
                            }
                        }
                        other => other,
                    })?;
            }
        }
        phases.copy = lap.take();

        self.insert_dead_letters(batch, table_names).await?;
        phases.dead_letters = lap.take();

        self.execute("COMMIT")
            .await
            .map_err(|interruption| match interruption {
                // A deferred constraint fires here.
                Interruption::Postgres(error) if postgres::classify(&error) == postgres::Fault::Refused => {
                    Interruption::Refused { table: None, error }
                }
                other => other,
            })?;
        phases.commit = lap.take();
        Ok(phases)
    }

    /// Opens the transaction: the fence first, then a lock that keeps the tables as they are until COMMIT, then the
    /// proof that they are what the rows were encoded for. All in one round trip.
    async fn begin(&self, batch: &Batch) -> Result<(), Interruption> {
        let ranges = batch.ranges();
        let partitions: Vec<i32> = ranges.iter().map(|range| range.partition.0).collect();
        let expected: Vec<i64> = ranges.iter().map(|range| range.expected.0).collect();
        let next: Vec<i64> = ranges.iter().map(|range| range.next.0).collect();
        let stored = counts(ranges, |range| range.tally.stored);
        let dead_lettered = counts(ranges, |range| range.tally.dead_lettered);
        let skipped = counts(ranges, |range| range.tally.skipped);
        let timestamps: Vec<Option<i64>> = ranges.iter().map(|range| range.last_timestamp_ms).collect();
        let fence: [&(dyn ToSql + Sync); 9] = [
            &self.group_id,
            &self.topic,
            &partitions,
            &expected,
            &next,
            &stored,
            &dead_lettered,
            &skipped,
            &timestamps,
        ];

        let used: Vec<usize> = (0..self.tables.tables.len())
            .filter(|table| batch.depends_on(*table))
            .collect();
        let locked: Vec<String> = used
            .iter()
            .map(|table| self.tables.tables[*table].name.quoted())
            .collect();
        let lock = if locked.is_empty() {
            String::new()
        } else {
            format!("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE", locked.join(", ONLY "))
        };
        let oids: Vec<u32> = used.iter().map(|table| self.tables.oids[*table]).collect();

        // The futures are polled in this order, so the requests are sent in this order, and PostgreSQL answers in it.
        let ((), moved, (), fingerprints) = self
            .client
            .answer(async {
                tokio::try_join!(
                    biased;
                    self.client.batch_execute("BEGIN"),
                    self.client.query(&self.fence, &fence),
                    self.client.batch_execute(&lock),
                    catalog::fingerprints(&self.client, &self.fingerprints, &oids),
                )
            })
            .await?;
        if moved.len() != ranges.len() {
            return Err(Interruption::Missed);
        }
        let same = used
            .iter()
            .zip(&fingerprints)
            .all(|(table, now)| self.tables.tables[*table].fingerprint == *now);
        if same {
            Ok(())
        } else {
            Err(Interruption::TableChanged)
        }
    }

    /// COPY of some of the table's rows.
    pub(super) async fn copy(
        &self,
        table: usize,
        rows: &SortedRows,
        part: Range<usize>,
    ) -> Result<(), Interruption> {
        let count = part.len() as u64;
        let begun = self.client.answer(self.client.copy_in(&self.copies[table])).await;
        self.out_of_step.store(begun.is_err(), Ordering::Relaxed);
        let sink: CopyInSink<Bytes> = begun?;
        let mut sink = pin!(sink);
        let stored = self
            .client
            .answer(async {
                for piece in rows.copy_data(part, PIECE) {
                    // When PostgreSQL has refused a row already, it passes over the rest, and `finish` tells the error.
                    sink.feed(piece).await?;
                }
                sink.finish().await
            })
            .await?;
        // A BEFORE trigger that returns NULL makes PostgreSQL pass over rows: its owner's will.
        if stored != count {
            tracing::debug!(table = %self.tables.tables[table].name, sent = count, stored, "rows passed over by a trigger");
        }
        Ok(())
    }

    async fn insert_dead_letters(&self, batch: &Batch, table_names: &[String]) -> Result<(), Interruption> {
        let letters: Vec<_> = batch.dead_letters(table_names).collect();
        if letters.is_empty() {
            return Ok(());
        }
        let partitions: Vec<i32> = letters.iter().map(|letter| letter.partition.0).collect();
        let offsets: Vec<i64> = letters.iter().map(|letter| letter.offset.0).collect();
        let timestamps: Vec<Option<SystemTime>> = letters
            .iter()
            .map(|letter| letter.timestamp_ms.and_then(system_time))
            .collect();
        let keys: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.key).collect();
        let payloads: Vec<Option<&[u8]>> = letters.iter().map(|letter| letter.payload).collect();
        let event_types: Vec<Option<&str>> = letters.iter().map(|letter| letter.event_type).collect();
        let tables: Vec<Option<&str>> = letters.iter().map(|letter| letter.target_table).collect();
        let reasons: Vec<&str> = letters
            .iter()
            .map(|letter| letter.refusal.reason.as_str())
            .collect();
        let details: Vec<&str> = letters
            .iter()
            .map(|letter| letter.refusal.detail.as_str())
            .collect();
        let sqlstates: Vec<Option<&str>> = letters.iter().map(|letter| letter.sqlstate).collect();
        let parameters: [&(dyn ToSql + Sync); 12] = [
            &self.topic,
            &partitions,
            &offsets,
            &timestamps,
            &keys,
            &payloads,
            &event_types,
            &tables,
            &reasons,
            &details,
            &sqlstates,
            &self.group_id,
        ];
        self.client
            .answer(self.client.execute(&self.dead_letters, &parameters))
            .await?;
        Ok(())
    }

    /// One statement, or several, without parameters or rows.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), Interruption> {
        Ok(self.client.answer(self.client.batch_execute(sql)).await?)
    }

    /// Whether the connection must not be used any more.
    pub(super) fn is_out_of_step(&self) -> bool {
        self.out_of_step.load(Ordering::Relaxed)
    }

    /// Ends a transaction that was interrupted. Whether the connection can be used again.
    pub(super) async fn rollback(&self) -> bool {
        !self.client.is_closed() && !self.is_out_of_step() && self.execute("ROLLBACK").await.is_ok()
    }
}

async fn prepare_copies(client: &Client, tables: &Tables) -> Result<Vec<Statement>, tokio_postgres::Error> {
    let mut copies = Vec::with_capacity(tables.tables.len());
    for table in &tables.tables {
        let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let copy = format!(
            "COPY {} ({}) FROM STDIN (FORMAT binary)",
            table.name.quoted(),
            columns.join(", ")
        );
        copies.push(client.prepare(&copy).await?);
    }
    Ok(copies)
}

fn counts(ranges: &[OffsetRange], count: impl Fn(&OffsetRange) -> u64) -> Vec<i64> {
    ranges
        .iter()
        .map(|range| i64::try_from(count(range)).expect("a batch holds fewer messages"))
        .collect()
}

/// The time, where PostgreSQL has it: producers can send any number.
fn system_time(timestamp_ms: i64) -> Option<SystemTime> {
    /// 9999-12-31T23:59:59.999Z
    const LATEST_MS: u64 = 253_402_300_799_999;
    if timestamp_ms.unsigned_abs() > LATEST_MS {
        return None;
    }
    let distance = Duration::from_millis(timestamp_ms.unsigned_abs());
    if timestamp_ms < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    }
}

struct Lap(Instant);

impl Lap {
    fn take(&mut self) -> Duration {
        let now = Instant::now();
        let lap = now - self.0;
        self.0 = now;
        lap
    }
}
