//! Owns the way of dead letters back into their tables: decoded and encoded by the pipeline's own code for the tables as they
//! are now, stored by COPY, deleted, and moved from one count to the other, in one transaction a part of one partition. What
//! it does at the same time as a consumer, it does in the consumer's order: the partition's row of `consumer_offsets`, the
//! tables, the dead letters (docs/decisions/0011).

mod error; // why it ends early
mod part; // one transaction
mod sums; // what is selected, and what became of it

pub use self::error::ReplayError;
pub use self::sums::{Selected, Selection, Sums};

use self::error::{of_catalog, of_interruption, unanswered, unreachable};
use self::part::{Halt, Letter, Part};
use super::connection::{open_session, rollback};
use super::isolate;
use super::recycle;
use super::session::{Interruption, Session};
use crate::config::{PostgresConfig, UnknownTypes};
use crate::dead_letter::Reason;
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::{Batch, Incoming, SortedRows};
use crate::pipeline::routing::Routing;
use crate::postgres::{self, Fault};
use crate::retry::Backoff;
use crate::schema::{self, StartError};
use crate::table::catalog;
use crate::table::{Coordinates, Routes, SharedTables, TableName};
use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};
use tokio_postgres::types::ToSql;

/// A transaction holds so many dead letters, and so many bytes of them, at most: a consumer waits for it where it commits to
/// the same partition.
const MOST_LETTERS: u64 = 1000;
const MOST_BYTES: i64 = 8 << 20;

/// A server that is out of reach for so long ends the replay; what is stored by then stays.
const GIVE_UP_AFTER: Duration = Duration::from_mins(1);

/// A replay of one group's dead letters of one topic.
pub struct Replay {
    config: PostgresConfig,
    group_id: String,
    topic: String,
    selection: Selection,
    names: Vec<TableName>,
    tables: SharedTables,
    routing: Routing,
    began: SystemTime,
    session: Option<Session>,
}

impl Replay {
    /// Connects, and reads the tables that the routes lead to.
    pub async fn open(
        config: PostgresConfig,
        group_id: String,
        topic: String,
        routes: &Routes,
        selection: Selection,
    ) -> Result<Self, ReplayError> {
        let client = postgres::connect(&config).await.map_err(unreachable)?;
        let current = schema::is_current(&client).await;
        if !current.map_err(|error| unanswered(&error))? {
            return Err(ReplayError::Database(StartError::NotMigrated.to_string()));
        }
        let names = routes.tables().to_vec();
        let catalog = catalog::read(&client, &names).await.map_err(of_catalog)?;
        // What has no route stays a dead letter, whatever becomes of new ones: its bytes must not go.
        let tables = SharedTables::new(
            routes.clone(),
            UnknownTypes::DeadLetter,
            catalog.tables,
            catalog.oids,
        );
        let now = client.query_one("SELECT now()", &[]).await;
        let began = now
            .and_then(|row| row.try_get(0))
            .map_err(|error| unanswered(&error))?;
        Ok(Self {
            routing: Routing::new(&tables.current()),
            config,
            group_id,
            topic,
            selection,
            names,
            tables,
            began,
            session: None,
        })
    }

