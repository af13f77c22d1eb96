//! Owns what a benchmark runs on: one broker and one PostgreSQL with stated settings, topics that are loaded once, and
//! an empty database for each measurement.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::settings::Settings;
use crate::database::Database;
use crate::demo::say;
use crate::generator::{self, publish};
use crate::services::folder::Folder;
use crate::services::{Kafka, Postgres, kafka, postgres};
use crate::subject::{self, Surroundings};

/// The topic that is drained.
pub(super) const TOPIC: &str = "bench";
/// Its partitions.
pub(super) const PARTITIONS: i32 = 6;
/// Who reports.
const SERVERS: usize = 2_000;
/// The database, made anew for each measurement.
const DATABASE: &str = "bench";
/// The locale of most databases out there, as libc knows it.
pub(super) const USUAL_LOCALE: &str = "en_US.UTF-8";

/// As a server is set that is meant for this: no setting that gives up safety.
const POSTGRES: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "on"),
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "15min"),
    ("checkpoint_completion_target", "0.9"),
    ("wal_compression", "off"),
    ("autovacuum", "on"),
];
/// Kafka's own default, where tests have 0: a group waits so long for its first members, so that two workers start with
/// their shares, and none is taken from them while it is measured.
const KAFKA: &[(&str, &str)] = &[("group.initial.rebalance.delay.ms", "3000")];
const KAFKA_HEAP_MEGABYTES: u32 = 1_024;

/// Reading a topic may stand still for so long.
const SILENCE: Duration = Duration::from_secs(30);

/// How the tables are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As the consumer's migration makes them.
    Indexed,
    /// The same without any index.
    Bare,
    /// With the same indexes, but identifiers in the database's collation, and that is the usual one: as most tables out
    /// there.
    Plain,
    /// With BRIN indexes only, as the consumer's migration makes them when it is asked to.
    Brin,
}

impl Shape {
    /// Of `storage-consumer migrate`.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Brin => &["--indexes", "brin"],
            Self::Indexed | Self::Bare | Self::Plain => &[],
        }
    }

    /// What is different from what the migration made.
    fn sql(self) -> &'static str {
        match self {
            Self::Indexed | Self::Brin => "",
            Self::Bare => {
                "DROP INDEX server_metrics_server_id_timestamp_idx, server_metrics_timestamp_idx,
                            application_metrics_service_name_timestamp_idx, application_metrics_timestamp_idx"
            }
            // "default" is the database's.
            Self::Plain => {
                "ALTER TABLE server_metrics ALTER server_id TYPE text COLLATE \"default\";
                 ALTER TABLE application_metrics ALTER service_name TYPE text COLLATE \"default\",
                                                 ALTER server_id TYPE text COLLATE \"default\""
            }
        }
    }

    /// How its database is made.
    fn database(self) -> String {
        match self {
            Self::Indexed | Self::Bare | Self::Brin => format!("CREATE DATABASE {DATABASE}"),
            // Only the template that nobody has written to may be copied with another locale.
            Self::Plain => format!("CREATE DATABASE {DATABASE} LOCALE '{USUAL_LOCALE}' TEMPLATE template0"),
        }
    }
}

/// What runs. The fields end in this order.
pub(super) struct Stage<'a> {
    pub(super) kafka: Kafka,
    pub(super) postgres: Postgres,
    pub(super) folder: Folder,
    stop: &'a AtomicBool,
    groups: u32,
    loaded: Vec<String>,
}

impl<'a> Stage<'a> {
    pub(super) fn build(stop: &'a AtomicBool) -> anyhow::Result<Self> {
        // Told before anything is started.
        subject::program()?;
        Ok(Self {
            kafka: Kafka::start(&kafka::Options {
                heap_megabytes: KAFKA_HEAP_MEGABYTES,
                jvm: kafka::Jvm::Shipped,
                settings: owned(KAFKA),
                ..kafka::Options::default()
            })?,
            postgres: Postgres::start(&postgres::Options {
                settings: owned(POSTGRES),
                ..postgres::Options::default()
            })?,
            folder: Folder::new()?,
            stop,
            groups: 0,
            loaded: Vec::new(),
        })
    }

