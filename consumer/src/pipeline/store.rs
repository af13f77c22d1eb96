//! Owns the way of a batch into PostgreSQL: one at a time, sent again until PostgreSQL takes it, whatever happens to
//! the connection in between. Decides what follows from each interruption; the transaction itself is `session`'s.

mod connection; // the place of the connection: taken, made anew, given up
mod session; // one connection: prepared statements, the transaction step by step
mod event_time; // when events happened, for the numbers
mod isolate; // finds the rows that PostgreSQL refuses
mod trial; // the attempts at one request
pub mod replay; // dead letters back into their tables

use self::connection::{open_session, rollback};
use self::session::{Interruption, Phases, Session};
use self::trial::Trial;
use super::batch::{Batch, SortedRows};
use super::exchange::{Command, Outcome, StoreError};
use super::routing::Routing;
use crate::config::PostgresConfig;
use crate::health::PostgresHealth;
use crate::metrics::{Metrics, Stored};
use crate::offsets::{Offset, Partition, are_stored};
use crate::postgres::{self, Fault};
use crate::table::catalog::{self, CatalogError};
use crate::table::{SharedTables, Tables};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::error::SqlState;

/// What is shared between a store and the rest of the process.
#[derive(Clone, Debug)]
pub struct Shared {
    /// The newest generation of the tables.
    pub tables: Arc<SharedTables>,
    /// Counts and durations.
    pub metrics: Arc<Metrics>,
    /// Whether PostgreSQL answers.
    pub health: Arc<PostgresHealth>,
}

/// The store of one worker.
pub struct Store {
    config: PostgresConfig,
    group_id: String,
    topic: String,
    routing: Routing,
    shared: Shared,
    session: Option<Session>,
    /// What a statement may take now: what is configured, and more while that is not enough.
    statement_timeout: Duration,
}

/// The most that a statement gets, however often it was not enough.
const LONGEST_STATEMENT: Duration = Duration::from_hours(1);

/// Whether the same request is tried again.
enum Next {
    Now,
    AfterPause,
}

impl Store {
    /// A store that is not connected yet. `routing` encodes batches again when a table has changed.
    pub fn new(
        config: PostgresConfig,
        group_id: String,
        topic: String,
        routing: Routing,
        shared: Shared,
    ) -> Self {
        Self {
            statement_timeout: config.statement_timeout,
            config,
            group_id,
            topic,
            routing,
            shared,
            session: None,
        }
    }

    /// Serves commands until their sender is gone or the store had to give up.
    pub async fn run(mut self, mut commands: UnboundedReceiver<Command>, answer: impl Fn(Outcome)) {
        while let Some(command) = commands.recv().await {
            let outcome = match command {
                Command::Load => self.load().await,
                Command::Start(offsets) => self.start(&offsets).await,
                Command::Store(batch) => self.store(batch).await,
            };
            let outcome = outcome.unwrap_or_else(Outcome::Failed);
            let over = matches!(outcome, Outcome::Failed(_));
            answer(outcome);
            if over {
                return;
            }
        }
    }

    async fn load(&mut self) -> Result<Outcome, StoreError> {
        let mut trial = Trial::new();
        loop {
            let interruption = match self.session().await {
                Ok(session) => match session.load().await {
                    Ok(offsets) => {
                        self.answered(&trial);
                        return Ok(Outcome::Loaded(offsets));
                    }
                    Err(interruption) => interruption,
                },
                Err(interruption) => interruption,
            };
            self.recover(interruption, &mut trial).await?;
        }
    }

    async fn start(&mut self, offsets: &[(Partition, Offset)]) -> Result<Outcome, StoreError> {
        let mut trial = Trial::new();
        loop {
            let interruption = match self.session().await {
                Ok(session) => match session.start(offsets).await {
                    Ok(()) => break self.answered(&trial),
                    Err(interruption) => interruption,
                },
                Err(interruption) => interruption,
            };
            self.recover(interruption, &mut trial).await?;
        }
        self.load().await
    }