    /// What is selected, by partition and reason.
    pub async fn plan(&mut self) -> Result<Vec<Selected>, ReplayError> {
        let selection = self.selection.clone();
        let reason = selection.reason.map(Reason::as_str);
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &self.topic.clone(),
            &self.group_id.clone(),
            &selection.partition.map(|partition| partition.0),
            &selection.offset.map(|offset| offset.0),
            &reason,
            &selection.since,
        ];
        let session = self
            .session()
            .await
            .map_err(|interruption| of_interruption(&interruption))?;
        let query = session
            .client
            .query(include_str!("../../sql/replay_plan.sql"), &parameters);
        let rows = session.client.answer(query).await.map_err(unreachable)?;
        let selected = rows.iter().map(|row| {
            Ok(Selected {
                partition: Partition(row.try_get(0)?),
                reason: row.try_get(1)?,
                count: u64::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            })
        });
        selected
            .collect::<Result<_, tokio_postgres::Error>>()
            .map_err(|error| unanswered(&error))
    }

    /// Replays what is selected in these partitions, at most `limit` of it; tells the sums after each part. `dry`: nothing is
    /// changed, and the sums are what they would be.
    pub async fn run(
        &mut self,
        partitions: &BTreeSet<Partition>,
        limit: u64,
        dry: bool,
        mut tell: impl FnMut(&Sums),
    ) -> Result<(), ReplayError> {
        let mut sums = Sums::default();
        let mut left = limit;
        for partition in partitions {
            let mut after = Offset(-1);
            while left > 0 {
                let most = left.min(MOST_LETTERS);
                let Some((taken, last)) = self.part(*partition, after, most, dry, &mut sums).await? else {
                    break;
                };
                after = last;
                left -= taken;
                tell(&sums);
            }
        }
        Ok(())
    }

    /// One part, tried until it is done: how many dead letters it had, and the offset of the last one.
    async fn part(
        &mut self,
        partition: Partition,
        after: Offset,
        most: u64,
        dry: bool,
        sums: &mut Sums,
    ) -> Result<Option<(u64, Offset)>, ReplayError> {
        let mut backoff = Backoff::new();
        let since = Instant::now();
        loop {
            let interruption = match self.attempt(partition, after, most, dry, sums).await {
                Ok(done) => return Ok(done),
                Err(Halt::NotCounted) => {
                    return Err(ReplayError::NotCounted {
                        group: self.group_id.clone(),
                        partition,
                    });
                }
                Err(Halt::Changed) if since.elapsed() >= GIVE_UP_AFTER => {
                    let what = "somebody changes these dead letters all the time, or a trigger keeps them";
                    return Err(ReplayError::Database(what.to_owned()));
                }
                Err(Halt::Changed) => {
                    rollback(&mut self.session).await;
                    backoff.pause().await;
                    continue;
                }
                Err(Halt::Interruption(interruption) | Halt::InDoubt(_, interruption)) => interruption,
            };
            let code = match &interruption {
                Interruption::Postgres(error) | Interruption::Refused { error, .. } => error.code(),
                _ => None,
            };
            let unharmed = matches!(interruption, Interruption::TableChanged | Interruption::Outdated);
            if !unharmed && !code.is_some_and(postgres::session_survives) {
                // A silent connection may even wake up: never use it again.
                self.session = None;
            }
            rollback(&mut self.session).await;
            match &interruption {
                Interruption::TableChanged | Interruption::Outdated => self.read_tables().await?,
                Interruption::Postgres(error) if postgres::classify(error) != Fault::Transient => {
                    return Err(ReplayError::Database(postgres::describe(error)));
                }
                Interruption::Refused { error, .. } if since.elapsed() >= GIVE_UP_AFTER => {
                    return Err(ReplayError::Database(postgres::describe(error)));
                }
                _ if since.elapsed() >= GIVE_UP_AFTER => return Err(of_interruption(&interruption)),
                _ => {
                    tracing::debug!(?interruption, "postgres does not take the part now");
                    backoff.pause().await;
                }
            }
        }
    }

    /// One attempt at a part.
    async fn attempt(
        &mut self,
        partition: Partition,
        after: Offset,
        most: u64,
        dry: bool,
        sums: &mut Sums,
    ) -> Result<Option<(u64, Offset)>, Halt> {
        let letters = self.letters(partition, after, most).await?;
        let Some(last) = letters.last().map(|letter| letter.offset) else {
            return Ok(None);
        };
        let tables = self.tables.current();
        self.routing.refresh(&tables);
        let names = &tables.names;
        let mut batch = self.encode(partition, &letters);
        loop {
            let mut sorted: Vec<SortedRows> = (0..names.len()).map(|table| batch.sort(table)).collect();
            let (group_id, topic) = (self.group_id.clone(), self.topic.clone());
            let session = self.session().await?;
            if dry {
                // In a transaction that is always rolled back.
                for (table, refusals) in isolate::refused_rows(session, &sorted, None).await? {
                    batch.refuse(table, &sorted[table], refusals);
                }
                break;
            }
            let part = Part {
                session,
                group_id: &group_id,
                topic: &topic,
                partition,
                letters: &letters,
                batch: &batch,
                sorted: &sorted,
                names,
            };
            match part.store().await {
                Ok(()) => break,
                Err(Halt::Interruption(Interruption::Refused { table, error })) => {
                    rollback(&mut self.session).await;
                    let hint = table.and_then(|table| {
                        Some((table, isolate::refused_line(&error, &self.names[table].name)?))
                    });
                    let session = self.session().await?;
                    let found = isolate::refused_rows(session, &sorted, hint).await?;
                    if found.is_empty() {
                        // What stood against it has gone by itself.
                        return Err(Interruption::Refused { table, error }.into());
                    }
                    for (table, refusals) in found {
                        batch.refuse(table, &sorted[table], refusals);
                    }
                    recycle(&mut batch, &mut sorted);
                }
                Err(Halt::InDoubt(transaction, interruption)) => {
                    if self.is_committed(&transaction).await? {
                        break;
                    }
                    return Err(interruption.into());
                }
                Err(halt) => return Err(halt),
            }
        }
        sums.add(&batch, names);
        Ok(Some((letters.len() as u64, last)))
    }

    async fn letters(
        &mut self,
        partition: Partition,
        after: Offset,
        most: u64,
    ) -> Result<Vec<Letter>, Interruption> {
        let selection = self.selection.clone();
        let reason = selection.reason.map(Reason::as_str);
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &self.topic.clone(),
            &self.group_id.clone(),
            &partition.0,
            &selection.offset.map(|offset| offset.0),
            &reason,
            &selection.since,
            &after.0,
            &most,
            &MOST_BYTES,
            &self.began.clone(),
        ];
        let session = self.session().await?;
        let query = session
            .client
            .query(include_str!("../../sql/replay_letters.sql"), &parameters);
        let rows = session.client.answer(query).await?;
        let letters = rows.iter().map(|row| {
            Ok(Letter {
                id: row.try_get("id")?,
                version: row.try_get("version")?,
                offset: Offset(row.try_get("offset")?),
                timestamp_ms: row.try_get("timestamp_ms")?,
                key: row.try_get("key")?,
                payload: row.try_get("payload")?,
            })
        });
        letters.collect()
    }

    /// As if the messages had just arrived.
    fn encode(&mut self, partition: Partition, letters: &[Letter]) -> Batch {
        let mut batch = Batch::default();
        batch.open(self.routing.generation(), self.routing.tables(), Instant::now());
        for letter in letters {
            let incoming = Incoming {
                at: Coordinates {
                    topic: &self.topic,
                    partition,
                    offset: letter.offset,
                    timestamp_ms: letter.timestamp_ms,
                    key: letter.key.as_deref(),
                },
                payload: letter.payload.as_deref(),
            };
            self.routing.take(&mut batch, &incoming, letter.offset);
        }
        batch
    }

    /// The connection, made anew where there is none.
    async fn session(&mut self) -> Result<&Session, Interruption> {
        let tables = self.tables.current();
        let (group_id, topic) = (&self.group_id, &self.topic);
        let mut session = open_session(&mut self.session, &self.config, group_id, topic, &tables).await?;
        session.refresh(tables).await?;
        Ok(self.session.insert(session))
    }

    async fn read_tables(&mut self) -> Result<(), ReplayError> {
        let client = postgres::connect(&self.config).await.map_err(unreachable)?;
        let catalog = catalog::read(&client, &self.names).await.map_err(of_catalog)?;
        self.tables.update(catalog.tables, catalog.oids);
        Ok(())
    }

    /// What became of a transaction whose COMMIT was not answered: PostgreSQL knows.
    async fn is_committed(&mut self, transaction: &str) -> Result<bool, Interruption> {
        let mut backoff = Backoff::new();
        // The old connection may be alive, and what it holds still on its way.
        self.session = None;
        let since = Instant::now();
        loop {
            let asked = match self.session().await {
                Ok(session) => {
                    let query = "SELECT pg_xact_status($1::text::xid8)";
                    let answer = session
                        .client
                        .answer(session.client.query_one(query, &[&transaction]))
                        .await;
                    answer
                        .and_then(|row| Ok(row.try_get::<_, Option<String>>(0)?))
                        .map_err(Interruption::from)
                }
                Err(interruption) => Err(interruption),
            };
            match asked {
                Ok(Some(status)) if status == "in progress" => {}
                Ok(status) => return Ok(status.as_deref() == Some("committed")),
                Err(interruption) if since.elapsed() >= GIVE_UP_AFTER => return Err(interruption),
                Err(_) => self.session = None,
            }
            backoff.pause().await;
        }
    }
}
