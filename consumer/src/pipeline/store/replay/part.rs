//! Owns the transaction of one part of a replay, step by step, in the order of the consumer's own.

use super::super::session::{Interruption, Session};
use crate::offsets::{Offset, Partition};
use crate::pipeline::batch::{Batch, SortedRows};
use crate::postgres::{self, Fault};
use crate::table::catalog;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::types::ToSql;

/// What stops one transaction.
pub(super) enum Halt {
    Interruption(Interruption),
    /// The group has not counted so many dead letters.
    NotCounted,
    /// Somebody has changed a dead letter since it was read.
    Changed,
    /// COMMIT was sent, and no answer came; the number of the transaction.
    InDoubt(String, Interruption),
}

impl From<Interruption> for Halt {
    fn from(interruption: Interruption) -> Self {
        Self::Interruption(interruption)
    }
}

pub(super) struct Letter {
    pub(super) id: i64,
    /// Another one means that somebody has changed it.
    pub(super) version: String,
    pub(super) offset: Offset,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) payload: Option<Vec<u8>>,
}

/// One transaction's work.
pub(super) struct Part<'a> {
    pub(super) session: &'a Session,
    pub(super) group_id: &'a str,
    pub(super) topic: &'a str,
    pub(super) partition: Partition,
    pub(super) letters: &'a [Letter],
    pub(super) batch: &'a Batch,
    pub(super) sorted: &'a [SortedRows],
    pub(super) names: &'a [String],
}

impl Part<'_> {
    pub(super) async fn store(&self) -> Result<(), Halt> {
        if self.batch.generation() != self.session.tables.generation {
            return Err(Interruption::Outdated.into());
        }
        let client = &self.session.client;
        self.session.execute("BEGIN").await?;
        let number = client.query_one("SELECT pg_current_xact_id()::text", &[]);
        let number = client.answer(number).await.map_err(Interruption::from)?;
        let number: String = number.try_get(0).map_err(Interruption::from)?;
        let stored = i64::try_from(self.batch.tally().stored).expect("a part is bounded");
        if stored > 0 {
            let parameters: [&(dyn ToSql + Sync); 4] =
                [&self.group_id, &self.topic, &self.partition.0, &stored];
            let moved = client.execute(include_str!("../../../sql/replay_counts.sql"), &parameters);
            if client.answer(moved).await.map_err(Interruption::from)? != 1 {
                return Err(Halt::NotCounted);
            }
        }
        self.lock_tables().await?;
        for (table, rows) in self
            .sorted
            .iter()
            .enumerate()
            .filter(|(_, rows)| !rows.is_empty())
        {
            let copied = self.session.copy(table, rows, 0..rows.len()).await;
            copied.map_err(|interruption| refused(interruption, Some(table)))?;
        }
        self.settle_letters(stored).await?;
        match self.session.execute("COMMIT").await {
            Ok(()) => Ok(()),
            Err(interruption) => match refused(interruption, None) {
                // A deferred constraint.
                refused @ Interruption::Refused { .. } => Err(refused.into()),
                other => Err(Halt::InDoubt(number, other)),
            },
        }
    }

    /// The tables stay as they are until COMMIT, and are what the rows were encoded for.
    async fn lock_tables(&self) -> Result<(), Halt> {
        let tables = &self.session.tables;
        let used: Vec<usize> = (0..tables.tables.len())
            .filter(|table| self.batch.depends_on(*table))
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = used
            .iter()
            .map(|table| tables.tables[*table].name.quoted())
            .collect();
        let lock = format!("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE", names.join(", ONLY "));
        self.session.execute(&lock).await?;
        let oids: Vec<u32> = used.iter().map(|table| tables.oids[*table]).collect();
        let client = &self.session.client;
        let now = catalog::fingerprints(client, catalog::FINGERPRINTS, &oids);
        let now = client.answer(now).await.map_err(Interruption::from)?;
        let same = used
            .iter()
            .zip(&now)
            .all(|(table, now)| tables.tables[*table].fingerprint == *now);
        if same {
            Ok(())
        } else {
            Err(Interruption::TableChanged.into())
        }
    }

    /// Deletes what is stored, and says of the rest why it stays.
    async fn settle_letters(&self, stored: i64) -> Result<(), Halt> {
        let client = &self.session.client;
        let by_offset: BTreeMap<Offset, &Letter> = self
            .letters
            .iter()
            .map(|letter| (letter.offset, letter))
            .collect();
        let refused: Vec<_> = self.batch.dead_letters(self.names).collect();
        let again: BTreeSet<Offset> = refused.iter().map(|letter| letter.offset).collect();
        if stored > 0 {
            let (ids, versions): (Vec<i64>, Vec<&str>) = self
                .letters
                .iter()
                .filter(|letter| !again.contains(&letter.offset))
                .map(|letter| (letter.id, letter.version.as_str()))
                .unzip();
            let parameters: [&(dyn ToSql + Sync); 2] = [&ids, &versions];
            let deleted = client.execute(include_str!("../../../sql/replay_stored.sql"), &parameters);
            let deleted = client.answer(deleted).await.map_err(Interruption::from)?;
            if i64::try_from(deleted) != Ok(stored) || ids.len() as u64 != deleted {
                return Err(Halt::Changed);
            }
        }
        if refused.is_empty() {
            return Ok(());
        }
        let ids: Vec<i64> = refused
            .iter()
            .map(|letter| by_offset[&letter.offset].id)
            .collect();
        let versions: Vec<&str> = refused
            .iter()
            .map(|letter| by_offset[&letter.offset].version.as_str())
            .collect();
        let event_types: Vec<Option<&str>> = refused.iter().map(|letter| letter.event_type).collect();
        let tables: Vec<Option<&str>> = refused.iter().map(|letter| letter.target_table).collect();
        let reasons: Vec<&str> = refused
            .iter()
            .map(|letter| letter.refusal.reason.as_str())
            .collect();
        let details: Vec<&str> = refused
            .iter()
            .map(|letter| letter.refusal.detail.as_str())
            .collect();
        let sqlstates: Vec<Option<&str>> = refused.iter().map(|letter| letter.sqlstate).collect();
        let parameters: [&(dyn ToSql + Sync); 7] = [
            &ids,
            &versions,
            &event_types,
            &tables,
            &reasons,
            &details,
            &sqlstates,
        ];
        let updated = client.execute(include_str!("../../../sql/replay_refused.sql"), &parameters);
        client.answer(updated).await.map_err(Interruption::from)?;
        Ok(())
    }
}

/// A refusal of a row is told apart from all else.
fn refused(interruption: Interruption, table: Option<usize>) -> Interruption {
    match interruption {
        Interruption::Postgres(error) if postgres::classify(&error) == Fault::Refused => {
            Interruption::Refused { table, error }
        }
        other => other,
    }
}
