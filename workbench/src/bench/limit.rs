//! Owns the limit: the same rows, encoded and in order ahead of time, by a client that does nothing but COPY.

use std::pin::pin;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use futures_util::SinkExt as _;
use rdkafka::Message as _;
use storage_consumer::config::{Password, PostgresConfig, PostgresTls, Secret, UnknownTypes};
use storage_consumer::offsets::{Offset, Partition};
use storage_consumer::pipeline::batch::{Batch, Incoming};
use storage_consumer::pipeline::routing::Routing;
use storage_consumer::postgres;
use storage_consumer::table::{Coordinates, Routes, SharedTables, TableName, Tables, catalog, quote};
use tokio_postgres::{Client, NoTls, Statement};

use super::drain::{POSTGRES_CPU, RATE, TRANSACTION};
use super::results::{Sample, per_second};
use super::stage::{PARTITIONS, Shape, Stage, TOPIC};
use crate::services::block_on;
use crate::subject::Surroundings;
use crate::usage;

/// Rows go to the connection in pieces of so many bytes, as the consumer's do.
const PIECE: usize = 64 * 1024;

/// Rows that are ready, by transaction and table, and how they are sent.
pub(super) struct Prepared {
    /// By transaction and table, the pieces of a COPY; none for a table without rows.
    transactions: Vec<Vec<Vec<Bytes>>>,
    copies: Vec<String>,
    rows: u64,
}

impl Prepared {
    /// Reads the topic and encodes it, for tables of this shape: in the order of their key, or of arrival where they
    /// have none. The product's own code does it, as far as it goes without a store.
    pub(super) fn new(
        stage: &mut Stage<'_>,
        shape: Shape,
        events: u64,
        transaction: usize,
    ) -> anyhow::Result<Self> {
        let surroundings = stage.fresh(TOPIC, shape)?;
        let mut routes = Routes::default();
        for (event_type, table) in [
            ("server_metric", "server_metrics"),
            ("application_metric", "application_metrics"),
        ] {
            let name = TableName {
                schema: None,
                name: table.to_owned(),
            };
            routes.add(event_type.to_owned(), name);
        }
        let tables = tables(&surroundings, routes)?;
        let mut routing = Routing::new(&tables);
        let mut batch = Batch::default();
        batch.open(tables.generation, routing.tables(), Instant::now());
        let mut prepared = Self {
            transactions: Vec::new(),
            copies: tables.tables.iter().map(copy).collect(),
            rows: 0,
        };
        stage.read(TOPIC, PARTITIONS, events, |message| {
            let offset = Offset(message.offset());
            let at = Coordinates {
                topic: TOPIC,
                partition: Partition(message.partition()),
                offset,
                timestamp_ms: message.timestamp().to_millis(),
                key: message.key(),
            };
            let payload = message.payload();
            routing.take(&mut batch, &Incoming { at, payload }, offset);
            if batch.len() >= transaction {
                prepared.seal(&mut batch, &routing);
            }
            Ok(())
        })?;
        prepared.seal(&mut batch, &routing);
        ensure!(
            prepared.rows == events,
            "{} of {events} events are rows",
            prepared.rows
        );
        Ok(prepared)
    }

    fn seal(&mut self, batch: &mut Batch, routing: &Routing) {
        if batch.is_empty() {
            return;
        }
        let tables = (0..routing.tables()).map(|table| {
            let rows = batch.sort(table);
            self.rows += rows.len() as u64;
            let pieces = if rows.is_empty() {
                Vec::new()
            } else {
                rows.copy_data(0..rows.len(), PIECE).collect()
            };
            batch.recycle(table, rows);
            pieces
        });
        self.transactions.push(tables.collect());
        batch.open(routing.generation(), routing.tables(), Instant::now());
    }