    async fn store(&mut self, mut batch: Box<Batch>) -> Result<Outcome, StoreError> {
        let mut trial = Trial::new();
        let mut tables = self.shared.tables.current();
        let mut sorted = Vec::new();
        loop {
            if sorted.is_empty() {
                tables = self.encode_for_current_tables(&mut batch);
                sorted = (0..tables.tables.len()).map(|table| batch.sort(table)).collect();
            }
            let interruption = match self.session().await {
                Ok(session) => match session.store(&batch, &sorted, &tables.names).await {
                    Ok(phases) => {
                        self.answered(&trial);
                        self.stored(&batch, &tables.names, &sorted, Some(phases));
                        self.fit_statement_timeout(phases);
                        recycle(&mut batch, &mut sorted);
                        return Ok(Outcome::Stored(batch));
                    }
                    Err(interruption) => interruption,
                },
                Err(interruption) => interruption,
            };
            match interruption {
                Interruption::Missed => match self.missed(&batch).await {
                    Ok(true) => {
                        // The answer to our own COMMIT was lost on the way.
                        self.answered(&trial);
                        self.stored(&batch, &tables.names, &sorted, None);
                        recycle(&mut batch, &mut sorted);
                        return Ok(Outcome::Stored(batch));
                    }
                    Ok(false) => {
                        self.answered(&trial);
                        self.shared.metrics.fences_missed.increment(1);
                        recycle(&mut batch, &mut sorted);
                        return Ok(Outcome::Fenced(batch));
                    }
                    Err(interruption) => {
                        self.recover(interruption, &mut trial).await?;
                    }
                },
                Interruption::TableChanged => {
                    rollback(&mut self.session).await;
                    let next = self
                        .look_at_tables_again("a table has changed".to_owned(), &mut trial)
                        .await?;
                    recycle(&mut batch, &mut sorted);
                    self.pace(&next, &mut trial).await;
                }
                Interruption::Refused { table, error } => {
                    rollback(&mut self.session).await;
                    match self.isolate(&mut batch, &sorted, table, &error).await {
                        Ok(true) => recycle(&mut batch, &mut sorted),
                        Ok(false) => {
                            // Nothing is refused any more: what stood against the batch has gone by itself.
                            let code = error.code().map_or("connection", |code| code.code());
                            self.shared.metrics.retried(code);
                            self.shared.health.lost(&postgres::describe(&error));
                            trial.pause(&postgres::describe(&error)).await;
                        }
                        Err(interruption) => self.recover(interruption, &mut trial).await?,
                    }
                }
                Interruption::Outdated => recycle(&mut batch, &mut sorted),
                other => self.recover(other, &mut trial).await?,
            }
        }
    }

    /// The connection, made anew where there is none, with statements for the newest generation of the tables.
    async fn session(&mut self) -> Result<&Session, Interruption> {
        let tables = self.shared.tables.current();
        let (group_id, topic) = (&self.group_id, &self.topic);
        let mut session = open_session(&mut self.session, &self.config, group_id, topic, &tables).await?;
        session.client.limit_statements(self.statement_timeout).await?;
        session.refresh(tables).await?;
        Ok(self.session.insert(session))
    }

    /// What the fault table says to an interruption: another attempt, at once or after a pause, or none.
    async fn recover(&mut self, interruption: Interruption, trial: &mut Trial) -> Result<(), StoreError> {
        let (fault, text, code) = match &interruption {
            Interruption::Postgres(error) => {
                (postgres::classify(error), postgres::describe(error), error.code())
            }
            Interruption::File(what) => (Fault::Transient, what.clone(), None),
            _ => (Fault::Transient, "no answer from postgres".to_owned(), None),
        };
        let label = match &interruption {
            Interruption::Postgres(_) => code.map_or("connection", |code| code.code()),
            Interruption::File(_) => "connection",
            _ => "silence",
        };
        self.shared.metrics.retried(label);
        if code == Some(&SqlState::QUERY_CANCELED) {
            self.give_more_time();
        }
        if !code.is_some_and(postgres::session_survives) {
            // A silent connection may even wake up: never use it again.
            self.session = None;
        }
        rollback(&mut self.session).await;
        if matches!(
            code,
            Some(&SqlState::QUERY_CANCELED | &SqlState::LOCK_NOT_AVAILABLE)
        ) {
            self.end_frozen_sessions().await;
        }
        let next = if fault == Fault::Schema {
            self.look_at_tables_again(text.clone(), trial).await?
        } else {
            Next::AfterPause
        };
        if matches!(next, Next::AfterPause) {
            self.shared.health.lost(&text);
            trial.pause(&text).await;
        }
        Ok(())
    }

    /// A batch that takes longer than a statement may (slow storage, a slow trigger) would be cancelled for ever.
    fn give_more_time(&mut self) {
        self.statement_timeout = (self.statement_timeout * 2).min(LONGEST_STATEMENT);
        tracing::warn!(
            statement_timeout_sec = self.statement_timeout.as_secs_f64(),
            "a statement was cancelled: the next attempt gets more time",
        );
    }

    /// Somebody holds a lock. If it is a consumer that is frozen (a paused machine), it would hold it for as long.
    async fn end_frozen_sessions(&mut self) {
        let Some(session) = &self.session else {
            return;
        };
        match session.end_frozen(self.config.statement_timeout).await {
            Ok(ended) => {
                for pid in ended {
                    tracing::warn!(
                        pid,
                        "ended the session of a consumer that froze within a transaction: it held the locks of its partitions",
                    );
                }
            }
            // Whoever holds the lock holds it still: the next attempt comes back here.
            Err(interruption) => {
                tracing::debug!(?interruption, "could not look for frozen sessions");
                self.session = None;
            }
        }
    }

    /// Back to what is configured once that is enough: a batch as slow as this one should still pass at once.
    fn fit_statement_timeout(&mut self, phases: Phases) {
        let enough = self.statement_timeout.min(phases.longest() * 2);
        self.statement_timeout = enough.max(self.config.statement_timeout);
    }

    async fn pace(&self, next: &Next, trial: &mut Trial) {
        if matches!(next, Next::AfterPause) {
            trial.pause("the catalog could not be read").await;
        }
    }