    /// Machine, versions, settings.
    pub(super) fn conditions(&self, settings: &Settings) -> anyhow::Result<Vec<(String, String)>> {
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map_or("unknown", |name| name.trim_start_matches([' ', '\t', ':']));
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = memory
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))
            .and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok())
            .unwrap_or_default();
        let version = self.database("postgres")?.first("SHOW server_version")?;
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let of_topic = format!(
            "{} events of both types, 2,000 servers and 1,000 services, in {PARTITIONS} partitions",
            settings.events
        );
        let conditions = [
            (
                "date",
                jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            ),
            ("program", env!("CARGO_PKG_VERSION").to_owned()),
            (
                "build",
                if cfg!(debug_assertions) {
                    "debug: its numbers mean nothing".to_owned()
                } else {
                    "release".to_owned()
                },
            ),
            (
                "machine",
                format!("{cores} cores, {processor}, {} GB of memory", memory / 1_000_000),
            ),
            (
                "PostgreSQL",
                format!("{}; {}", version.unwrap_or_default(), told(POSTGRES)),
            ),
            (
                "Kafka",
                format!(
                    "one broker, a heap of {KAFKA_HEAP_MEGABYTES} MB, the collector of its own start script; {}; librdkafka \
                     {librdkafka}",
                    told(KAFKA)
                ),
            ),
            ("topic", of_topic),
        ];
        Ok(conditions
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }

    /// The plain tables in words, once it is sure that this server can have them: not every machine has the locale.
    pub(super) fn plain_tables(&self) -> anyhow::Result<String> {
        self.empty_database(Shape::Plain)?;
        let locale = self.database("postgres")?.first(&format!(
            "SELECT datcollate FROM pg_database WHERE datname = '{DATABASE}'"
        ))?;
        Ok(format!(
            "B-tree (identifier, timestamp DESC) and BRIN (timestamp), identifiers in the collation of a database with \
             LOCALE '{}' (libc)",
            locale.context("the database is gone")?
        ))
    }

    fn empty_database(&self, shape: Shape) -> anyhow::Result<()> {
        self.postgres.execute(
            "postgres",
            &format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"),
        )?;
        let made = self.postgres.execute("postgres", &shape.database());
        if shape == Shape::Plain {
            return made.context("the plain tables need the usual locale: run scripts/setup bench");
        }
        made
    }

    /// Whether somebody wants it to end: asked before each measurement.
    pub(super) fn go_on(&self) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            bail!("stopped by a signal");
        }
        Ok(())
    }

    /// The wish to end.
    pub(super) fn stop(&self) -> &'a AtomicBool {
        self.stop
    }

    /// The load of a topic: the same events in each run.
    pub(super) fn load(&self, topic: &str, partitions: i32) -> generator::Settings {
        generator::Settings {
            kafka_servers: self.kafka.bootstrap(),
            topic: topic.to_owned(),
            partitions,
            servers: SERVERS,
            services: 1_000,
            rate: 0.0,
            seed: Some(1),
            ..generator::Settings::default()
        }
    }

    /// Fills a topic with events, once.
    pub(super) fn fill(&mut self, topic: &str, partitions: i32, events: u64) -> anyhow::Result<()> {
        if self.loaded.iter().any(|loaded| loaded == topic) {
            return Ok(());
        }
        self.go_on()?;
        self.kafka.create_topic(topic, partitions, &[])?;
        let mut load = self.load(topic, partitions);
        load.count = Some(events);
        load.start_time = Some("2026-01-01T00:00:00Z".parse()?);
        let summary = publish::run(&load, self.stop, |_| {})?;
        self.go_on()?;
        ensure!(
            summary.produced == events && summary.failed == 0,
            "the topic could not be filled: {summary}"
        );
        say(&format!(
            "topic {topic}: {events} events, {} bytes each, in {:.1} s",
            summary.bytes / events,
            summary.elapsed.as_secs_f64()
        ));
        self.loaded.push(topic.to_owned());
        Ok(())
    }

    /// An empty database with tables of this shape, and a group that has read nothing.
    pub(super) fn fresh(&mut self, topic: &str, shape: Shape) -> anyhow::Result<Surroundings> {
        self.go_on()?;
        self.groups += 1;
        self.empty_database(shape)?;
        let surroundings = Surroundings {
            kafka_servers: self.kafka.bootstrap(),
            topic: topic.to_owned(),
            group: format!("bench-{}", self.groups),
            postgres_port: self.postgres.port(),
            database: DATABASE.to_owned(),
            user: self.postgres.options().user.clone(),
            password: self.postgres.options().password.clone(),
        };
        subject::migrate(&surroundings, &self.log("migrate"), shape.options())?;
        self.postgres.execute(DATABASE, shape.sql())?;
        // So that no measurement pays for what another one has written.
        self.postgres.execute("postgres", "CHECKPOINT")?;
        Ok(surroundings)
    }

    /// Fills a table with what could have been stored before: as many servers, up to the day on which the load begins.
    pub(super) fn fill_table(&self, rows: u64) -> anyhow::Result<()> {
        if rows == 0 {
            return Ok(());
        }
        // In the order of the key, which is by far the fastest.
        let sql = format!(
            "INSERT INTO server_metrics
             SELECT timestamptz '2026-01-01Z' - turn * interval '30 seconds', id, 42.5, 61.25, 128.5, 40.75, 12.5,
                    14.25, 310.5, 290.25, 51.5, 420.75, 2400, 'rack-07', 'zone-1'
             FROM (SELECT id, generate_series(1, {rows} / {SERVERS}) AS turn
                   FROM (SELECT 'server-' || lpad(number::text, greatest(3, length(number::text)), '0') AS id
                         FROM generate_series(1, {SERVERS}) AS number) AS servers
                   ORDER BY id COLLATE \"C\") AS readings;
             INSERT INTO server_metrics (timestamp, server_id)
             SELECT timestamptz '2025-12-31Z', 'more' FROM generate_series(1, {rows} % {SERVERS});
             VACUUM"
        );
        for sql in sql.split(';') {
            self.postgres.execute(DATABASE, sql)?;
        }
        self.postgres.execute(DATABASE, "CHECKPOINT")
    }

    /// Our own look into a database.
    pub(super) fn database(&self, name: &str) -> anyhow::Result<Database> {
        Database::new(self.postgres.config(name))
    }

    /// Our own look into the database of the measurement.
    pub(super) fn measured(&self) -> anyhow::Result<Database> {
        self.database(DATABASE)
    }

    /// How a client connects to the database of the measurement.
    pub(super) fn config(&self) -> tokio_postgres::Config {
        self.postgres.config(DATABASE)
    }

    /// The server's process.
    pub(super) fn postgres_id(&self) -> anyhow::Result<u32> {
        Ok(self.postgres.process().context("PostgreSQL is gone")?.id())
    }

    /// A file for what a program says.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}-{}.log", self.groups))
    }

    /// Reads a topic from its beginning, as the consumer would get it.
    pub(super) fn read(
        &self,
        topic: &str,
        partitions: i32,
        messages: u64,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap())
            .set("group.id", "bench-reader")
            .set("enable.auto.commit", "false")
            .create()?;
        let mut all = TopicPartitionList::new();
        for partition in 0..partitions {
            all.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
        consumer.assign(&all)?;
        for read in 0..messages {
            let message = consumer
                .poll(SILENCE)
                .with_context(|| format!("{topic} has {read} messages, not {messages}"))??;
            take(&message)?;
        }
        Ok(())
    }
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    settings.iter().map(owned).collect()
}

fn told(settings: &[(&str, &str)]) -> String {
    let lines: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value}"))
        .collect();
    lines.join(", ")
}