    /// Stores all of it over so many connections, each of which takes the next transaction when it is free.
    pub(super) fn measure(
        &self,
        stage: &mut Stage<'_>,
        case: String,
        round: u32,
        shape: Shape,
        connections: usize,
    ) -> anyhow::Result<Sample> {
        stage.fresh(TOPIC, shape)?;
        let config = stage.config();
        let postgres = stage.postgres_id()?;
        let before = usage::cpu_seconds_of_server(postgres);
        let (next, ready) = (AtomicUsize::new(0), Barrier::new(connections));
        let spans: Vec<anyhow::Result<(Instant, Instant)>> = thread::scope(|scope| {
            let work = || self.store(&config, &next, &ready);
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
            let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
            joined
                .map(|end| end.unwrap_or_else(|_| Err(anyhow!("the limit's client panicked"))))
                .collect()
        });
        let spans = spans.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        let cpu = usage::cpu_seconds_of_server(postgres) - before;
        let begun = spans.iter().map(|(begun, _)| *begun).min();
        let ended = spans.iter().map(|(_, ended)| *ended).max();
        let (begun, ended) = begun.zip(ended).context("no connection")?;

        let count =
            "SELECT (SELECT count(*) FROM server_metrics) + (SELECT count(*) FROM application_metrics)";
        let stored = stage.measured()?.number(count)?;
        ensure!(
            stored == self.rows,
            "{case}: {stored} of {} rows are there",
            self.rows
        );
        let transactions = per_second(self.transactions.len() as u64, 1.0);
        Ok(Sample::new(case, round)
            .with(RATE, per_second(self.rows, (ended - begun).as_secs_f64()))
            .with(POSTGRES_CPU, cpu / per_second(self.rows, 1e6))
            .with(TRANSACTION, per_second(self.rows, 1.0) / transactions))
    }

    fn store(
        &self,
        config: &tokio_postgres::Config,
        next: &AtomicUsize,
        ready: &Barrier,
    ) -> anyhow::Result<(Instant, Instant)> {
        block_on(async {
            let connected = self.connect(config).await;
            // The others wait for this one, whatever came of it.
            ready.wait();
            let (client, copies) = connected?;
            let begun = Instant::now();
            while let Some(tables) = self.transactions.get(next.fetch_add(1, Ordering::Relaxed)) {
                client.batch_execute("BEGIN").await?;
                for (pieces, copy) in tables
                    .iter()
                    .zip(&copies)
                    .filter(|(pieces, _)| !pieces.is_empty())
                {
                    let mut sink = pin!(client.copy_in(copy).await?);
                    for piece in pieces {
                        sink.feed(piece.clone()).await?;
                    }
                    sink.finish().await?;
                }
                client.batch_execute("COMMIT").await?;
            }
            Ok((begun, Instant::now()))
        })
    }

    async fn connect(&self, config: &tokio_postgres::Config) -> anyhow::Result<(Client, Vec<Statement>)> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection); // its error is the client's, too
        let mut copies = Vec::new();
        for copy in &self.copies {
            copies.push(client.prepare(copy).await?);
        }
        Ok((client, copies))
    }
}

/// The tables as the product sees them.
fn tables(surroundings: &Surroundings, routes: Routes) -> anyhow::Result<std::sync::Arc<Tables>> {
    let config = PostgresConfig {
        host: "127.0.0.1".to_owned(),
        port: surroundings.postgres_port,
        database: surroundings.database.clone(),
        user: surroundings.user.clone(),
        password: Password::Given(Secret::new(&surroundings.password)),
        tls: PostgresTls::default(),
        statement_timeout: std::time::Duration::from_secs(30),
    };
    block_on(async {
        let connection = postgres::connect(&config).await?;
        let catalog = catalog::read(&connection, routes.tables()).await?;
        let tables = SharedTables::new(routes, UnknownTypes::DeadLetter, catalog.tables, catalog.oids);
        Ok(tables.current())
    })
}

fn copy(table: &storage_consumer::table::Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
    format!(
        "COPY {} ({}) FROM STDIN (FORMAT binary)",
        table.name.quoted(),
        columns.join(", ")
    )
}