    /// PostgreSQL says that the database is not as expected: the catalog is read again, once a request.
    async fn look_at_tables_again(&mut self, said: String, trial: &mut Trial) -> Result<Next, StoreError> {
        let known = self.shared.tables.current();
        let used = self
            .session
            .as_ref()
            .map_or(known.generation, |session| session.tables.generation);
        let names: Vec<_> = known.tables.iter().map(|table| table.name.clone()).collect();
        let read = match &self.session {
            Some(session) => catalog::read(&session.client, &names).await,
            None => match postgres::connect(&self.config).await {
                Ok(client) => catalog::read(&client, &names).await,
                Err(error) => Err(error.into()),
            },
        };
        match read {
            Ok(catalog) => {
                self.shared.tables.update(catalog.tables, catalog.oids);
                // Another worker may have been first to see it.
                if self.shared.tables.current().generation != used {
                    tracing::info!(
                        reason = said,
                        "tables have changed, their columns were read again"
                    );
                    trial.catalog_read = false;
                    Ok(Next::Now)
                } else if std::mem::replace(&mut trial.catalog_read, true) {
                    Err(StoreError::Schema(said))
                } else {
                    Ok(Next::Now)
                }
            }
            Err(CatalogError::Unfit(findings)) => Err(StoreError::Catalog(findings.to_string())),
            Err(CatalogError::Postgres(error)) if postgres::classify(&error) == Fault::Schema => {
                Err(StoreError::Schema(postgres::describe(&error)))
            }
            Err(error) => {
                tracing::debug!(?error, "the catalog could not be read");
                self.session = None;
                Ok(Next::AfterPause)
            }
        }
    }

    /// Rows are stored only in the generation of the tables that they were encoded for, which comes back.
    fn encode_for_current_tables(&mut self, batch: &mut Batch) -> Arc<Tables> {
        let tables = self.shared.tables.current();
        if batch.generation() != tables.generation {
            *batch = self.routing.encode_again(batch, &self.topic, &tables);
        }
        tables
    }

    /// After a miss: whether the stored offsets are the batch's new ones already, in all its partitions.
    async fn missed(&mut self, batch: &Batch) -> Result<bool, Interruption> {
        rollback(&mut self.session).await;
        let session = self.session().await?;
        let stored = session.load().await?;
        let ours = are_stored(batch.ranges(), &stored);
        if !ours {
            for range in batch.ranges() {
                let found = stored.get(&range.partition).map_or(-1, |stored| stored.next.0);
                if found != range.expected.0 {
                    tracing::warn!(
                        partition = range.partition.0,
                        expected = range.expected.0,
                        stored = found,
                        "fence missed: another consumer moved this partition; its offset is read again",
                    );
                }
            }
        }
        Ok(ours)
    }

    /// Finds the refused rows and makes dead letters of them. Whether there were any.
    async fn isolate(
        &mut self,
        batch: &mut Batch,
        sorted: &[SortedRows],
        table: Option<usize>,
        error: &tokio_postgres::Error,
    ) -> Result<bool, Interruption> {
        let session = self.session().await?;
        let hint = table.and_then(|table| {
            let line = isolate::refused_line(error, &session.tables.tables[table].name.name)?;
            Some((table, line))
        });
        let found = isolate::refused_rows(session, sorted, hint).await?;
        for (table, refusals) in &found {
            for refusal in refusals {
                tracing::debug!(table = %session.tables.tables[*table].name, sqlstate = refusal.sqlstate, "row refused");
            }
            batch.refuse(*table, &sorted[*table], refusals.clone());
        }
        let count: usize = found.iter().map(|(_, refusals)| refusals.len()).sum();
        if count > 0 {
            tracing::warn!(
                rows = count,
                reason = postgres::describe(error),
                "postgres refused rows: kept as dead letters"
            );
        }
        Ok(count > 0)
    }

    fn answered(&self, trial: &Trial) {
        self.shared.health.answered();
        if trial.told {
            let outage_sec = trial.since.elapsed().as_secs_f64();
            tracing::info!(
                outage_sec,
                attempts = trial.backoff.attempts(),
                "postgres is back"
            );
        }
    }

    fn stored(&self, batch: &Batch, tables: &[String], sorted: &[SortedRows], phases: Option<Phases>) {
        let stored = Stored {
            phases: phases.map(Phases::all),
            event_times: &event_time::sample(self.session.as_ref(), batch.generation(), sorted),
        };
        self.shared.metrics.batch_stored(batch, tables, &stored);
        let phases = phases.unwrap_or_default();
        tracing::debug!(
            messages = batch.len(),
            bytes = batch.bytes(),
            fence_ms = phases.fence.as_secs_f64() * 1e3,
            copy_ms = phases.copy.as_secs_f64() * 1e3,
            commit_ms = phases.commit.as_secs_f64() * 1e3,
            "batch stored",
        );
    }
}

fn recycle(batch: &mut Batch, sorted: &mut Vec<SortedRows>) {
    for (table, rows) in sorted.drain(..).enumerate() {
        batch.recycle(table, rows);
    }
}
